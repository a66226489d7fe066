package actors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// register is a store that says which calls are open, whether they exist or not, and writes down who asks.
type register struct {
	Store
	mu    sync.Mutex
	open  map[call.ID]time.Time // with their deadlines
	fails int                   // scans that fail
	scans []int                 // shards of each
	loads map[call.ID]time.Time
}

func (r *register) OpenCalls(_ context.Context, shards []uint16, visit func(call.ID, time.Time) error) error {
	r.mu.Lock()
	r.scans = append(r.scans, len(shards))
	failing, open := len(r.scans) <= r.fails, maps.Clone(r.open)
	r.mu.Unlock()
	if failing {
		return errors.New("store: not now")
	}
	for id, deadline := range open {
		if !slices.Contains(shards, id.Shard()) {
			continue
		}
		if err := visit(id, deadline); err != nil {
			return err
		}
	}
	return nil
}

func (r *register) Load(ctx context.Context, id call.ID) (call.State, error) {
	r.mu.Lock()
	r.loads[id] = time.Now()
	r.mu.Unlock()
	return r.Store.Load(ctx, id)
}

// woken are the calls that were loaded since the last time.
func (r *register) woken() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []uint16
	for id := range r.loads {
		out = append(out, id.Shard())
	}
	clear(r.loads)
	slices.Sort(out)
	return fmt.Sprint(out)
}

// scanned is how many shards each look was for.
func (r *register) scanned() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.scans)
}

// taking plays with a node that has gained shards 0, 2, 4 and so on of a store with an open call in each of shards 0 to 5.
func taking(t *testing.T, fails int, play func(*league, *register)) {
	t.Helper()
	reg := &register{open: map[call.ID]time.Time{}, fails: fails, loads: map[call.ID]time.Time{}}
	for shard := range uint16(6) {
		reg.open[call.NewID(shard, 1)] = time.Time{}
	}
	nodes(t, []string{"a", "b"}, func(c *Config) {
		if c.Node == "a" {
			reg.Store = c.Store
			c.Store = reg
		}
	}, func(l *league) { play(l, reg) })
}

// TestTakeover: the calls of the node's own shards wake, those that it knows do not, and a store that fails is read again.
func TestTakeover(t *testing.T) {
	taking(t, 0, func(l *league, r *register) {
		if l.pass(time.Millisecond); r.woken() != "[0 2 4]" || len(r.scanned()) != 1 || r.scanned()[0] != call.Shards/2 {
			t.Errorf("scans of %v", r.scanned())
		}
		a := l.nodes["a"].sys
		a.calls.alarms.set(call.NewID(2, 1), time.Now().Add(time.Hour))
		a.Opened([]uint16{0, 2, 3})
		if l.pass(time.Second); r.woken() != "[0]" || r.scanned()[1] != 2 {
			t.Errorf("scans of %v", r.scanned())
		}
	})
}

func TestTakeoverTriesAgain(t *testing.T) {
	taking(t, 2, func(l *league, r *register) {
		if l.pass(2*lookAgain - time.Millisecond); r.woken() != "[]" || len(r.scanned()) != 2 {
			t.Errorf("scans of %v", r.scanned())
		}
		if l.pass(2 * time.Millisecond); r.woken() != "[0 2 4]" || len(r.scanned()) != 3 || r.scanned()[2] != call.Shards/2 {
			t.Errorf("scans of %v", r.scanned())
		}
		if l.pass(time.Minute); len(r.scanned()) != 3 {
			t.Errorf("scans of %v", r.scanned())
		}
	})
}

// TestTakeoverLetsGo: shards that have gone before the store could be read are not looked through.
func TestTakeoverLetsGo(t *testing.T) {
	taking(t, 1, func(l *league, r *register) {
		l.change(func(shard uint16) string { return map[bool]string{true: "a", false: "b"}[shard == 4] })
		if l.pass(time.Minute); r.woken() != "[4]" || r.scanned()[len(r.scanned())-1] != 1 {
			t.Errorf("scans of %v", r.scanned())
		}
	})
}

// TestTakeoverOfWhatTheDeadHaveMade: who is gone may have made calls in shards that were this node's already.
func TestTakeoverOfWhatTheDeadHaveMade(t *testing.T) {
	taking(t, 0, func(l *league, r *register) {
		l.pass(time.Second)
		r.woken()
		l.kill("b", "a")
		if l.pass(time.Second); r.woken() != "[0 1 2 3 4 5]" {
			t.Errorf("scans of %v", r.scanned())
		}
	})
}

