package persistence

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"carillon/actors/call"
)

// TestSweepsByItself: in a bubble, where an hour passes at once.
func TestSweepsByItself(t *testing.T) {
	for name, open := range map[string]func(Config) store{
		"memory": func(c Config) store { return NewMemory(c) },
		"pebble": func(c Config) store { return mustOpen(t, c) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(Config{FS: vfs.NewMem(), Logger: quiet, Retention: time.Hour, SweepInterval: time.Minute})
				a := ringing(7, 0, "ann", "bob")
				save(t, s, create(a), create(ringing(8, 0, "ann", "bob")), with(a, closed))
				<-time.After(59 * time.Minute)
				synctest.Wait()
				load(t, s, 7)
				<-time.After(3 * time.Minute)
				synctest.Wait()
				if _, err := s.Load(context.Background(), 7); !errors.Is(err, call.ErrNotFound) {
					t.Errorf("not swept: %v", err)
				}
				load(t, s, 8)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSweepLeavesWhatItCantRead: a damaged closed call is reported, and those around it are deleted.
func TestSweepLeavesWhatItCantRead(t *testing.T) {
	p := mustOpen(t, Config{FS: vfs.NewMem(), Now: newClock().now})
	for id := call.ID(1); id <= 3; id++ {
		a := ringing(id, 0, "ann", "bob")
		save(t, p, create(a), with(a, closed))
	}
	if err := p.db.Set(recordKey(nil, apart, 2), []byte{recordVersion}, nil); err != nil {
		t.Fatal(err)
	}
	n, err := p.Sweep(epoch.Add(1000 * time.Hour))
	if n != 2 || !errors.Is(err, errCorrupt) {
		t.Fatalf("%d deleted, %v", n, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMemoryIsBounded: the oldest closed call makes room; when all are open, a creation is refused and updates aren't.
func TestMemoryIsBounded(t *testing.T) {
	m := closing(t, NewMemory(Config{MemoryCalls: 3}))
	var now [5]call.State
	for i := range now {
		now[i] = ringing(call.ID(i+1), i, "ann", "bob")
	}
	save(t, m, create(now[0]), create(now[1]), create(now[2]), with(now[1], closed), with(now[0], closed))
	save(t, m, create(now[3]))
	same(t, "the first to be closed has gone", allCalls(t, m, "bob", 9), []call.ID{4, 3, 1})
	save(t, m, create(now[4]))
	if err := m.Save(t.Context(), []call.Transition{create(ringing(6, 6, "ann", "bob"))})[0]; !errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("a fourth open call: %v", err)
	}
	save(t, m, with(now[4], became(1, call.Accepted)))
	for i := range 5 {
		err := m.Register(t.Context(), call.UserID(fmt.Sprint("user", i)))
		if ok := i < 3; ok != (err == nil) {
			t.Fatalf("registration %d: %v", i, err)
		}
	}
}

// TestKnownUsersIsBounded: who is asked for stays, the others make room.
func TestKnownUsersIsBounded(t *testing.T) {
	var k knownUsers
	k.add("ann")
	for i := range 3 * maxKnownUsers {
		k.add(call.UserID(fmt.Sprint(i)))
		if i%1000 == 0 && !k.has("ann") {
			t.Fatalf("ann is forgotten after %d others", i)
		}
		if n := len(k.young) + len(k.old); n > maxKnownUsers {
			t.Fatalf("%d users are remembered", n)
		}
	}
	if k.has("0") {
		t.Fatal("nobody is forgotten")
	}
}
