package persistence

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"testing"

	"carillon/actors/call"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// consistent reads every key of the store and fails unless the rows are exactly those that the records call for, and the lists
// in memory, too.
func consistent(t testing.TB, p *Pebble) {
	t.Helper()
	want, wantLive, err := derived(p)
	if err == nil {
		err = p.scan([]byte{0}, []byte{0xff}, func(key, _ []byte) (bool, error) {
			k := string(key)
			switch key[0] {
			case keyMeta, keyUser, keyOpen, keyClosed:
				return true, nil
			case keyRetention:
				k = string(retentionKey(nil, 0, idOf(key)))
			}
			if !want[k] {
				return false, fmt.Errorf("row %q leads nowhere", key)
			}
			delete(want, k)
			return true, nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	for k := range want {
		t.Fatalf("row %q is missing", k)
	}
	p.live.mu.Lock()
	defer p.live.mu.Unlock()
	if !reflect.DeepEqual(p.live.of, wantLive) {
		t.Fatalf("live calls are\n%v, the records say\n%v", p.live.of, wantLive)
	}
}

// derived gives the rows and the live calls that the records call for; the instant of a retention row counts as 0.
func derived(p *Pebble) (want map[string]bool, live lists, err error) {
	want, live = make(map[string]bool), make(lists)
	at := make(map[call.ID]byte)
	err = p.scan([]byte{keyClosed}, []byte{keyOpen + 1}, func(key, value []byte) (bool, error) {
		if key[0] != keyOpen && key[0] != keyClosed {
			return true, nil
		}
		s, err := decode(idOf(key), value)
		if err != nil {
			return false, err
		}
		if at[s.ID] != 0 {
			return false, fmt.Errorf("call %s is both open and closed", s.ID)
		}
		at[s.ID] = key[0]
		if s.Closed != (key[0] == keyClosed) {
			return false, fmt.Errorf("call %s: Closed is %v, but it lies among %q", s.ID, s.Closed, key[0])
		}
		if s.Closed {
			want[string(retentionKey(nil, 0, s.ID))] = true
		}
		for _, u := range s.Users {
			want[string(rowKey(nil, u.User, s.Created, s.ID))] = true
			if s.LiveFor(u.User) {
				live.set(u.User, line{s.Created, s.ID}, false)
			}
		}
		return true, nil
	})
	return want, live, err
}
