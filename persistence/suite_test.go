package persistence

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"carillon/actors/call"
)

// TestMain also checks that no goroutine is left, but for those of a Pebble that was made to fail: it can't be closed.
// TestNothingIsLeft checks one that wasn't.
func TestMain(m *testing.M) {
	const module = "github.com/cockroachdb/pebble/v2"
	var left []goleak.Option
	for _, f := range []string{
		".(*cleanupManager).mainLoop", ".(*ConcurrencyLimitScheduler).periodicGranter", "/record.(*LogWriter).flushLoop",
		"/internal/genericcache.(*shard[...]).releaseLoop",
		"/vfs.(*diskHealthCheckingFS).startTickerLocked.func1", "/vfs.(*diskHealthCheckingFile).startTicker.func1",
	} {
		left = append(left, goleak.IgnoreAnyFunction(module+f))
	}
	goleak.VerifyTestMain(m, left...)
}

// store is what the actors ask of a store: Save to PendingFor, and the users.
type store interface {
	Save(ctx context.Context, batch []call.Transition) []error
	Load(ctx context.Context, id call.ID) (call.State, error)
	OpenCalls(ctx context.Context, visit func(id call.ID, deadline time.Time) error) error
	UserCalls(ctx context.Context, user call.UserID, after call.ID, limit int) ([]call.State, call.ID, error)
	PendingFor(ctx context.Context, user call.UserID) ([]call.ID, error)

	Register(ctx context.Context, user call.UserID) error
	Known(ctx context.Context, users []call.UserID) ([]bool, error)

	Sweep(now time.Time) (int, error)
	Queued() int
	Health() error
	Close() error
}

// clock is a clock that the test sets.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.set(epoch)
	return c
}
func (c *clock) set(t time.Time)     { c.ms.Store(t.UnixMilli()) }
func (c *clock) now() time.Time      { return time.UnixMilli(c.ms.Load()) }
func (c *clock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// onBoth runs a test on a fresh Memory and on a fresh Pebble.
func onBoth(t *testing.T, f func(t *testing.T, s store, c *clock)) {
	t.Run("memory", func(t *testing.T) {
		c := newClock()
		f(t, closing(t, NewMemory(Config{Now: c.now})), c)
	})
	t.Run("pebble", func(t *testing.T) {
		c := newClock()
		f(t, closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Now: c.now})), c)
	})
}

