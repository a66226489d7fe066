package persistence

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"carillon/actors/call"
)

// notStored are the fields that a record leaves out, because only the living owner of a call knows them.
var notStored = map[string]bool{
	"call.State.LingerFrom":         true,
	"call.State.Belated":            true,
	"call.Participant.Sent":         true,
	"call.Participant.RetryAt":      true,
	"call.Participant.WatchedUntil": true,
	"call.Participant.OfflineSince": true,
}

// fill gives every stored field below v a value of its own that isn't zero.
func fill(t testing.TB, v reflect.Value, next *int) {
	t.Helper()
	*next++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if !notStored[v.Type().String()+"."+v.Type().Field(i).Name] {
				fill(t, v.Field(i), next)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), next)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), next)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprint("text", *next))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*next))
	case reflect.Uint8:
		v.SetUint(uint64(*next%255 + 1))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*next))
	default:
		t.Fatalf("the record has a field of kind %s, which this test can't fill", v.Kind())
	}
}

func filled(t testing.TB) call.State {
	var s call.State
	next := 0
	fill(t, reflect.ValueOf(&s).Elem(), &next)
	return s
}

// stored is what a record keeps of s: soft fields gone, Sent as Told, empty lists nil.
func stored(s call.State) call.State {
	s.LingerFrom, s.Belated = 0, false
	users := append([]call.Participant(nil), s.Users...)
	for i := range users {
		p := &users[i]
		p.Sent, p.RetryAt, p.WatchedUntil, p.OfflineSince = p.Told, 0, 0, 0
	}
	s.Users = users
	if len(s.InviteErrors) == 0 {
		s.InviteErrors = nil
	}
	outcomes := append([]call.Outcome(nil), s.Outcomes...)
	for i := range outcomes {
		if len(outcomes[i].Errors) == 0 {
			outcomes[i].Errors = nil
		}
	}
	s.Outcomes = outcomes
	return s
}

// TestEveryFieldIsStored fails for a field of call.State, however deep, that is neither in the record nor in notStored.
func TestEveryFieldIsStored(t *testing.T) {
	s := filled(t)
	b, err := encode(nil, &s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := decode(s.ID, b)
	if err != nil {
		t.Fatal(err)
	}
	if want := stored(s); !reflect.DeepEqual(back, want) {
		t.Fatalf("a field was lost:\n got %+v\nwant %+v", back, want)
	}
}

// TestSoftFieldsAreNotStored fails when a field that is said to be left out reaches the record.
func TestSoftFieldsAreNotStored(t *testing.T) {
	s := filled(t)
	plain, err := encode(nil, &s)
	if err != nil {
		t.Fatal(err)
	}
	s.LingerFrom, s.Belated = 900, true
	for i := range s.Users {
		p := &s.Users[i]
		p.Sent, p.RetryAt, p.WatchedUntil, p.OfflineSince = 901, 902, 903, 904
	}
	soft, err := encode(nil, &s)
	if err != nil {
		t.Fatal(err)
	}
	if string(plain) != string(soft) {
		t.Fatal("soft fields change the record")
	}
}

func anyState() *rapid.Generator[call.State] {
	return rapid.Custom(func(t *rapid.T) call.State {
		s := rapid.Make[call.State]().Draw(t, "state")
		s.Users = trim(s.Users)
		s.Outcomes = trim(s.Outcomes)
		s.InviteErrors = trim(s.InviteErrors)
		return s
	})
}

func trim[T any](l []T) []T { return l[:min(len(l), maxList)] }

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyState().Draw(t, "state")
		b, err := encode(nil, &s)
		if err != nil {
			t.Fatal(err)
		}
		revision, _, err := header(s.ID, b)
		if err != nil || revision != s.Revision {
			t.Fatalf("header gives revision %d, %v; want %d", revision, err, s.Revision)
		}
		back, err := decode(s.ID, b)
		if err != nil {
			t.Fatal(err)
		}
		if want := stored(s); !reflect.DeepEqual(normal(back), normal(want)) {
			t.Fatalf("\n got %+v\nwant %+v", back, want)
		}
	})
}

// normal makes empty lists nil, in a copy.
func normal(s call.State) call.State {
	if len(s.Users) == 0 {
		s.Users = nil
	}
	if len(s.Outcomes) == 0 {
		s.Outcomes = nil
	}
	return s
}

func TestRecordErrors(t *testing.T) {
	s := filled(t)
	good, err := encode(nil, &s)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("newer version", func(t *testing.T) {
		b := append([]byte(nil), good...)
		b[0] = recordVersion + 1
		_, err := decode(s.ID, b)
		if !errors.Is(err, call.ErrNewer) || !strings.Contains(err.Error(), "version 2") || !strings.Contains(err.Error(), s.ID.String()) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("cut anywhere", func(t *testing.T) {
		for n := range good {
			if _, err := decode(s.ID, good[:n]); !errors.Is(err, errCorrupt) {
				t.Fatalf("cut at %d: got %v", n, err)
			}
		}
	})
	t.Run("longer", func(t *testing.T) {
		if _, err := decode(s.ID, append(append([]byte(nil), good...), 0)); !errors.Is(err, errCorrupt) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("of another call", func(t *testing.T) {
		if _, err := decode(s.ID+1, good); !errors.Is(err, errCorrupt) || !strings.Contains(err.Error(), (s.ID+1).String()) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a list beyond its limit", func(t *testing.T) {
		long := call.State{ID: 1, Users: make([]call.Participant, maxList+1)}
		if _, err := encode(nil, &long); !errors.Is(err, errLong) {
			t.Fatalf("got %v", err)
		}
	})
}

// FuzzDecode: whatever the bytes, decode neither panics nor gives a state that doesn't survive its own record.
func FuzzDecode(f *testing.F) {
	s := filled(f)
	for _, seed := range []call.State{s, {ID: 7, Revision: 1}, ringing(5, 1, "ann", "bob")} {
		b, err := encode(nil, &seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint64(seed.ID), b)
	}
	f.Add(uint64(0), []byte{recordVersion, 1, 0, 0, 0, 0})
	f.Add(uint64(1), []byte{recordVersion + 1})
	f.Add(uint64(1), []byte{recordVersion, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, id uint64, b []byte) {
		s, err := decode(call.ID(id), b)
		if err != nil {
			return
		}
		again, err := encode(nil, &s)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		back, err := decode(call.ID(id), again)
		if err != nil || !reflect.DeepEqual(normal(back), normal(s)) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, back, s)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	s := ringing(5, 1, "ann", "bob", "cid")
	record, err := encode(nil, &s)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if record, err = encode(record[:0], &s); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(record)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decode(s.ID, record); err != nil {
				b.Fatal(err)
			}
		}
	})
}
