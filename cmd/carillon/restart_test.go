package main

import (
	"fmt"
	"testing"
	"time"

	"carillon/transport/wire"
)

// durable is a configuration whose node can be closed and opened again, on the same directory and port.
func durable(t *testing.T, tune func(*Config)) Config {
	t.Helper()
	return loopbackConfig(t, func(cfg *Config) {
		pebble(cfg)
		cfg.Heartbeat.Interval, cfg.Heartbeat.Timeout = 300*time.Millisecond, 4*time.Second
		if tune != nil {
			tune(cfg)
		}
	})
}

// restart closes a node and opens it again where it was.
func restart(t *testing.T, n *Node) *Node {
	t.Helper()
	cfg := n.cfg
	cfg.Transport.Listen = n.Addr().String()
	if err := n.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return openTestNode(t, cfg)
}

func knows(id, version uint64) *wire.KnownCall { return &wire.KnownCall{CallId: id, Version: version} }

// synced is the login's sync in words, by call.
func (c *rawClient) synced() map[uint64]string {
	out := map[uint64]string{}
	for _, s := range c.login.GetSync() {
		out[s.GetCallId()] = c.unmask(printSnapshot(s))
	}
	return out
}

func TestRingsThroughARestart(t *testing.T) {
	t.Parallel()
	n := openTestNode(t, durable(t, nil))
	k := newCast(t, n)
	a, b := k.join("a", "a1"), k.join("b", "b1")
	r := a.must(&wire.CallInvite{Invitees: k.names("b"), TimeoutS: 6})
	id := r.GetCall().GetCallId()
	b.expect(`Received v1 by a/a1: common a v1 6s "" [a ACCEPTED, b INVITING] started/started inviter a ringing`)
	restart(t, n)
	if code := b.ends(); code != wire.CloseGoingAway {
		t.Errorf("closed with %d, want %d", code, wire.CloseGoingAway)
	}
	a, b = k.join("a", "a1", knows(id, 1)), k.join("b", "b1", knows(id, 1))
	for c, want := range map[*rawClient]string{a: "main", b: "inviter a ringing"} {
		if got := c.synced()[id]; got != `common a v1 6s "" [a ACCEPTED, b INVITING] started/started `+want {
			t.Errorf("%s is synced %s", c.user, got)
		}
	}
	a.silent(id)
	b.silent(id)
	f := a.next()
	if got, want := a.print(f), `USC v2 by server no_answer: [b TIMEOUT no_answer] ended`; got != want {
		t.Errorf("a heard %s, want %s", got, want)
	}
	if at := f.GetEvent().GetTimeMs() - r.GetCall().GetCreateTimeMs(); at != 6000 {
		t.Errorf("timed out at %d ms, want 6000", at)
	}
	b.expect(`Timeout v2 by server no_answer: common`)
}

// TestOverdueAtRestart: an invitation that fell due while the node was down times out at its own instant.
func TestOverdueAtRestart(t *testing.T) {
	t.Parallel()
	n := openTestNode(t, durable(t, nil))
	k := newCast(t, n)
	a, other := k.join("a", "a1"), newNode(t, nil)
	r := a.must(&wire.CallInvite{Invitees: k.names("b"), TimeoutS: 1, Mode: advanced})
	id := r.GetCall().GetCallId()
	cfg := n.cfg
	cfg.Transport.Listen = n.Addr().String()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	clock := newCast(t, other).join("z", "z1") // its call of the same length says when the time is over
	clock.must(&wire.CallInvite{Invitees: []string{"y"}, TimeoutS: 2})
	clock.next()
	openTestNode(t, cfg)
	a = k.join("a", "a1", knows(id, 1))
	want := `advanced a v2 1s "" [a ACCEPTED, b TIMEOUT no_answer] started/started main`
	if got := a.synced()[id]; got != want {
		t.Errorf("a is synced\n\t%s\nwant\n\t%s", got, want)
	}
	a.silent(id)
}

// TestCallerStaysAwayAfterARestart: his call is cancelled when one fresh grace is over; the call of one who came back is not.
func TestCallerStaysAwayAfterARestart(t *testing.T) {
	t.Parallel()
	n := openTestNode(t, durable(t, nil))
	k := newCast(t, n)
	a, x, b := k.join("a", "a1"), k.join("x", "x1"), k.join("b", "b1")
	kept := a.must(&wire.CallInvite{Invitees: k.names("b")}).GetCall().GetCallId()
	lost := x.must(&wire.CallInvite{Invitees: k.names("b")}).GetCall().GetCallId()
	b.skip(kept)
	b.skip(lost)
	restart(t, n)
	a, b = k.join("a", "a1", knows(kept, 1)), k.join("b", "b1", knows(kept, 1), knows(lost, 1))
	f := b.next()
	if got, want := b.print(f), `Cancelled v2 by server caller_offline: inviter x common ""`; got != want || f.GetEvent().GetCallId() != lost {
		t.Errorf("b heard\n\t%s of call %d\nwant\n\t%s of call %d", got, f.GetEvent().GetCallId(), want, lost)
	}
	if waited := f.GetEvent().GetTimeMs() - b.login.GetServerTimeMs(); waited < 1000 {
		t.Errorf("the absent caller had %d ms of grace, of 4000", waited)
	}
	b.silent(kept)
	a.silent(kept)
	a.must(&wire.CallCancel{CallId: kept})
}