func mustOpen(t testing.TB, c Config) *Pebble {
	t.Helper()
	if c.Dir == "" {
		c.Dir = "data"
	}
	if c.Logger == nil {
		c.Logger = quiet
	}
	p, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closing closes s when the test ends, and before that checks it.
func closing[S store](t *testing.T, s S) S {
	t.Cleanup(func() {
		if p, ok := any(s).(*Pebble); ok && !t.Failed() {
			consistent(t, p)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func save(t testing.TB, s store, batch ...call.Transition) {
	t.Helper()
	for i, err := range s.Save(context.Background(), batch) {
		if err != nil {
			t.Fatalf("transition %d: %v", i, err)
		}
	}
}

func load(t testing.TB, s store, id call.ID) call.State {
	t.Helper()
	got, err := s.Load(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func openCalls(t testing.TB, s store) map[call.ID]time.Time {
	t.Helper()
	seen := make(map[call.ID]time.Time)
	err := s.OpenCalls(context.Background(), func(id call.ID, deadline time.Time) error {
		seen[id] = deadline
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func pendingFor(t testing.TB, s store, u call.UserID) []call.ID {
	t.Helper()
	ids, err := s.PendingFor(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// allCalls pages through a user's list.
func allCalls(t testing.TB, s store, u call.UserID, limit int) (ids []call.ID) {
	t.Helper()
	after := call.ID(0)
	for {
		calls, next, err := s.UserCalls(context.Background(), u, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range calls {
			ids = append(ids, c.ID)
		}
		if next == 0 {
			return ids
		}
		if len(calls) != limit || calls[len(calls)-1].ID != next {
			t.Fatalf("page of %d calls, next %v; want %d and the last one's ID", len(calls), next, limit)
		}
		after = next
	}
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := reflect.ValueOf(got), reflect.ValueOf(want); g.Kind() == reflect.Slice && g.Len() == 0 && w.Len() == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestSaveAndLoad(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		a := ringing(7, 0, "ann", "bob")
		save(t, s, create(a))
		same(t, "created", load(t, s, 7), stored(a))

		b := with(a, became(1, call.Accepted))
		save(t, s, b)
		same(t, "accepted", load(t, s, 7), stored(b.Next))

		c := with(b.Next, closed)
		save(t, s, c)
		same(t, "closed", load(t, s, 7), stored(c.Next))

		d := with(c.Next, func(s *call.State) { s.Users[1].Told = 3 })
		save(t, s, d)
		same(t, "written after its closing", load(t, s, 7), stored(d.Next))

		if _, err := s.Load(context.Background(), 8); !errors.Is(err, call.ErrNotFound) || !strings.Contains(err.Error(), "8") {
			t.Fatalf("missing call: %v", err)
		}
	})
}

func TestCompareAndSet(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		a := ringing(7, 0, "ann", "bob")
		b := with(a, became(1, call.Accepted))
		c := with(b.Next, closed)
		steps := []struct {
			what string
			t    call.Transition
			want error
		}{
			{"update of nothing", b, call.ErrConflict},
			{"creation", create(a), nil},
			{"second creation", create(a), call.ErrConflict},
			{"update", b, nil},
			{"the same update again", b, call.ErrConflict},
			{"a stale owner's other update", with(a, became(1, call.Rejected)), call.ErrConflict},
			{"closing from a stale copy", with(a, closed), call.ErrConflict},
			{"closing", c, nil},
			{"creation over a closed call", create(a), call.ErrConflict},
			{"stale update of a closed call", with(b.Next, became(1, call.Quit)), call.ErrConflict},
			{"opening a closed call", with(c.Next, func(s *call.State) { s.Closed = false }), call.ErrUnavailable},
			{"a revision that doesn't rise", call.Transition{Prev: c.Next, Next: c.Next}, call.ErrUnavailable},
			{"call 0", create(ringing(0, 0, "ann", "bob")), call.ErrUnavailable},
			{"another call's state", call.Transition{Prev: c.Next, Next: with(ringing(9, 0, "ann"), closed).Next}, call.ErrUnavailable},
			{"a creation that moves", with(c.Next, func(s *call.State) { s.Created++ }), call.ErrUnavailable},
			{"a user ID of 256 bytes", create(ringing(10, 0, call.UserID(strings.Repeat("x", 256)))), call.ErrUnavailable},
		}
		for _, step := range steps {
			if err := s.Save(context.Background(), []call.Transition{step.t})[0]; !errors.Is(err, step.want) {
				t.Fatalf("%s: got %v, want %v", step.what, err, step.want)
			}
		}
		same(t, "in the end", load(t, s, 7), stored(c.Next))
		same(t, "open", openCalls(t, s), map[call.ID]time.Time{})
	})
}

// TestOneBatch: each transition has its own verdict, and the second of one call sees the first.
func TestOneBatch(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		a, z := ringing(7, 0, "ann", "bob"), ringing(8, 1, "zoe", "bob")
		b := with(a, became(1, call.Accepted))
		stale := with(a, became(1, call.Rejected))
		c := with(b.Next, closed)
		verdicts := s.Save(context.Background(), []call.Transition{create(a), create(z), b, stale, c, with(z, became(1, call.Rejected)), create(a)})
		for i, want := range []error{nil, nil, nil, call.ErrConflict, nil, nil, call.ErrConflict} {
			if !errors.Is(verdicts[i], want) {
				t.Fatalf("transition %d: got %v, want %v", i, verdicts[i], want)
			}
		}
		same(t, "bob's list", allCalls(t, s, "bob", 1), []call.ID{8, 7})
		same(t, "bob's pending", pendingFor(t, s, "bob"), []call.ID{})
		same(t, "zoe's pending", pendingFor(t, s, "zoe"), []call.ID{8})
	})
}

// TestLoserChangesNothing: the rows hang on the compare-and-set.
func TestLoserChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		a := ringing(7, 0, "ann", "bob")
		save(t, s, create(a))
		b := with(a, became(1, call.Accepted))
		save(t, s, b)
		stale := with(a, func(n *call.State) {
			became(1, call.Rejected)(n)
			n.Users = append(n.Users, call.Participant{User: "eve", State: call.Inviting})
		})
		if err := s.Save(context.Background(), []call.Transition{stale})[0]; !errors.Is(err, call.ErrConflict) {
			t.Fatal(err)
		}
		same(t, "bob's pending", pendingFor(t, s, "bob"), []call.ID{7})
		same(t, "eve's list", allCalls(t, s, "eve", 10), []call.ID{})
		same(t, "eve's pending", pendingFor(t, s, "eve"), []call.ID{})
	})
}

func TestOpenCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		want := make(map[call.ID]time.Time)
		var batch []call.Transition
		for id := call.ID(1); id <= 2*scanChunk+3; id++ {
			a := ringing(id, int(id), "ann", "bob")
			batch = append(batch, create(a))
			if id%3 == 0 {
				batch = append(batch, with(a, closed))
				continue
			}
			read := stored(a)
			want[id] = read.Deadline()
		}
		save(t, s, batch...)
		same(t, "open", openCalls(t, s), want)

		stop := errors.New("enough")
		visits := 0
		err := s.OpenCalls(context.Background(), func(call.ID, time.Time) error {
			if visits++; visits == 2 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || visits != 2 {
			t.Fatalf("got %v after %d visits", err, visits)
		}
		// A visit may use the store.
		seen := 0
		err = s.OpenCalls(context.Background(), func(id call.ID, _ time.Time) error {
			seen++
			save(t, s, with(load(t, s, id), closed))
			return nil
		})
		if err != nil || seen != len(want) {
			t.Fatalf("%d of %d visited: %v", seen, len(want), err)
		}
		same(t, "all closed", openCalls(t, s), map[call.ID]time.Time{})
	})
}

func TestUserCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		var want []call.ID
		for n := range 7 {
			id := call.ID(1000 - n*10) // IDs fall while times rise, and two calls share an instant
			a := ringing(id, n/2, "bob", "bo")
			save(t, s, create(a))
			if n%2 == 0 {
				save(t, s, with(a, closed))
			}
			want = append(want, id)
		}
		slices.SortFunc(want, func(a, b call.ID) int {
			na, nb := int(1000-a)/20, int(1000-b)/20
			if na != nb {
				return nb - na
			}
			return int(b) - int(a)
		})
		for _, limit := range []int{1, 2, 3, 7, 100} {
			same(t, fmt.Sprint("pages of ", limit), allCalls(t, s, "bob", limit), want)
			same(t, fmt.Sprint("the shorter name, pages of ", limit), allCalls(t, s, "bo", limit), want)
		}
		calls, next, err := s.UserCalls(context.Background(), "bob", 0, 0)
		if err != nil || len(calls) != 1 || next != calls[0].ID {
			t.Fatalf("limit 0 is 1: got %d calls, next %v, %v", len(calls), next, err)
		}
		same(t, "a whole record", calls[0], load(t, s, want[0]))

		if _, _, err := s.UserCalls(context.Background(), "b", 1000, 5); !errors.Is(err, call.ErrNotFound) {
			t.Fatalf("another user's cursor: %v", err)
		}
		calls, next, err = s.UserCalls(context.Background(), "bob", 4711, 5)
		if err != nil || len(calls) != 0 || next != 0 {
			t.Fatalf("a cursor that has gone: %v, %v, %v", calls, next, err)
		}
		same(t, "nobody", allCalls(t, s, "nobody", 5), []call.ID{})
	})
}

func TestPageLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		var batch []call.Transition
		for id := call.ID(1); id <= maxPending+10; id++ {
			batch = append(batch, create(ringing(id, int(id), "ann", "bob")))
		}
		save(t, s, batch...)
		calls, next, err := s.UserCalls(context.Background(), "bob", 0, 5000)
		if err != nil || len(calls) != maxPage || next != calls[maxPage-1].ID {
			t.Fatalf("%d calls, next %v, %v", len(calls), next, err)
		}
		ids := pendingFor(t, s, "bob")
		if len(ids) != maxPending || ids[0] != maxPending+10 || ids[maxPending-1] != 11 {
			t.Fatalf("%d pending, from %v to %v", len(ids), ids[0], ids[len(ids)-1])
		}
	})
}

