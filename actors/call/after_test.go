package call

import "testing"

// parted is a ringing call of which two owners have one state, everybody being told, and the one that the other went on to:
// it cancelled the call, told everybody it could reach, and closed it.
func parted(t *testing.T) (mine, theirs *play) {
	t.Helper()
	mine = newPlay(Common)
	_, _ = mine.do(OpInvite, "A1", "B", "C")
	copied := *mine
	theirs = &copied
	_, _ = theirs.do(OpCancel, "A1")
	if !theirs.s.Closed {
		t.Fatal("not closed although everybody knows")
	}
	return mine, theirs
}

func TestWhatAnotherOwnerHasClosedIsToldOnThisSideToo(t *testing.T) {
	mine, theirs := parted(t)
	mine.s = theirs.s.After(&mine.s, mine.s.Seq, mine.now)
	if mine.s.Done() || mine.s.Deadline().IsZero() {
		t.Fatal("nobody will be told")
	}
	events, _ := mine.step(Command{Op: OpTick})
	if len(heard(events, "B1", EventCancelled)) != 1 || len(heard(events, "C1", EventCancelled)) != 1 || len(heard(events, "A1", EventUserState)) != 1 {
		t.Fatalf("told %+v", awake(events))
	}
	if mine.s.Revision != theirs.s.Revision {
		t.Error("telling it was a write")
	}
	mine.acknowledge(events)
	_, _ = mine.step(Command{Op: OpTick})
	if !mine.s.Done() || !mine.s.Deadline().IsZero() {
		t.Error("it is not let go although everybody knows")
	}
}

func TestWhatAnotherOwnerHasClosedIsLetGoAfterALinger(t *testing.T) {
	mine, theirs := parted(t)
	mine.s = theirs.s.After(&mine.s, mine.s.Seq, mine.now)
	mine.now = mine.now.Add(linger)
	_, _ = mine.step(Command{Op: OpTick})
	if !mine.s.Done() {
		t.Error("it is told for ever")
	}
}

// What both owners know of is not told again, and soft changes that only one had do not count.
func TestAfterTellsWhatThisSideDoesNotKnow(t *testing.T) {
	mine, theirs := parted(t)
	shared := mine.s.Seq
	events, _ := mine.step(Command{Op: OpReceipt, User: "B", Device: "B1"})
	mine.acknowledge(events) // a change with a number that the other side has given to another one
	mine.s = theirs.s.After(&mine.s, shared, mine.now)
	events, _ = mine.step(Command{Op: OpTick})
	if len(heard(events, "B1", EventCancelled)) != 1 {
		t.Errorf("B1 is not told of the cancellation: %+v", awake(events))
	}
	if len(heard(events, "A1", EventCreated)) > 0 {
		t.Error("A1 is told again that the call was created")
	}
}
