package cluster

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func someFrame(t *rapid.T) frame {
	return frame{
		class: class(rapid.Uint8().Draw(t, "class")), kind: rapid.Uint8().Draw(t, "kind"), hops: rapid.Uint8().Draw(t, "hops"),
		shard: rapid.Uint16().Draw(t, "shard"), view: rapid.Uint64().Draw(t, "view"),
		body: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body"),
	}
}

func sameFrame(a, b frame) bool {
	return a.class == b.class && a.kind == b.kind && a.hops == b.hops && a.shard == b.shard && a.view == b.view && bytes.Equal(a.body, b.body)
}

func TestParcelsAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sender := rapid.String().Draw(t, "sender")
		frames := rapid.SliceOf(rapid.Custom(someFrame)).Draw(t, "frames")
		b := appendParcel(nil, sender)
		for _, f := range frames {
			b = appendFrame(b, f)
		}
		got, records, err := openParcel(b)
		if err != nil || got != sender {
			t.Fatalf("sender %q, %v", got, err)
		}
		for _, want := range frames {
			var f frame
			if f, records, err = nextFrame(records); err != nil || !sameFrame(f, want) {
				t.Fatalf("%+v, %v; want %+v", f, err, want)
			}
		}
		if len(records) > 0 {
			t.Fatalf("%d bytes are left", len(records))
		}
	})
}

func TestLongerHeadsAreSkipped(t *testing.T) {
	want := frame{class: toShard, kind: 3, shard: 9, view: 1 << 60, body: []byte("body")}
	b := appendFrame(nil, want)
	b[0] += 4 // of a newer version
	b = slices.Insert(b, 1+headSize, 1, 2, 3, 4)
	if f, rest, err := nextFrame(b); err != nil || len(rest) > 0 || !sameFrame(f, want) {
		t.Fatalf("%+v, %d bytes left, %v", f, len(rest), err)
	}
	if _, _, err := openParcel([]byte{parcelFormat + 1, 0}); !errors.Is(err, errFormat) {
		t.Fatalf("a newer format: %v", err)
	}
}

func TestNoticesAreReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := notice{
			version: rapid.Uint64().Draw(t, "version"), number: rapid.Uint64().Draw(t, "number"),
			shards: rapid.SliceOf(rapid.Uint16Range(0, Shards-1)).Draw(t, "shards"),
		}
		got, err := decodeNotice(want.encode())
		if err != nil || got.version != want.version || got.number != want.number || !slices.Equal(got.shards, want.shards) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	})
}

func FuzzParcel(f *testing.F) {
	f.Add(appendFrame(appendParcel(nil, "a"), frame{class: toShard, body: []byte("x")}))
	f.Add(appendFrame(appendParcel(nil, ""), frame{class: toCluster, kind: kindDone, body: notice{shards: []uint16{1}}.encode()}))
	f.Add([]byte{parcelFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, records, err := openParcel(b)
		for err == nil && len(records) > 0 {
			var fr frame
			before := len(records)
			if fr, records, err = nextFrame(records); err == nil && len(records) >= before {
				t.Fatal("no progress")
			}
			if n, err := decodeNotice(fr.body); err == nil {
				for _, shard := range n.shards {
					setOf([]uint16{shard})
				}
			}
		}
	})
}
