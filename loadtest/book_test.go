package main

import (
	"testing"
	"time"

	"carillon/transport/wire"
)

// bench is a run without sockets: what its users send fails.
func bench(t *testing.T, s *story) (*run, *call) {
	t.Helper()
	r := &run{agenda: newAgenda(), book: newBook(), tally: newTally(10)}
	c := &call{run: r, name: "call", counts: true, machine: newMachine(s, people[:s.cast], usual, noon)}
	for i, name := range people[:s.cast] {
		c.devices[i] = &user{name: name, device: firstID, lost: errLeft}
	}
	r.book.add(c)
	return r, c
}

func changedEvent(id, version uint64, by string, users ...*wire.CallUser) *wire.Event {
	return &wire.Event{CallId: id, Version: version, ActingUser: by, Kind: &wire.Event_CallUserStateChanged{
		CallUserStateChanged: &wire.CallUserStateChanged{Users: users, CallState: wire.CallState_CALL_STATE_STARTED},
	}}
}

// The caller hears of a change in his call before he hears its name.
func TestEventsWaitForTheName(t *testing.T) {
	r, c := bench(t, storyNamed("answered"))
	users := []*wire.CallUser{{UserId: "ann", State: accepted}, {UserId: "bob", State: inviting}}
	r.book.tell(told{user: c.devices[devA], event: changedEvent(9, 1, "ann", users...), at: noon})
	if c.machine.id != 0 || len(c.machine.trace) != 0 {
		t.Fatalf("heard too early: %v", c.machine.lines())
	}
	named := &wire.Event{CallId: 9, Version: 1, ActingUser: "ann", Kind: &wire.Event_CallInvitationCreated{
		CallInvitationCreated: &wire.CallSnapshot{Version: 1, ExtendedData: "call", State: wire.CallState_CALL_STATE_STARTED, Users: users},
	}}
	r.book.tell(told{user: c.devices[devA], event: named, at: noon})
	if c.machine.ending != going || c.machine.id != 9 || c.machine.devices[devA].step != 2 {
		t.Fatalf("call %d, step %d: %s", c.machine.id, c.machine.devices[devA].step, c.machine.why)
	}
	if late, strange := r.book.stray(); late+strange != 0 || r.book.open() != 1 {
		t.Errorf("%d late, %d strange, %d open", late, strange, r.book.open())
	}
	r.book.remove("call", 9)
	r.book.tell(told{user: c.devices[devA], event: named, at: noon})
	r.book.tell(told{user: c.devices[devA], event: changedEvent(10, 1, "ann"), at: noon})
	if late, strange := r.book.stray(); late != 1 || strange != 1 || r.book.open() != 0 {
		t.Errorf("%d late, %d strange, %d open", late, strange, r.book.open())
	}
}

func TestAStrangerHearsOfACall(t *testing.T) {
	r, c := bench(t, storyNamed("answered"))
	c.machine.id = 9
	r.book.byID[9] = c
	r.book.tell(told{user: &user{name: "eve"}, event: changedEvent(9, 1, "ann"), at: noon})
	if c.machine.ending != wrong {
		t.Error("nobody minds")
	}
	c.retire(time.Now())
	if r.tally.wrong != 1 || r.tally.outcomes["answered"].Wrong != 1 || len(r.tally.failures) != 1 || r.tally.failures[0].Call != 9 {
		t.Errorf("tally %+v", r.tally.failures)
	}
}

// A call whose first frame cannot be sent has failed, once.
func TestACallThatCannotBegin(t *testing.T) {
	r, c := bench(t, storyNamed("answered"))
	c.begin(noon)
	c.watch(noon.Add(time.Minute))
	if c.machine.ending != wrong || r.tally.now.wrong != 1 {
		t.Errorf("ended as %d, %d failed", c.machine.ending, r.tally.now.wrong)
	}
}

func TestThePastIsBounded(t *testing.T) {
	b := newBook()
	b.oldest = make([]uint64, maxPast) // as if so many calls had ended
	b.remove("x", 5)
	if len(b.oldest) != maxPast || len(b.past) != 1 || b.turn != 1 {
		t.Errorf("%d kept, turn %d", len(b.oldest), b.turn)
	}
}

// Two devices of one user hear the same, each for himself.
func TestTwoDevicesOfOneUser(t *testing.T) {
	r, c := bench(t, storyNamed("answered-elsewhere"))
	c.devices[devB2] = &user{name: "bob", device: secondID, lost: errLeft}
	c.machine.enter(2, noon)
	ring := &wire.Event{CallId: 9, Version: 1, ActingUser: "ann", Kind: &wire.Event_CallInvitationReceived{CallInvitationReceived: &wire.CallSnapshot{
		Version: 1, ExtendedData: "call", State: wire.CallState_CALL_STATE_STARTED, RemainingMs: 2000,
		Users: []*wire.CallUser{{UserId: "ann", State: accepted}, {UserId: "bob", State: inviting}, {UserId: "cid", State: inviting}},
	}}}
	for _, d := range []device{devB, devB2} {
		r.book.tell(told{user: c.devices[d], event: ring, at: noon})
		if c.machine.ending != going || c.machine.devices[d].step != 1 || c.machine.devices[d].until != noon.Add(2*time.Second) {
			t.Errorf("%v: step %d, rings until %v, %s", d, c.machine.devices[d].step, c.machine.devices[d].until, c.machine.why)
		}
	}
	if c.machine.repeats != 0 {
		t.Errorf("%d repeats", c.machine.repeats)
	}
}
