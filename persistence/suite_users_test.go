package persistence

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"carillon/actors/call"
)

func TestUsers(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		ctx := context.Background()
		for range 2 {
			if err := s.Register(ctx, "ann"); err != nil {
				t.Fatal(err)
			}
		}
		known, err := s.Known(ctx, []call.UserID{"an", "ann", "anna", ""})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "known", known, []bool{false, true, false, false})
		for _, u := range []call.UserID{"", call.UserID(strings.Repeat("x", 256))} {
			if err := s.Register(ctx, u); err == nil {
				t.Fatalf("a user ID of %d bytes is registered", len(u))
			}
		}
	})
}

func TestSweep(t *testing.T) {
	onAll(t, func(t *testing.T, s store, c *clock) {
		for id := call.ID(1); id <= 3; id++ {
			c.add(time.Hour)
			a := ringing(id, int(id), "ann", "bob")
			save(t, s, create(a))
			if id != 2 {
				save(t, s, with(a, closed))
			}
		}
		sweep := func(now time.Time, want int) {
			t.Helper()
			if n, err := s.Sweep(now); err != nil || n != want {
				t.Fatalf("%d deleted, %v; want %d", n, err, want)
			}
		}
		sweep(epoch.Add(721*time.Hour), 0) // exactly its time
		same(t, "all there", allCalls(t, s, "bob", 5), []call.ID{3, 2, 1})
		sweep(epoch.Add(721*time.Hour+time.Millisecond), 1)
		if _, err := s.Load(context.Background(), 1); !errors.Is(err, call.ErrNotFound) {
			t.Fatal(err)
		}
		same(t, "the first has gone", allCalls(t, s, "bob", 5), []call.ID{3, 2})
		sweep(epoch.Add(10000*time.Hour), 1)
		same(t, "the open one stays for ever", allCalls(t, s, "ann", 5), []call.ID{2})
		save(t, s, with(load(t, s, 2), became(1, call.Accepted)))
		sweep(epoch.Add(10000*time.Hour), 0)
		save(t, s, create(ringing(1, 9, "ann", "bob"))) // its ID is free again
	})
}

func TestSweepManyChunks(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		const n = 2*sweepChunk + 10
		var batch []call.Transition
		for id := call.ID(1); id <= n; id++ {
			a := ringing(id, int(id), "ann", "bob")
			batch = append(batch, create(a), with(a, closed))
		}
		save(t, s, batch...)
		if deleted, err := s.Sweep(epoch.Add(1000 * time.Hour)); err != nil || deleted != n {
			t.Fatalf("%d of %d deleted, %v", deleted, n, err)
		}
		same(t, "nothing left", allCalls(t, s, "bob", 100), []call.ID{})
	})
}

// TestRace: many owners write one call; each revision is won once, and nobody wins from a stale copy.
func TestRace(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		const owners, rounds = 8, 50
		save(t, s, create(ringing(7, 0, "ann", "bob")))
		var won atomic.Uint64
		var wg sync.WaitGroup
		for range owners {
			wg.Go(func() {
				for range rounds {
					now, err := s.Load(context.Background(), 7)
					if err != nil {
						t.Error(err)
						return
					}
					err = s.Save(context.Background(), []call.Transition{with(now, func(*call.State) {})})[0]
					if err == nil {
						won.Add(1)
					} else if !errors.Is(err, call.ErrConflict) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if got := load(t, s, 7).Revision; got != won.Load()+1 {
			t.Fatalf("revision %d after %d wins", got, won.Load())
		}
		if s.Queued() != 0 {
			t.Fatalf("%d queued when all is done", s.Queued())
		}
	})
}

func TestClosed(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		ctx := context.Background()
		save(t, s, create(ringing(7, 0, "ann", "bob")))
		if err := s.Health(); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Save(gone, []call.Transition{create(ringing(8, 0, "ann", "bob"))})[0]; !errors.Is(err, call.ErrUnavailable) {
			t.Fatalf("with a cancelled context: %v", err)
		}
	})
	for name, s := range map[string]store{
		"memory": NewMemory(Config{}), "pebble": mustOpen(t, Config{FS: vfs.NewMem()}), "postgres": mustOpenPostgres(t, Config{DSN: database(t, false)}),
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			ctx := context.Background()
			_, loadErr := s.Load(ctx, 7)
			_, _, listErr := s.UserCalls(ctx, "ann", 0, 5)
			_, pendingErr := s.PendingFor(ctx, "ann")
			_, knownErr := s.Known(ctx, []call.UserID{"ann"})
			_, sweepErr := s.Sweep(epoch)
			for what, err := range map[string]error{
				"Save": s.Save(ctx, []call.Transition{create(ringing(8, 0, "ann"))})[0], "Load": loadErr, "UserCalls": listErr,
				"PendingFor": pendingErr, "Known": knownErr, "Register": s.Register(ctx, "ann"), "Health": s.Health(),
				"OpenCalls": s.OpenCalls(ctx, nil, func(call.ID, time.Time) error { return nil }),
			} {
				if !errors.Is(err, call.ErrUnavailable) {
					t.Errorf("%s after Close: %v", what, err)
				}
			}
			if sweepErr == nil {
				t.Error("Sweep after Close succeeds")
			}
		})
	}
}

// TestDoubledUser: a state that names a user twice harms nobody in its group, and the user has the call once.
func TestDoubledUser(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		save(t, s, create(ringing(2, 0, "ann", "bob", "bob")), create(ringing(3, 0, "ann", "bob")))
		same(t, "bob's list", allCalls(t, s, "bob", 5), []call.ID{3, 2})
		same(t, "bob's pending", pendingFor(t, s, "bob"), []call.ID{3, 2})
	})
}
