package cluster

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// testLink is a link whose tokens gather.
func testLink(limit int) (*link, *[]*token) {
	var posted []*token
	l := &link{name: "b", sender: "a", limit: limit}
	l.post = func(t *token) { posted = append(posted, t) }
	return l, &posted
}

// fetched takes a parcel apart.
func fetched(t interface{ Fatal(...any) }, b []byte) []frame {
	if len(b) == 0 {
		return nil
	}
	sender, records, err := openParcel(b)
	if err != nil || sender != "a" {
		t.Fatal(sender, err)
	}
	var frames []frame
	for len(records) > 0 {
		var f frame
		if f, records, err = nextFrame(records); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	return frames
}

// TestLinkKeepsOrderAndLosesNothing plays a remote that fetches, or whose connection fails before it does.
func TestLinkKeepsOrderAndLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, posted := testLink(1 << 20)
		next, want := uint64(0), uint64(0)
		take := func(frames []frame) {
			for _, f := range frames {
				if f.view != want {
					t.Fatalf("frame %d, want %d", f.view, want)
				}
				want++
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				if err := l.send(frame{class: toShard, view: next}, rapid.Bool().Draw(t, "patient")); err != nil {
					t.Fatal(err)
				}
				next++
			case 2:
				if len(*posted) > 0 {
					fetching := (*posted)[0]
					*posted = (*posted)[1:]
					take(fetched(t, fetching.fetch(fetching.turn)))
				}
			case 3:
				l.failed()
				if len(*posted) > 0 && rapid.Bool().Draw(t, "lost with it") {
					*posted = (*posted)[1:]
				}
			}
		}
		l.retry = time.Time{} // it is over
		l.nudge()
		for len(*posted) > 0 {
			fetching := (*posted)[0]
			*posted = (*posted)[1:]
			take(fetched(t, fetching.fetch(fetching.turn)))
		}
		if want != next {
			t.Fatalf("%d of %d frames have left", want, next)
		}
	})
}

func TestLinkIsBounded(t *testing.T) {
	l, posted := testLink(1000)
	var err error
	sent := 0
	for err == nil {
		err = l.send(frame{class: toShard, body: make([]byte, 100)}, false)
		sent++
	}
	if !errors.Is(err, ErrOverflow) || len(l.records) > 1000 || len(*posted) != 1 {
		t.Fatalf("%v, %d bytes, %d tokens", err, len(l.records), len(*posted))
	}
	if left := l.close(); len(left) != sent-1 {
		t.Fatalf("%d of %d frames are given back", len(left), sent-1)
	}
	if err := l.send(frame{}, false); !errors.Is(err, ErrUnknownNode) {
		t.Fatalf("after close: %v", err)
	}
	if b := (*posted)[0].fetch((*posted)[0].turn); b != nil {
		t.Fatalf("%d bytes are fetched after close", len(b))
	}
}

func TestLongQueuesLeaveInParts(t *testing.T) {
	l, posted := testLink(64 << 20)
	sizes := []int{100, maxParcel / 2, maxParcel, MaxBody, 5, maxParcel / 3, maxParcel / 3, maxParcel / 3, 7}
	for i, size := range sizes {
		if err := l.send(frame{class: toShard, view: uint64(i), body: make([]byte, size)}, false); err != nil {
			t.Fatal(err)
		}
	}
	var got []int
	parts := 0
	for ; len(*posted) > 0; parts++ {
		b := (*posted)[0].fetch((*posted)[0].turn)
		*posted = (*posted)[1:]
		frames := fetched(t, b)
		if len(frames) > 1 && len(b) > maxParcel+100 {
			t.Fatalf("a parcel of %d frames has %d bytes", len(frames), len(b))
		}
		for _, f := range frames {
			got = append(got, len(f.body))
		}
	}
	if !slices.Equal(got, sizes) || parts < 5 {
		t.Fatalf("%v in %d parcels, want %v", got, parts, sizes)
	}
}

// TestLinkPatience: what is patient leaves with the next that is not, when it has become much, or with a nudge.
func TestLinkPatience(t *testing.T) {
	l, posted := testLink(1 << 20)
	send := func(patient bool, size int) {
		t.Helper()
		if err := l.send(frame{class: toShard, body: make([]byte, size)}, patient); err != nil {
			t.Fatal(err)
		}
	}
	leave := func(why string, want int) {
		t.Helper()
		if len(*posted) != 1 {
			t.Fatalf("%s: %d tokens", why, len(*posted))
		}
		first := (*posted)[0]
		*posted = nil
		if got := fetched(t, first.fetch(first.turn)); len(got) != want {
			t.Errorf("%s: %d frames, not %d", why, len(got), want)
		}
	}
	send(true, 10)
	send(true, 10)
	if len(*posted) != 0 {
		t.Fatal("a parcel for who is patient")
	}
	send(false, 10)
	leave("with another", 3)
	send(true, 10)
	l.nudge()
	leave("with a nudge", 1)
	send(true, maxPatient)
	leave("much", 1)
}
