package main

import (
	"fmt"
	"testing"
	"time"

	"carillon/transport/wire"
)

// TestCallsEndByThemselves: the ends that no user asks for (SPEC 2).
func TestCallsEndByThemselves(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(cfg *Config) {
		pebble(cfg)
		cfg.Call.MaxDuration, cfg.Call.MemberLease = 6*time.Second, time.Second
		cfg.Heartbeat.Interval, cfg.Heartbeat.Timeout = 300*time.Millisecond, 3*time.Second
	})
	for name, play := range map[string]func(*testing.T, *Node){
		"alone":                     endAlone,
		"empty":                     endEmpty,
		"too long":                  endTooLong,
		"too long, common, rings":   endTooLongWhileRinging(common),
		"too long, advanced, rings": endTooLongWhileRinging(advanced),
		"lease":                     endOfLease,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, n)
		})
	}
}

func endAlone(t *testing.T, n *Node) {
	k := newCast(t, n)
	a, a2, b := k.join("a", "a1"), k.join("a", "a2"), k.join("b", "b1")
	id := a.must(&wire.CallInvite{Invitees: k.names("b"), Mode: advanced, AloneTimeoutS: 1, ExtendedData: "x"}).GetCall().GetCallId()
	b.must(&wire.CallReject{CallId: id})
	a.expect(
		`USC v2 by b/b1 rejected: [b REJECTED rejected] started`,
		`Ended v3 by server alone_timeout: caller a operated  advanced ""`,
	)
	a2.skip(id)
	for _, c := range []*rawClient{a, a2, b} {
		c.silent(id)
	}
}

func endEmpty(t *testing.T, n *Node) {
	k := newCast(t, n)
	a, b := k.join("a", "a1"), k.join("b", "b1")
	id := a.must(&wire.CallInvite{Invitees: k.names("b"), Mode: advanced}).GetCall().GetCallId()
	b.must(&wire.CallAccept{CallId: id})
	a.must(&wire.CallQuit{CallId: id})
	b.skip(id)
	a.skip(id)
	b.send(&wire.CallQuit{CallId: id})
	b.either(`USC v4 by b/b1: [b QUIT] ended`, `result advanced a v4 90s "" [a QUIT, b QUIT] ended/ended inviter a empty`)
	a.silent(id)
	b.silent(id)
}

func endTooLong(t *testing.T, n *Node) {
	k := newCast(t, n)
	a, b := k.join("a", "a1"), k.join("b", "b1")
	created := a.must(&wire.CallInvite{Invitees: k.names("b"), Mode: advanced}).GetCall()
	b.must(&wire.CallAccept{CallId: created.GetCallId()})
	a.expect(`USC v2 by b/b1: [b ACCEPTED] started`)
	for _, c := range []*rawClient{a, b} {
		f := c.next()
		if got, want := c.print(f), `Ended v3 by server max_duration: caller a operated  advanced ""`; got != want {
			t.Errorf("%s heard\n\t%s\nwant\n\t%s", c.user, got, want)
		}
		if at := f.GetEvent().GetCallInvitationEnded().GetEndTimeMs() - created.GetCreateTimeMs(); at != 6000 {
			t.Errorf("%s: ended after %d ms, want 6000", c.user, at)
		}
		c.silent(created.GetCallId())
	}
}

func endTooLongWhileRinging(mode wire.CallMode) func(*testing.T, *Node) {
	return func(t *testing.T, n *Node) {
		k := newCast(t, n)
		a, b := k.join("a", "a1"), k.join("b", "b1")
		id := a.must(&wire.CallInvite{Invitees: k.names("b"), Mode: mode}).GetCall().GetCallId()
		b.expect(fmt.Sprintf(`Received v1 by a/a1: %s a v1 90s "" [a ACCEPTED, b INVITING] started/started inviter a ringing`, printMode(mode)))
		all(fmt.Sprintf(`Ended v2 by server max_duration: caller a operated  %s ""`, printMode(mode)), a, b)
		a.silent(id)
		b.silent(id)
	}
}

// endOfLease: a member who stays offline becomes Quit.
func endOfLease(t *testing.T, n *Node) {
	k := newCast(t, n)
	a, b, c := k.join("a", "a1"), k.join("b", "b1"), k.join("c", "c1")
	id := a.must(&wire.CallInvite{Invitees: k.names("b", "c"), Mode: advanced}).GetCall().GetCallId()
	b.must(&wire.CallAccept{CallId: id})
	c.must(&wire.CallAccept{CallId: id})
	a.expect(`USC v2 by b/b1: [b ACCEPTED] started`, `USC v3 by c/c1: [c ACCEPTED] started`)
	c.skip(id)
	b.vanish()
	quit := `USC v4 by server connection_lost: [b QUIT connection_lost] started`
	all(quit, a, c)
	a.silent(id)
	c.silent(id)
}