// TestTakeoverIsPaced: all at once would be too much; a deadline does not wait.
func TestTakeoverIsPaced(t *testing.T) {
	taking(t, 0, func(l *league, r *register) {
		l.pass(time.Second)
		r.woken()
		late := call.NewID(0, 1<<40)
		began := time.Now()
		r.mu.Lock()
		for n := range uint64(recoverRate / 10) {
			r.open[call.NewID(0, 2+n)] = time.Time{}
		}
		r.open[late] = began.Add(-time.Hour)
		r.mu.Unlock()
		l.nodes["a"].sys.Opened([]uint16{0})
		l.pass(time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		last := began
		for _, at := range r.loads {
			if at.After(last) {
				last = at
			}
		}
		if took := last.Sub(began); len(r.loads) < recoverRate/10 || took < 95*time.Millisecond || took > 110*time.Millisecond {
			t.Errorf("%d calls woke within %v", len(r.loads), took)
		}
		if at := r.loads[late]; at.Sub(began) > time.Millisecond {
			t.Errorf("what is overdue woke after %v", at.Sub(began))
		}
	})
}

// deaf is a cluster in which nobody owns anything.
type deaf struct{}

func (deaf) Enter(uint16) *atomic.Int64         { return nil }
func (deaf) Send(uint16, uint8, []byte) error   { return errGone }
func (deaf) SendTo(string, uint8, []byte) error { return errGone }
func (deaf) HandedOver([]uint16)                {}

// TestNobodyTakesIt: what cannot be sent on is answered at once.
func TestNobodyTakesIt(t *testing.T) {
	bubble(t, func(c *Config) { c.Cluster = deaf{} }, func(r *rig) {
		p := r.login("alice", "a1")
		if got := p.answer(1); code(got) != int(call.Internal) || p.ended() != int(wire.CloseOverloaded) {
			t.Fatalf("login: %v, closed with %d", got, p.ended())
		}
		p = r.connect()
		p.g.user, p.g.device, p.g.own = "alice", "a1", &account{devices: 1}
		p.g.stage = joining
		p.g.deliver(output{Number: 1, LoggedIn: true})
		for _, f := range []*wire.ClientFrame{
			invite("bob"), accept(7), query(5), {Body: &wire.ClientFrame_Logout{Logout: &wire.Logout{}}},
		} {
			if got := p.ask(f); code(got) != int(call.Internal) || p.ended() != -1 {
				t.Errorf("%T: %v, closed with %d", f.GetBody(), got, p.ended())
			}
		}
		p.heartbeat()
		p.g.Handle(receipt(7))
		p.hangUp()
		r.sys.ToCall(7, told{User: "alice"})
		r.sys.ToSession("alice", session.Watch{Call: 7})
		r.sys.ToGateway(session.Conn{Node: "elsewhere", ID: 1}, recall{})
		if s := r.sys.Stats(); s != (Stats{Gateways: 1}) {
			t.Errorf("left: %+v", s)
		}
		if home := r.sys.Home("alice"); home != "" {
			t.Errorf("alice is sent to %q", home)
		}
	})
}

// TestWhatIsNotUnderstood is counted and dropped: unknown kinds, broken bodies, and messages that came the wrong way.
func TestWhatIsNotUnderstood(t *testing.T) {
	var unknown atomic.Int64
	bubble(t, func(c *Config) {
		c.Cluster = deaf{}
		c.Watch.Unknown = func() { unknown.Add(1) }
	}, func(r *rig) {
		kind, body, _ := encodeForGateway(1, recall{})
		r.sys.Deliver(kind, body)
		r.sys.Deliver(99, nil)
		r.sys.Deliver(kindTold, []byte("garbage"))
		r.sys.Deliver(kindTold, nil)
		kind, body, _ = encodeForSession("alice", session.Watch{Call: 7})
		r.sys.Direct(kind, body)
		r.sys.Direct(99, nil)
		if unknown.Load() != 6 {
			t.Errorf("%d are counted", unknown.Load())
		}
		kind, body, _ = encodeForGateway(1, recall{})
		r.sys.Direct(kind, body) // to a connection that has ended
		if s := r.sys.Stats(); unknown.Load() != 6 || s != (Stats{}) {
			t.Errorf("%d are counted; %+v", unknown.Load(), s)
		}
	})
}