// TestPendingFollowsTheUser: pending, accepted, gone, invited again, ended; a user who joins later gets his rows then.
func TestPendingFollowsTheUser(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
		steps := []struct {
			edit func(*call.State)
			bob  bool
			eve  bool
		}{
			{became(1, call.Received), true, false},
			{became(1, call.Accepted), true, false},
			{became(1, call.Quit), false, false},
			{became(1, call.Inviting), true, false},
			{func(s *call.State) {
				s.Users = append(s.Users, call.Participant{User: "eve", State: call.Accepted})
			}, true, true},
			{func(s *call.State) { // eve moves up, bob is forgotten
				s.Users = append(s.Users[:1:1], s.Users[2])
			}, false, true},
			{ended, false, false},
			{closed, false, false},
		}
		now := ringing(7, 0, "ann", "bob")
		save(t, s, create(now))
		for i, step := range steps {
			tr := with(now, step.edit)
			save(t, s, tr)
			now = tr.Next
			for u, want := range map[call.UserID]bool{"bob": step.bob, "eve": step.eve} {
				if got := slices.Contains(pendingFor(t, s, u), 7); got != want || got != now.LiveFor(u) {
					t.Fatalf("step %d: pending for %s is %v, want %v", i, u, got, want)
				}
				if got, want := slices.Contains(allCalls(t, s, u, 9), 7), now.Find(u) != nil; got != want {
					t.Fatalf("step %d: in the list of %s is %v, want %v", i, u, got, want)
				}
			}
		}
	})
}

func TestUsers(t *testing.T) {
	onBoth(t, func(t *testing.T, s store, _ *clock) {
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
	onBoth(t, func(t *testing.T, s store, c *clock) {
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
	onBoth(t, func(t *testing.T, s store, _ *clock) {
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
	onBoth(t, func(t *testing.T, s store, _ *clock) {
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
	onBoth(t, func(t *testing.T, s store, _ *clock) {
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
	for name, s := range map[string]store{"memory": NewMemory(Config{}), "pebble": mustOpen(t, Config{FS: vfs.NewMem()})} {
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
				"OpenCalls": s.OpenCalls(ctx, func(call.ID, time.Time) error { return nil }),
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
