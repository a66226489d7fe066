package actors

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

func receipt(id uint64) *wire.ClientFrame {
	return &wire.ClientFrame{Body: &wire.ClientFrame_InvitationReceipt{InvitationReceipt: &wire.InvitationReceipt{CallId: id}}}
}

// must of a phone whose session or call is on another node: the answer takes a while.
func (l *league) must(p *phone, f *wire.ClientFrame) *wire.Response {
	l.Helper()
	p.send(f)
	l.pass(50 * latency)
	return p.success(p.answer(p.asked))
}

func (l *league) pass(d time.Duration) {
	time.Sleep(d) // virtual
	synctest.Wait()
}

// login takes a device in that may be far from its session.
func (l *league) login(node, user, device string, known ...*wire.KnownCall) *phone {
	l.Helper()
	p := l.nodes[node].login(user, device, known...)
	l.pass(50 * latency)
	if p.success(p.answer(1)).GetLogin().GetNode() != node {
		l.Fatalf("%s is logged in to %v", user, p.answer(1))
	}
	return p
}

// redirect is where the answer to the login sends the device.
func (p *phone) redirect() string { return p.answer(1).GetLogin().GetRedirect() }

func (p *phone) gone() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.away)
}

// talk is a call of alice, who has a second device, with bob, who has a pad.
type talk struct {
	*league
	alice, desk, bob, pad *phone
	a, b                  string
	id                    uint64
}

// ring lets alice, whose session is on node a, ring bob, whose session is on node b; their devices are on both.
func (l *league) ring() *talk {
	l.Helper()
	k := &talk{league: l, a: l.userOn("a", "alice"), b: l.userOn("b", "bob")}
	k.alice, k.desk = l.login("b", k.a, "a1"), l.login("a", k.a, "a2")
	k.bob, k.pad = l.login("a", k.b, "b1"), l.login("b", k.b, "b2")
	if k.alice.redirect() != "a.example:1" || k.desk.redirect() != "" || k.bob.redirect() != "b.example:1" || k.pad.redirect() != "" {
		l.Errorf("sent to %q, %q, %q, %q", k.alice.redirect(), k.desk.redirect(), k.bob.redirect(), k.pad.redirect())
	}
	k.id = l.must(k.alice, inviteAdvanced(k.b)).GetCall().GetCallId()
	k.hear(k.a+"=Accepted "+k.b+"=Inviting, CallInvitationCreated", "CallInvitationCreated", "CallInvitationReceived", "CallInvitationReceived")
	return k
}

func (k *talk) all() []*phone { return []*phone{k.alice, k.desk, k.bob, k.pad} }

func (k *talk) hear(alice, desk, bob, pad string) {
	k.Helper()
	k.pass(50 * latency)
	for i, want := range []string{alice, desk, bob, pad} {
		if p := k.all()[i]; p != nil && !p.hungUp {
			p.hears(want)
		}
	}
}

// stay lets time go by while all send their heartbeats, and nobody hears anything.
func (k *talk) stay(d time.Duration) {
	k.Helper()
	phones := slices.DeleteFunc(k.all(), func(p *phone) bool { return p.hungUp })
	k.nodes["b"].stay(d, phones...)
	k.hear("", "", "", "")
}

// accepted lets the pad accept.
func (k *talk) accepted() {
	k.Helper()
	k.must(k.pad, accept(k.id))
	k.hear(k.b+"=Accepted", "", k.b+"=Accepted (answered_elsewhere)", k.b+"=Accepted")
}

