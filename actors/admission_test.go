package actors

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// stuckStore holds every save until it is let go, or its asker's patience ends.
type stuckStore struct {
	Store
	stuck atomic.Bool
	free  chan struct{}
}

func newStuckStore(s Store) *stuckStore { return &stuckStore{Store: s, free: make(chan struct{})} }

func (s *stuckStore) Save(ctx context.Context, batch []call.Transition) []error {
	if s.stuck.Load() {
		select {
		case <-s.free:
		case <-ctx.Done():
			return []error{call.ErrUnknown}
		}
	}
	return s.Store.Save(ctx, batch)
}

func TestInFlightOfADevice(t *testing.T) {
	var store *stuckStore
	bubble(t, func(c *Config) {
		store = newStuckStore(c.Store)
		c.Store, c.Limits.InFlightPerDevice = store, 3
	}, func(r *rig) {
		alice := r.login("alice", "a1")
		store.stuck.Store(true)
		for range 3 {
			if got := alice.ask(invite("bob")); got != nil {
				t.Fatalf("answered although nothing is saved: %v", got)
			}
		}
		if got := alice.ask(invite("bob")); code(got) != int(call.TooFrequent) || got.GetRetryAfterMs() != 1000 {
			t.Fatalf("the fourth: %v", got)
		}
		other := r.login("alice", "a2")
		if got := other.ask(query(1)); code(got) != 0 {
			t.Fatalf("another device: %v", got)
		}
		store.stuck.Store(false)
		close(store.free)
		synctest.Wait()
		for request := uint64(2); request <= 4; request++ {
			alice.success(alice.answer(request))
		}
		alice.must(invite("bob"))
		if s := r.sys.Stats(); s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestInFlightOfTheNode(t *testing.T) {
	var store *stuckStore
	bubble(t, func(c *Config) {
		store = newStuckStore(c.Store)
		c.Store, c.Limits.InFlight = store, 2
	}, func(r *rig) {
		alice, bob, carol := r.login("alice", "a1"), r.login("bob", "b1"), r.login("carol", "c1")
		store.stuck.Store(true)
		alice.ask(invite("dave"))
		bob.ask(invite("dave"))
		if got := carol.ask(invite("dave")); code(got) != int(call.TooFrequent) || got.GetRetryAfterMs() != 1000 {
			t.Fatalf("the third: %v", got)
		}
		late := r.login("erin", "e1")
		if got := late.answer(1); code(got) != int(call.TooFrequent) || got.GetRetryAfterMs() != 1000 || late.ended() < 0 {
			t.Fatalf("a login: %v, closed with %d", got, late.ended())
		}
		bob.hangUp() // whose place is free again
		synctest.Wait()
		if got := carol.ask(invite("dave")); got != nil {
			t.Fatalf("carol's second: %v", got)
		}
		store.stuck.Store(false)
		close(store.free)
		synctest.Wait()
		if s := r.sys.Stats(); s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRate(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice := r.login("alice", "a1")
		for n := range 60 {
			if got := alice.ask(query(1)); code(got) != 0 {
				t.Fatalf("request %d of the burst: %v", n+1, got)
			}
		}
		r.pass(39*time.Millisecond + 500*time.Microsecond)
		got := alice.ask(query(1))
		if code(got) != int(call.TooFrequent) || got.GetRetryAfterMs() != 11 {
			t.Fatalf("one more: %v", got)
		}
		alice.heartbeat() // which costs nothing
		r.pass(time.Duration(got.GetRetryAfterMs()) * time.Millisecond)
		alice.must(query(1))
		if got := alice.ask(invite()); code(got) != int(call.BadParameter) || got.GetRetryAfterMs() != 0 {
			t.Errorf("a parameter comes before the rate: %v", got)
		}
		r.pass(time.Hour)
	})
}

func TestInsistence(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice := r.login("alice", "a1")
		for range 60 + maxInsistence {
			alice.ask(query(1))
		}
		if alice.ended() >= 0 {
			t.Fatalf("closed with %d too early", alice.ended())
		}
		alice.ask(query(1))
		if alice.ended() != int(wire.CloseOverloaded) {
			t.Errorf("closed with %d", alice.ended())
		}
	})
}

// TestHeartbeatsAreBounded: beyond what any client needs they are not even echoed.
func TestHeartbeatsAreBounded(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice := r.login("alice", "a1")
		for range 2 * freeBurst {
			alice.heartbeat()
		}
		synctest.Wait()
		echoes := 0
		for _, f := range alice.heard {
			if f.GetHeartbeat() != nil {
				echoes++
			}
		}
		if echoes != freeBurst {
			t.Errorf("%d echoes, want %d", echoes, freeBurst)
		}
	})
}

