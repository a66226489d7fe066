package persistence

import (
	"context"
	"os"
	"reflect"
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
	goleak.VerifyTestMain(m, append(left, goleak.Cleanup(func(code int) {
		if shared.s != nil {
			shared.s.remove()
		}
		os.Exit(code)
	}))...)
}

// store is what the actors ask of a store: Save to PendingFor, and the users.
type store interface {
	Save(ctx context.Context, batch []call.Transition) []error
	Load(ctx context.Context, id call.ID) (call.State, error)
	OpenCalls(ctx context.Context, shards []uint16, visit func(id call.ID, deadline time.Time) error) error
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

// onAll runs a test on a fresh store of each kind.
func onAll(t *testing.T, f func(t *testing.T, s store, c *clock)) {
	t.Run("memory", func(t *testing.T) {
		c := newClock()
		f(t, closing(t, NewMemory(Config{Now: c.now})), c)
	})
	t.Run("pebble", func(t *testing.T) {
		c := newClock()
		f(t, closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Now: c.now})), c)
	})
	for name, plain := range map[string]bool{"postgres": false, "postgres, plain": true} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			f(t, closing(t, mustOpenPostgres(t, Config{DSN: database(t, plain), Now: c.now})), c)
		})
	}
}

func mustOpenPostgres(t testing.TB, c Config) *Postgres {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet
	}
	p, err := OpenPostgres(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
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
		switch p := any(s).(type) {
		case *Pebble:
			if !t.Failed() {
				consistent(t, p)
			}
		case *Postgres:
			if !t.Failed() {
				consistentTables(t, p)
			}
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
	err := s.OpenCalls(context.Background(), nil, func(id call.ID, deadline time.Time) error {
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