// TestACallOverTwoNodes: each user's session is on one node, and one of his devices on the other.
func TestACallOverTwoNodes(t *testing.T) {
	nodes(t, []string{"a", "b"}, nil, func(l *league) {
		k := l.ring()
		k.bob.g.Handle(receipt(k.id))
		k.hear(k.b+"=Received", "", k.b+"=Received", k.b+"=Received")
		k.stay(time.Minute)
		k.accepted()
		if got := k.bob.ask(accept(k.id)); got != nil {
			t.Errorf("answered before it can have arrived: %v", got)
		}
		l.pass(50 * latency)
		if got := k.bob.answer(k.bob.asked); code(got) != int(call.NotInvited) {
			t.Errorf("a second accept: %v", got)
		}
		if page := l.must(k.bob, query(5)).GetList().GetCalls(); len(page) != 1 {
			t.Errorf("listed: %v", page)
		}
		k.stay(3 * time.Minute)
		for name, want := range map[string]Stats{"a": {Sessions: 1, Gateways: 2, Devices: 2, Resting: 1}, "b": {Sessions: 1, Gateways: 2, Devices: 2}} {
			if got := l.nodes[name].sys.Stats(); got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		l.must(k.bob, &wire.ClientFrame{Body: &wire.ClientFrame_Logout{Logout: &wire.Logout{}}})
		if k.bob.ended() != int(wire.CloseLoggedOut) {
			t.Errorf("closed with %d", k.bob.ended())
		}
	})
}

// TestARingingCallMoves: sessions and calls go to a third node, and come back; nobody rings twice, and all goes on.
func TestARingingCallMoves(t *testing.T) {
	nodes(t, []string{"a", "b"}, nil, func(l *league) {
		k := l.ring()
		k.bob.g.Handle(receipt(k.id))
		k.hear(k.b+"=Received", "", k.b+"=Received", k.b+"=Received")
		l.start("c", nil)
		for i, to := range []func(uint16) string{spreadOver("c"), spreadOver("a", "b"), spreadOver("b", "c")} {
			l.change(to)
			k.stay(15 * time.Second)
			for _, n := range l.nodes {
				if want := min(len(l.owned(n.name, k)), 2); n.sys.Stats().Sessions != want {
					t.Errorf("move %d: %s has %d sessions, want %d", i, n.name, n.sys.Stats().Sessions, want)
				}
			}
		}
		for _, p := range k.all() {
			if p.ended() != -1 {
				t.Errorf("connection %d was closed with %d", p.id, p.ended())
			}
		}
		k.accepted()
	})
}

// owned are the users of the talk whose sessions are on the node.
func (l *league) owned(node string, k *talk) []string {
	return slices.DeleteFunc([]string{k.a, k.b}, func(u string) bool { return l.view.owners[call.UserID(u).Shard()] != node })
}

// TestDevicesFollow: who is asked to go where, after a hand-over.
func TestDevicesFollow(t *testing.T) {
	nodes(t, []string{"a", "b"}, nil, func(l *league) {
		k := l.ring()
		l.change(spreadOver("b"))
		k.hear("", "", "", "")
		if got := k.alice.gone() + k.desk.gone() + k.bob.gone() + k.pad.gone(); got != "[][b.example:1][][]" {
			t.Errorf("asked to go to %s", got)
		}
	})
}

// TestPresenceMoves: the caller's silence counts from his last frame, whoever has his session and his call.
func TestPresenceMoves(t *testing.T) {
	nodes(t, []string{"a", "b"}, nil, func(l *league) {
		k := l.ring()
		k.desk.hangUp()
		k.stay(10 * time.Second)
		k.alice.hangUp()
		l.start("c", nil)
		l.change(spreadOver("c", "b", "a"))
		k.stay(15 * time.Second)
		l.change(spreadOver("b", "a", "c"))
		k.stay(19 * time.Second)
		l.nodes["b"].stay(time.Second, k.bob, k.pad)
		k.hear("", "", "CallInvitationCancelled (caller_offline)", "CallInvitationCancelled (caller_offline)")
	})
}

// TestTheOwnerDies: devices of his sessions are recalled, the others are not; the call goes on, with its deadline.
func TestTheOwnerDies(t *testing.T) {
	nodes(t, []string{"a", "b", "c"}, nil, func(l *league) {
		k := l.ring()
		stored, err := l.store.Load(t.Context(), call.ID(k.id))
		if err != nil {
			t.Fatal(err)
		}
		k.desk.hangUp()
		k.bob.hangUp()
		l.kill("a", "c")
		l.pass(time.Second)
		if k.alice.ended() != int(wire.CloseGoingAway) || k.pad.ended() != -1 {
			t.Errorf("closed with %d, %d", k.alice.ended(), k.pad.ended())
		}
		k.pad.takeEvents() // what he has acknowledged was not written down: he may hear it again
		k.alice.hangUp()
		k.alice = l.login("b", k.a, "a1")
		if sync := k.alice.answer(1).GetLogin().GetSync(); len(sync) != 1 || sync[0].GetCallId() != k.id || k.alice.redirect() != "c.example:1" {
			t.Errorf("sync: %v", k.alice.answer(1))
		}
		l.nodes["b"].stay(time.Until(stored.Created.Time().Add(90*time.Second+50*latency)), k.alice, k.pad)
		k.alice.hears(k.b + "=Timeout (no_answer)")
		k.pad.hears("CallInvitationTimeout (no_answer)")
	})
}

// TestTheGatewaysNodeDies: its devices are in grace on the nodes of their sessions.
func TestTheGatewaysNodeDies(t *testing.T) {
	nodes(t, []string{"a", "b", "c"}, nil, func(l *league) {
		k := l.ring()
		k.desk.hangUp()
		home := l.userOn("c", "carol")
		carol := l.login("b", home, "c1")
		id := l.must(carol, invite(k.a)).GetCall().GetCallId()
		k.alice.takeEvents()
		l.kill("b", "a")
		l.pass(20 * time.Second)
		carol = l.login("a", home, "c1")
		if sync := carol.answer(1).GetLogin().GetSync(); len(sync) != 1 || sync[0].GetCallId() != id {
			t.Errorf("sync: %v", sync)
		}
		l.nodes["a"].stay(40*time.Second, carol)
		if s, err := l.store.Load(t.Context(), call.ID(id)); err != nil || !s.Open() {
			t.Errorf("the call of one who came back: ended as %s, %v", s.EndReason, err)
		}
		if s, err := l.store.Load(t.Context(), call.ID(k.id)); err != nil || s.EndReason != call.ReasonCallerOffline {
			t.Errorf("the call of one who stayed away: ended as %s, %v", s.EndReason, err)
		}
	})
}

// TestALoginMoves: it is answered once, by the next owner, whatever was lost before.
func TestALoginMoves(t *testing.T) {
	nodes(t, []string{"a", "b", "c"}, nil, func(l *league) {
		k := l.ring()
		k.pad.hangUp()
		lose := func(_, _ string, kind uint8) bool { return kind == kindSynced }
		l.lose.Store(&lose)
		k.pad = l.nodes["a"].login(k.b, "b2")
		l.pass(700 * time.Millisecond)
		if k.pad.answer(1) != nil {
			t.Fatal("answered without the call's word")
		}
		l.lose.Store(nil)
		l.change(l.but(k.b, "c"))
		l.pass(100 * latency)
		if sync := k.pad.success(k.pad.answer(1)).GetLogin().GetSync(); len(sync) != 1 || k.pad.redirect() != "c.example:1" {
			t.Errorf("answer: %v", k.pad.answer(1))
		}
		k.hear("", "", "", "CallInvitationReceived")
		k.accepted()
	})
}

// TestALostDelivery: a device that has missed something learns it within two seconds, by another login.
func TestALostDelivery(t *testing.T) {
	for _, more := range []bool{false, true} {
		var gaps atomic.Int64
		watch := func(c *Config) { c.Watch.Repaired = func(string) { gaps.Add(1) } }
		nodes(t, []string{"a", "b"}, watch, func(l *league) {
			k := l.ring()
			lose := func(_, to string, kind uint8) bool { return to == "a" && kind == kindOutput }
			l.lose.Store(&lose)
			k.bob.g.Handle(receipt(k.id))
			k.hear(k.b+"=Received", "", "", k.b+"=Received")
			l.lose.Store(nil)
			if more { // what comes next shows it
				k.must(k.pad, accept(k.id))
			} else {
				l.pass(time.Second)
			}
			if k.bob.ended() != int(wire.CloseGoingAway) || gaps.Load() != 1 {
				t.Errorf("closed with %d, %d gaps", k.bob.ended(), gaps.Load())
			}
			k.bob.hears("")
		})
	}
}

// TestAPause: a node that stood still knows nothing any more. Its actors leave without a word, and all devices log in again.
func TestAPause(t *testing.T) {
	nodes(t, []string{"a", "b"}, nil, func(l *league) {
		k := l.ring()
		a := l.nodes["a"]
		a.mu.Lock()
		before := a.view
		a.view = &fakeView{}
		a.mu.Unlock()
		var all []uint16
		for shard, owner := range before.owners {
			if owner == "a" {
				all = append(all, uint16(shard))
			}
		}
		stored, _ := l.store.Load(t.Context(), call.ID(k.id))
		a.sys.Paused()
		a.sys.Moved(a.view, all)
		l.pass(time.Second)
		if got := fmt.Sprint(k.alice.ended(), k.desk.ended(), k.bob.ended(), k.pad.ended()); got != "-1 6 6 -1" {
			t.Errorf("closed with %s", got)
		}
		if s, _ := l.store.Load(t.Context(), call.ID(k.id)); s.Revision != stored.Revision {
			t.Error("a call that was late has written itself down")
		}
		if s := a.sys.Stats(); s.Calls != 0 || s.Sessions != 0 || s.Resting != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
}

// TestDisputed: calls read again, and devices log in again; other shards are not touched.
func TestDisputed(t *testing.T) {
	nodes(t, []string{"a", "b"}, nil, func(l *league) {
		k := l.ring()
		l.nodes["a"].sys.Disputed([]uint16{call.UserID(k.a).Shard()})
		l.pass(50 * latency)
		if got := fmt.Sprint(k.alice.ended(), k.desk.ended(), k.bob.ended(), k.pad.ended()); got != "6 6 -1 -1" {
			t.Errorf("closed with %s", got)
		}
		k.alice.hangUp()
		k.desk.hangUp()
		k.alice = l.login("a", k.a, "a1", &wire.KnownCall{CallId: k.id, Version: 1})
		k.must(k.pad, accept(k.id))
		k.alice.hears(k.b + "=Accepted")
	})
}
