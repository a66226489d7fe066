package call

import (
	"testing"
	"time"
)

func TestStopOfACallThatNeverWasChangesNothing(t *testing.T) {
	s, events, err := Step(State{}, Command{Op: OpStop}, start)
	if s.Version != 0 || s.Revision != 0 || len(events) != 0 || err != nil {
		t.Errorf("version %d, revision %d, events %v, %v; want nothing", s.Version, s.Revision, events, err)
	}
}

// Whatever falls due at one instant is one change (SPEC 2).
func TestOneInstantIsOneChange(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*play)
		after  time.Duration
		want   Reason
	}{
		{"two time-outs", func(*play) {}, 90 * time.Second, ReasonNone},
		{"time-outs and the longest duration", func(p *play) { p.config.Rules.MaxDuration = p.ring }, 90 * time.Second, ReasonMaxDuration},
		{"time-out and receipt check", func(p *play) { p.config.CheckReceived, p.ring = true, 5*time.Second }, 5 * time.Second, ReasonNone},
		{"receipt check and the longest duration", func(p *play) {
			p.config.CheckReceived, p.config.Rules.MaxDuration = true, 5*time.Second
		}, 5 * time.Second, ReasonMaxDuration},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(Advanced)
			c.config(p)
			_, _ = p.do(OpInvite, "A1", "B", "C")
			before := p.s
			events := p.tick(c.after)
			if p.s.Version != before.Version+1 || p.s.Seq != before.Seq+1 || p.s.EndReason != c.want {
				t.Errorf("version +%d, changes +%d, reason %q; want one of each, %q",
					p.s.Version-before.Version, p.s.Seq-before.Seq, p.s.EndReason, c.want)
			}
			for _, e := range awake(events) {
				if e.Version != p.s.Version {
					t.Errorf("%s to %s carries version %d, want %d", e.Kind, e.To, e.Version, p.s.Version)
				}
			}
		})
	}
}

// A receipt check that falls on a time-out is told with it.
func TestReceiptCheckAtTheInstantOfATimeOut(t *testing.T) {
	p := newPlay(Advanced)
	p.config.CheckReceived = true
	_, _ = p.do(OpInvite, "A1", "B")
	p.tick(0)
	p.now = p.now.Add(85 * time.Second)
	_, _ = p.do(OpReceipt, "B1")
	p.tick(0)
	_, _ = p.do(OpAdd, "A1", "C")
	events := p.tick(5 * time.Second)
	if got := heard(events, "A1", EventUserState); len(got) != 1 || len(got[0].Changed) != 2 {
		t.Errorf("A1 hears %+v, want one event about B and C", got)
	}
}

// A member whose lease ran out has accepted all the same.
func TestCommonCallIsAnsweredThoughTheMemberHasGone(t *testing.T) {
	p := newPlay(Common)
	p.config.Rules.MemberLease = 20 * time.Second
	_, _ = p.do(OpInvite, "A1", "B", "C")
	_, _ = p.do(OpAccept, "B1")
	_, _ = p.step(Command{Op: OpOffline, User: "B"})
	p.tick(20 * time.Second)
	if b := p.s.StateOf("B"); b != Quit {
		t.Fatalf("B is %s, want Quit", b)
	}
	p.tick(70 * time.Second)
	if p.s.EndReason != ReasonAllAnswered {
		t.Errorf("ended as %q, want all_answered", p.s.EndReason)
	}
}

// B times out before he is invited again in the same step; who hears of the time-out reads that he timed out.
func TestAnOvertakenChangeIsToldAsItWas(t *testing.T) {
	p := newPlay(Advanced)
	_, _ = p.do(OpInvite, "A1", "B")
	p.now = p.now.Add(p.ring)
	events, _ := p.do(OpAdd, "A1", "B")
	got := heard(events, "A1", EventUserState)
	if len(got) != 2 || got[0].Version != 2 || got[1].Version != 3 {
		t.Fatalf("A1 hears %+v, want versions 2 and 3", got)
	}
	if then := got[0].Then; then == nil || then.StateOf("B") != Timeout || then.Version != 2 {
		t.Errorf("the first speaks of %+v, want the call at version 2 with B timed out", then)
	}
	if got[1].Then != nil {
		t.Errorf("the last speaks of %+v, want what Step returned", got[1].Then)
	}
}

// Nobody hears that B has not received what has timed out meanwhile.
func TestASoftChangeIsNotToldBehindTheNextOne(t *testing.T) {
	p := newPlay(Common)
	p.config.CheckReceived = true
	_, _ = p.do(OpInvite, "A1", "B")
	events := p.tick(p.ring)
	if got := heard(events, "B1", EventUserState); len(got) != 0 {
		t.Errorf("B1 hears %+v of himself, want his time-out alone", got)
	}
}