// lossy loses what goes to gateways.
type lossy struct {
	Peers
	lost bool
}

func (l *lossy) ToSession(user call.UserID, msg any) {
	if _, is := msg.(*list); !is || !l.lost {
		l.Peers.ToSession(user, msg)
	}
}

// TestLostAnswersAreForgiven: a request whose answer will not come any more does not take its place for ever.
func TestLostAnswersAreForgiven(t *testing.T) {
	bubble(t, func(c *Config) { c.Limits.InFlightPerDevice = 2 }, func(r *rig) {
		alice := r.login("alice", "a1")
		peers := &lossy{alice.g.peers, true}
		alice.g.peers = peers
		alice.ask(query(1))
		r.stay(5*time.Second, alice)
		alice.ask(query(1))
		peers.lost = false
		r.stay(answerWait-5*time.Second, alice)
		if got := alice.ask(query(1)); code(got) != int(call.TooFrequent) {
			t.Fatalf("both places are taken: %v", got)
		}
		r.pass(time.Millisecond)
		alice.must(query(1))
		if s := r.sys.Stats(); s.InFlight != 1 {
			t.Errorf("one request is still waited for: %+v", s)
		}
		alice.hangUp()
		if s := r.sys.Stats(); s.InFlight != 0 {
			t.Errorf("the connection is gone: %+v", s)
		}
	})
}

// TestStrangers: nothing but a login before the login is answered, and no login that is malformed.
func TestStrangers(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		p := r.connect()
		for _, f := range []*wire.ClientFrame{invite("bob"), query(1), accept(7), {}} {
			if got := p.ask(f); code(got) != int(call.NotLoggedIn) {
				t.Errorf("%T: %v", f.GetBody(), got)
			}
		}
		p.heartbeat()
		synctest.Wait()
		if len(p.heard) != 4 {
			t.Errorf("a stranger heard %v", p.heard)
		}
		long := make([]*wire.KnownCall, maxKnownCalls+1)
		for name, p := range map[string]*phone{
			"user": r.login("", "a1"), "alphabet": r.login("al,ice", "a1"), "device": r.login("alice", ""), "calls": r.login("alice", "a1", long...),
		} {
			if got := p.answer(1); code(got) != int(call.BadParameter) || got.GetRetryAfterMs() != 0 || p.ended() != int(wire.CloseLoginRefused) {
				t.Errorf("%s: %v, closed with %d", name, got, p.ended())
			}
		}
		if s := r.sys.Stats(); s.Devices != 0 || s.Sessions != 0 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// census counts who asks which users exist.
type census struct {
	Users
	asked atomic.Int64
	down  atomic.Bool
}

func (c *census) Known(ctx context.Context, users []call.UserID) ([]bool, error) {
	c.asked.Add(1)
	if c.down.Load() {
		return nil, call.ErrUnavailable
	}
	return c.Users.Known(ctx, users)
}

func TestStrictRegistration(t *testing.T) {
	var users *census
	bubble(t, func(c *Config) {
		users = &census{Users: c.Store.(Users)}
		c.Users = users
	}, func(r *rig) {
		alice := r.login("alice", "a1")
		if got := alice.ask(invite("bob", "carol")); code(got) != int(call.NoUser) || len(got.GetErrorUsers()) != 2 {
			t.Errorf("nobody is registered: %v", got)
		}
		r.login("bob", "b1").hangUp()
		got := alice.must(inviteAdvanced("carol", "bob", "al,ice"))
		want := []uint32{uint32(call.BadParameter), uint32(call.NoUser)}
		if e := got.GetErrorUsers(); len(e) != 2 || e[0].GetCode() != want[0] || e[1].GetCode() != want[1] || e[1].GetUserId() != "carol" {
			t.Errorf("errorUsers: %v", e)
		}
		if n := len(got.GetCall().GetUsers()); n != 2 {
			t.Errorf("%d users in the call", n)
		}
		add := &wire.ClientFrame{Body: &wire.ClientFrame_CallingInvite{CallingInvite: &wire.CallingInvite{
			CallId: got.GetCall().GetCallId(), Invitees: []string{"carol"},
		}}}
		if got := alice.ask(add); code(got) != int(call.NoUser) {
			t.Errorf("callingInvite: %v", got)
		}
		users.down.Store(true)
		if got := alice.ask(invite("bob")); code(got) != int(call.Internal) {
			t.Errorf("users cannot be read: %v", got)
		}
		for range 60 {
			alice.ask(query(1))
		}
		before := users.asked.Load()
		if got := alice.ask(invite("bob")); code(got) != int(call.TooFrequent) || users.asked.Load() != before {
			t.Errorf("over the rate: %v, %d look-ups", got, users.asked.Load()-before)
		}
	})
}
