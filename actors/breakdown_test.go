package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// cursed is a store that panics when told to.
type cursed struct {
	Store
	save, list atomic.Bool
}

func (c *cursed) Save(ctx context.Context, batch []call.Transition) []error {
	if c.save.CompareAndSwap(true, false) {
		panic("cursed")
	}
	return c.Store.Save(ctx, batch)
}

func (c *cursed) UserCalls(ctx context.Context, u call.UserID, after call.ID, limit int) ([]call.State, call.ID, error) {
	if c.list.CompareAndSwap(true, false) {
		panic("cursed")
	}
	return c.Store.UserCalls(ctx, u, after, limit)
}

// ledger counts calls in memory by phase, and break-downs.
type ledger struct {
	mu     sync.Mutex
	phases [PhaseEnding + 1]int
	broke  []string
}

func (l *ledger) watch() Observer {
	return Observer{
		Phase: func(from, to Phase) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.phases[from]--
			l.phases[to]++
		},
		Panic: func(kind string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.broke = append(l.broke, kind)
		},
	}
}

func (l *ledger) check(t *testing.T, ringing, answered, ending, broke int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.phases
	if p[PhaseRinging] != ringing || p[PhaseAnswered] != answered || p[PhaseEnding] != ending || len(l.broke) != broke {
		t.Errorf("ringing %d, answered %d, ending %d, broke down %v; want %d, %d, %d, %d",
			p[PhaseRinging], p[PhaseAnswered], p[PhaseEnding], l.broke, ringing, answered, ending, broke)
	}
}

// TestCallBreaksDown: the command is lost, the call is not; a retry finds it as it was.
func TestCallBreaksDown(t *testing.T) {
	var store *cursed
	var book ledger
	bubble(t, func(c *Config) {
		store = &cursed{Store: c.Store}
		c.Store, c.Watch = store, book.watch()
	}, func(r *rig) {
		alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
		id := alice.must(inviteAdvanced("bob")).GetCall().GetCallId()
		alice.takeEvents()
		book.check(t, 1, 0, 0, 0)
		store.save.Store(true)
		f := accept(id)
		if got := bob.ask(f); got != nil {
			t.Fatalf("answered by one that broke down: %v", got)
		}
		book.check(t, 0, 0, 0, 1)
		r.pass(2 * time.Second) // it wakes by itself
		book.check(t, 1, 0, 0, 1)
		alice.takeEvents() // told again: that she had heard was forgotten
		bob.must(f)
		alice.hears("bob=Accepted")
		book.check(t, 0, 1, 0, 1)
		r.stay(2*time.Minute, alice, bob)
		book.check(t, 0, 0, 0, 1)
		bob.must(query(1)) // which forgives what will not be answered any more
		if s := r.sys.Stats(); s.InFlight != 0 {
			t.Errorf("the lost request keeps its place: %+v", s)
		}
	})
}

// TestSessionBreaksDown: its connections are recalled at their next frame, and a login puts the device in step.
func TestSessionBreaksDown(t *testing.T) {
	var store *cursed
	var book ledger
	bubble(t, func(c *Config) {
		store = &cursed{Store: c.Store}
		c.Store, c.Watch = store, book.watch()
	}, func(r *rig) {
		alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
		id := alice.must(invite("bob")).GetCall().GetCallId()
		alice.takeEvents()
		store.list.Store(true)
		alice.ask(query(1))
		book.check(t, 1, 0, 0, 1)
		bob.must(reject(id))
		if e := alice.takeEvents(); len(e) != 0 {
			t.Errorf("a device that the session does not know heard %v", e)
		}
		alice.heartbeat()
		synctest.Wait()
		if alice.ended() != int(wire.CloseGoingAway) {
			t.Fatalf("closed with %d", alice.ended())
		}
		alice.hangUp()
		alice = r.login("alice", "a1", &wire.KnownCall{CallId: id, Version: 1})
		sync := alice.answer(1).GetLogin().GetSync()
		if len(sync) != 1 || sync[0].GetVersion() != 2 || sync[0].GetState() != wire.CallState_CALL_STATE_ENDED {
			t.Errorf("sync: %v", sync)
		}
	})
}
