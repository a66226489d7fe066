package call

import (
	"testing"
	"time"
)

// again drops what the step has told, lets the retry interval pass and gives what is told again.
func (p *play) again() []Event {
	p.now = p.now.Add(retryAfter)
	events, _ := p.step(Command{Op: OpTick})
	return events
}

// B2 rings and does not hear that B1 rejected; B1 changes his mind and joins. B2 still learns to be quiet.
func TestJoiningForgetsNothingThatIsOwed(t *testing.T) {
	p := newPlay(Advanced)
	_, _ = p.do(OpInvite, "A1", "B")
	_, _ = p.step(p.command(OpReject, "B1"))
	if _, err := p.step(p.command(OpJoin, "B1")); err != nil {
		t.Fatal(err)
	}
	events := p.again()
	got := heard(events, "B2", EventUserState)
	if len(got) != 1 || got[0].Reason != ReasonAnsweredElsewhere {
		t.Errorf("B2 is told %+v, want answered_elsewhere", awake(events))
	}
	if own := heard(events, "B1", EventUserState); len(own) != 0 {
		t.Errorf("B1 is told %+v, his answer said it", own)
	}
	p.acknowledge(events)
	if events, _ = p.do(OpQuit, "A1"); len(heard(events, "B1", EventUserState)) != 1 {
		t.Errorf("B1 does not hear that A quits: %+v", awake(events))
	}
}

func TestEveryFormerMainDeviceLearnsOfTheMove(t *testing.T) {
	p := newPlay(Advanced)
	_, _ = p.do(OpInvite, "A1", "B")
	_, _ = p.do(OpAccept, "B1")
	_, _ = p.step(p.command(OpJoin, "B2"))
	_, _ = p.step(p.command(OpJoin, "B3"))
	events := p.again()
	for _, d := range []DeviceID{"B1", "B2"} {
		if got := heard(events, d, EventUserState); len(got) != 1 || got[0].Reason != ReasonMovedToOtherDevice {
			t.Errorf("%s is told %+v, want moved_to_other_device", d, got)
		}
	}
	if got := heard(events, "B3", EventUserState); len(got) != 0 {
		t.Errorf("B3, the main device, is told %+v", got)
	}
}

func TestFormerMainDeviceLearnsOfTheQuit(t *testing.T) {
	p := newPlay(Advanced)
	_, _ = p.do(OpInvite, "A1", "B")
	_, _ = p.do(OpAccept, "B1")
	_, _ = p.step(p.command(OpJoin, "B2"))
	_, _ = p.step(p.command(OpQuit, "B2"))
	if events := p.again(); len(heard(events, "B1", EventUserState)) == 0 {
		t.Errorf("B1 still believes that it is in the call: %+v", awake(events))
	}
}

// A member who is offline takes his place on another device; his lease starts anew.
func TestMovingTheMainDeviceEndsTheLease(t *testing.T) {
	p := newPlay(Advanced)
	p.config.Rules.MemberLease = 20 * time.Second
	_, _ = p.do(OpInvite, "A1", "B")
	_, _ = p.do(OpAccept, "B1")
	_, _ = p.step(Command{Op: OpOffline, User: "B"})
	_, _ = p.do(OpJoin, "B2")
	p.tick(20 * time.Second)
	if got := p.s.StateOf("B"); got != Accepted {
		t.Errorf("B is %s, want Accepted", got)
	}
}

// An invitation that is told again names who invited, not who acknowledged it.
func TestRepeatedInvitationIsTheInviters(t *testing.T) {
	p := newPlay(Advanced)
	_, _ = p.step(p.command(OpInvite, "A1", "B"))
	_, _ = p.step(Command{Op: OpReceipt, User: "B", Device: "B1"})
	got := heard(p.again(), "B2", EventReceived)
	if len(got) != 1 || got[0].By != "A" || got[0].At != At(start) {
		t.Errorf("B2 is told %+v, want A's invitation", got)
	}
}
