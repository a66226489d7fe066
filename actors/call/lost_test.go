package call

import (
	"testing"
	"time"
)

// The caller's session acknowledges nothing; the call ends before the tell of its creation is repeated.
func TestCallerHearsTheEndThoughHisCreationIsUnacknowledged(t *testing.T) {
	p := newPlay(Common)
	invite, _ := p.step(p.command(OpInvite, "A1", "B"))
	for _, e := range invite {
		if e.To == "B" {
			p.acknowledge([]Event{e})
		}
	}
	_, _ = p.step(p.command(OpReject, "B1")) // lost on its way to A
	p.now = p.now.Add(retryAfter)
	again, _ := p.step(Command{Op: OpTick})
	got := heard(again, "A1", EventUserState)
	if len(got) != 1 || len(got[0].Changed) != 2 {
		t.Fatalf("A1 is told again %+v, want one state event about A and B", awake(again))
	}
	p.acknowledge(again)
	if a := p.s.Find("A"); a.Told != p.s.Seq {
		t.Errorf("A acknowledged %d of %d changes", a.Told, p.s.Seq)
	}
}

// Acknowledgements that were at hand before it was time to tell again come one by one: none of them has others told again.
func TestAcknowledgementsInARow(t *testing.T) {
	p := newPlay(Common)
	events, _ := p.step(p.command(OpInvite, "A1", "B"))
	p.now = p.now.Add(retryAfter)
	for _, u := range []UserID{"A", "B"} {
		got, _ := p.step(Command{Op: OpTold, User: u, Seq: events[0].Seq})
		if len(awake(got)) != 0 {
			t.Errorf("with the word of %s: told again %+v", u, awake(got))
		}
	}
	if got, _ := p.step(Command{Op: OpTick}); len(awake(got)) != 0 {
		t.Errorf("told again %+v", awake(got))
	}
}

// They count, too, when the call's own time is over meanwhile: what is told then is only that.
func TestAcknowledgementsAtTheEnd(t *testing.T) {
	p := newPlay(Common)
	p.ring = retryAfter
	events, _ := p.step(p.command(OpInvite, "A1", "B"))
	p.now = p.now.Add(retryAfter)
	for _, u := range []UserID{"A", "B"} {
		if got, _ := p.step(Command{Op: OpTold, User: u, Seq: events[0].Seq}); len(awake(got)) != 0 {
			t.Errorf("with the word of %s: told %+v", u, awake(got))
		}
	}
	if p.s.Deadline().After(p.now) {
		t.Fatalf("due at %v", p.s.Deadline())
	}
	got, _ := p.step(Command{Op: OpTick})
	if heard := heard(got, "A1", EventUserState); len(heard) != 1 || len(heard[0].Changed) != 1 || heard[0].Changed[0] != "B" {
		t.Errorf("A1 hears %+v, want one state event about B", awake(got))
	}
}

func TestCallerHearsEndedThoughHisCreationIsUnacknowledged(t *testing.T) {
	p := newPlay(Advanced)
	_, _ = p.step(p.command(OpInvite, "A1", "B"))
	_, _ = p.step(Command{Op: OpStop})
	p.now = p.now.Add(time.Minute - time.Millisecond)
	again, _ := p.step(Command{Op: OpTick})
	if got := heard(again, "A1", EventEnded); len(got) != 1 {
		t.Errorf("A1 is told again %+v, want the end", awake(again))
	}
}

// A server that was away for an hour ends the call late; the end is repeated as for a call that ended on time.
func TestALateEndIsToldAgain(t *testing.T) {
	p := newPlay(Common)
	_, _ = p.do(OpInvite, "A1", "B")
	p.now = p.now.Add(time.Hour)
	p.s = p.s.Resume()
	if events, _ := p.step(Command{Op: OpTick}); len(heard(events, "A1", EventUserState)) != 1 {
		t.Fatalf("told %+v, want A1 to hear the time-out", awake(events))
	}
	p.now = p.now.Add(retryAfter)
	again, _ := p.step(Command{Op: OpTick})
	if len(heard(again, "A1", EventUserState)) != 1 || len(heard(again, "B1", EventTimeout)) != 1 {
		t.Errorf("told again %+v, want the same", awake(again))
	}
	p.tick(linger)
	if !p.s.Closed || !p.s.Deadline().IsZero() {
		t.Errorf("closed %v, deadline %v; want closed for good", p.s.Closed, p.s.Deadline())
	}
}