// TestRingsOnlyWhereItIsNew: a pending invitation that the device names does not ring again, one that it does not name
// does, and both are in the sync.
func TestRingsOnlyWhereItIsNew(t *testing.T) {
	t.Parallel()
	n := openTestNode(t, durable(t, nil))
	k := newCast(t, n)
	a := k.join("a", "a1")
	named := a.must(&wire.CallInvite{Invitees: k.names("b"), ExtendedData: "named"}).GetCall().GetCallId()
	fresh := a.must(&wire.CallInvite{Invitees: k.names("b"), ExtendedData: "new"}).GetCall().GetCallId()
	for round := range 2 {
		b := k.join("b", "b1", knows(named, 1))
		if sync := b.synced(); len(sync) != 2 || sync[named] == "" || sync[fresh] == "" {
			t.Errorf("round %d: synced %v, want calls %d and %d", round, sync, named, fresh)
		}
		b.expect(`Received v1 by a/a1: common a v1 90s "new" [a ACCEPTED "new", b INVITING] started/started inviter a ringing`)
		b.silent(named)
		b.silent(fresh)
		b.vanish()
		if round == 0 {
			n = restart(t, n)
			a = k.join("a", "a1", knows(named, 1), knows(fresh, 1))
		}
	}
	a.must(&wire.CallCancel{CallId: fresh})
	b := k.join("b", "b1", knows(named, 1), knows(fresh, 1))
	if got := b.synced()[fresh]; got != `common a v2 90s "new" [a CANCELLED cancelled, b BE_CANCELLED cancelled] ended/ended inviter a cancelled` {
		t.Errorf("b missed the cancellation and is synced %s", got)
	}
	b.silent(fresh)
}

// TestNothingLostAtARestart: list and outcomes are as they were.
func TestNothingLostAtARestart(t *testing.T) {
	t.Parallel()
	n := openTestNode(t, durable(t, nil))
	k := newCast(t, n)
	a, b := k.join("a", "a1"), k.join("b", "b1")
	invite := frameOf(&wire.CallInvite{Invitees: k.names("b"), Mode: advanced, ExtendedData: "first"})
	invited := a.doFrame(invite)
	id := invited.GetCall().GetCallId()
	accept := frameOf(&wire.CallAccept{CallId: id})
	b.doFrame(accept)
	quit := frameOf(&wire.CallQuit{CallId: id})
	quitted := b.doFrame(quit)
	late := frameOf(&wire.CallReject{CallId: id})
	refused := b.doFrame(late)
	for i := range 30 {
		other := a.must(&wire.CallInvite{Invitees: k.names("b", "c"), ExtendedData: fmt.Sprint(i)}).GetCall().GetCallId()
		switch i % 3 {
		case 0:
			b.must(&wire.CallAccept{CallId: other, ExtendedData: "yes"})
		case 1:
			b.must(&wire.CallReject{CallId: other, ExtendedData: "no"})
		case 2:
			a.must(&wire.CallCancel{CallId: other, Invitees: k.names("b")})
		}
	}
	before := a.pages(100)
	restart(t, n)
	a, b = k.join("a", "a1"), k.join("b", "b1")
	after := a.pages(100)
	if len(after) != len(before) {
		t.Fatalf("%d calls in the list, %d before the restart", len(after), len(before))
	}
	for i := range before {
		if was, is := printSnapshot(before[i]), printSnapshot(after[i]); was != is || before[i].GetCreateTimeMs() != after[i].GetCreateTimeMs() {
			t.Errorf("call %d was\n\t%s\nand is\n\t%s", i, was, is)
		}
	}
	sameOutcome(t, "invite", invited, a.doFrame(again(invite, nil)))
	sameOutcome(t, "quit", quitted, b.doFrame(again(quit, nil)))
	sameOutcome(t, "refused reject", refused, b.doFrame(again(late, nil)))
	if got := len(a.pages(100)); got != len(before) {
		t.Errorf("retries took the list from %d calls to %d", len(before), got)
	}
}
