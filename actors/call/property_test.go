package call

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// most is how many commands a random call gets.
const most = 40

// Every rule that holds for any call, after any command at any time.
func TestAnyCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlay(t)
		if rapid.IntRange(0, 9).Draw(t, "stranger") > 0 {
			events, _ := p.step(drawInvite(t, p))
			p.acknowledge(events)
		}
		for range rapid.IntRange(1, most).Draw(t, "commands") {
			drawPause(t, p)
			c := drawCommand(t, p)
			before := p.s.clone()
			next, events, err := Step(p.s, c, p.now)
			checkPure(t, p, before, c, next, events, err)
			checkVersions(t, before, c, next, err, p.now)
			checkRetry(t, next, c, err, p.now)
			checkBounds(t, &next, p.now)
			checkEvents(t, &next, events)
			p.s = next
			if rapid.Bool().Draw(t, "acknowledge") {
				p.acknowledge(events)
			}
		}
		checkEnds(t, p)
	})
}

// checkPure: the state that came in is untouched, and the same again gives the same.
func checkPure(t *rapid.T, p *play, before State, c Command, next State, events []Event, err error) {
	if !reflect.DeepEqual(p.s, before) {
		t.Fatalf("%s has changed the state that it was given", c.Op)
	}
	kept := next.clone()
	other := c
	other.Command[15] ^= 0xff
	_, _, _ = Step(p.s, other, p.now) // another future of the same state must not share memory with this one
	if !reflect.DeepEqual(next, kept) {
		t.Fatalf("a second %s has changed the first one's result", c.Op)
	}
	s2, e2, err2 := Step(p.s, c, p.now)
	if !reflect.DeepEqual(next, s2) || !reflect.DeepEqual(events, e2) || fmt.Sprint(err) != fmt.Sprint(err2) {
		t.Fatalf("%s twice gives two results", c.Op)
	}
}

// checkVersions: one version per durable change, none for a refusal, and no durable change without a write.
func checkVersions(t *rapid.T, before State, c Command, next State, err error, now time.Time) {
	due, _, _ := Step(before, Command{Op: OpTick}, now) // what time alone has done
	want := due.Version
	_, retry := before.Outcome(c.User, c.Command)
	switch {
	case err != nil, c.Op == OpReceipt, c.Op == OpTick, c.Op == OpOnline, c.Op == OpPark, c.Op == OpRewatch, c.Op < OpReceipt && retry:
	case c.Op == OpStop || c.Op == OpOffline:
		if due.Ended != next.Ended {
			want++
		}
	default:
		want++
	}
	if next.Version != want {
		t.Fatalf("%s takes version %d to %d, want %d (%v)", c.Op, due.Version, next.Version, want, err)
	}
	if err != nil && !reflect.DeepEqual(due.apart(), next.apart()) {
		t.Fatalf("the refused %s has changed more than outcomes:\n%+v\n%+v", c.Op, due.apart(), next.apart())
	}
	if !reflect.DeepEqual(before.hard(), next.hard()) && next.Revision != before.Revision+1 {
		t.Fatalf("%s has changed what is durable, revision %d to %d", c.Op, before.Revision, next.Revision)
	}
	if next.Revision > before.Revision+1 {
		t.Fatalf("%s is %d writes", c.Op, next.Revision-before.Revision)
	}
}

// checkRetry: the same ID, also with other content, changes nothing and comes to the same.
func checkRetry(t *rapid.T, s State, c Command, err error, now time.Time) {
	if c.Op >= OpReceipt {
		return
	}
	if _, remembered := s.Outcome(c.User, c.Command); !remembered {
		if err == nil || (s.Open() && s.Version > 0 && c.Op != OpInvite) {
			t.Fatalf("%s (%v) is not remembered", c.Op, err)
		}
		return
	}
	again := c
	again.Op = rapid.SampledFrom(userOperations[1:]).Draw(t, "again")
	again.Users, again.Device = people[:2], c.Device+"9"
	s2, events, err2 := Step(s, again, now)
	if !reflect.DeepEqual(s, s2) || len(events) > 0 || fmt.Sprint(err) != fmt.Sprint(err2) {
		t.Fatalf("%s retried as %s: %v, first %v; events %v", c.Op, again.Op, err2, err, events)
	}
}

// checkBounds: every list has its limit, every call its next deadline, and only some ends leave anybody ringing.
func checkBounds(t *rapid.T, s *State, now time.Time) {
	if n := s.live(); s.Version > 0 && n > s.Rules.MaxUsers {
		t.Fatalf("%d users pending or Accepted, limit %d", n, s.Rules.MaxUsers)
	}
	if len(s.Users) > MaxRecorded || len(s.Outcomes) > MaxOutcomes {
		t.Fatalf("%d users, %d outcomes", len(s.Users), len(s.Outcomes))
	}
	d := s.Deadline()
	if idle := s.Version == 0 || s.Closed; idle != d.IsZero() {
		t.Fatalf("deadline %v, version %d, closed %v", d, s.Version, s.Closed)
	}
	if !d.IsZero() && !d.After(now) {
		t.Fatalf("deadline %v after a step at %v: it would step for ever", d, now)
	}
	if s.Open() {
		if s.Version > 0 && s.Mode == Common && s.pending() == 0 {
			t.Fatal("a common call is open with nobody pending")
		}
		if s.Version > 0 && s.live() == 0 {
			t.Fatal("a call is open with nobody in it")
		}
		return
	}
	switch s.EndReason {
	case ReasonEndedByUser, ReasonMaxDuration, ReasonEndedByServer, ReasonAloneTimeout:
	default:
		if s.pending() > 0 {
			t.Fatalf("ended as %s with somebody pending", s.EndReason)
		}
	}
}

// listeners is who may hear what: the listener's own states in the table of SPEC 3. An acting user hears his own change
// in any state.
var listeners = map[Kind][]UserState{
	EventCreated:   {Accepted},
	EventReceived:  {Inviting, Received, NotYetReceived},
	EventCancelled: {BeCancelled},
	EventTimeout:   {Timeout},
	EventEnded:     {Inviting, Received, NotYetReceived, Accepted},
	EventUserState: {Inviting, Received, NotYetReceived, Accepted},
}

func checkEvents(t *rapid.T, s *State, events []Event) {
	for _, e := range awake(events) {
		then := s
		if e.Then != nil {
			then = e.Then
		}
		p := then.Find(e.To)
		if p == nil || e.Version != then.Version || e.From >= e.Seq || e.Seq > s.Seq {
			t.Fatalf("event %+v of version %d, change %d", e, then.Version, then.Seq)
		}
		own := e.Kind == EventUserState && slices.Contains(e.Changed, e.To)
		if !own && !slices.Contains(listeners[e.Kind], p.State) {
			t.Fatalf("%s is told to %s, who is %s", e.Kind, e.To, p.State)
		}
		if e.Kind == EventCreated && e.To != s.Caller {
			t.Fatalf("Created is told to %s", e.To)
		}
		if p.State == Accepted && e.Devices == AllDevices {
			t.Fatalf("%s is told to all devices of %s, who is Accepted", e.Kind, e.To)
		}
		if (e.Devices == AllDevices) != (e.Device == "") {
			t.Fatalf("%s to %s has no clear audience: %d %q", e.Kind, e.To, e.Devices, e.Device)
		}
	}
}

// checkEnds: time alone ends every call and closes it, in a bounded number of steps.
func checkEnds(t *rapid.T, p *play) {
	const enough = 1000 // the longest call asks its watchers every 10 s for 10 minutes
	for range enough {
		d := p.s.Deadline()
		if d.IsZero() {
			break
		}
		p.now = d
		p.tick(0)
	}
	if p.s.Version > 0 && (p.s.Open() || !p.s.Closed) {
		t.Fatalf("after %d steps: ended %d, closed %v", enough, p.s.Ended, p.s.Closed)
	}
}

// A timer that comes late finds what timers on time would have left.
func TestLateTimersComeToTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlay(t)
		_, _ = p.step(drawInvite(t, p))
		for range rapid.IntRange(0, 10).Draw(t, "commands") {
			drawPause(t, p)
			_, _ = p.step(drawCommand(t, p))
		}
		onTime, now := p.s, p.now
		end := now.Add(time.Duration(rapid.IntRange(1, 700).Draw(t, "late")) * time.Second)
		for d := onTime.Deadline(); !d.IsZero() && !d.After(end); d = onTime.Deadline() {
			onTime, _, _ = Step(onTime, Command{Op: OpTick}, d)
		}
		late, _, _ := Step(p.s, Command{Op: OpTick}, end)
		onTime.Closed, late.Closed = false, false
		if a, b := onTime.hard(), late.hard(); !reflect.DeepEqual(a, b) {
			t.Fatalf("on time\n%+v\nlate\n%+v", a, b)
		}
	})
}

// Those who ever took part are counted too; one who is known may come back.
func TestParticipantsAreBounded(t *testing.T) {
	p := newPlay(Advanced)
	must(p, OpInvite, "A1", "B")
	name := func(i int) DeviceID { return DeviceID(fmt.Sprintf("U%d.", i)) }
	for i := range MaxRecorded - 2 {
		must(p, OpJoin, name(i))
		must(p, OpQuit, name(i))
	}
	if _, err := p.do(OpJoin, "Late1"); codeOf(err) != TooMany {
		t.Errorf("join of user %d: %v", MaxRecorded+1, err)
	}
	if _, err := p.do(OpAdd, "A1", "Late", owner(name(3))); codeOf(err) != TooMany {
		t.Errorf("callingInvite of user %d: %v", MaxRecorded+1, err)
	}
	must(p, OpAdd, "A1", owner(name(3)))
	must(p, OpJoin, name(4))
	if len(p.s.Users) != MaxRecorded {
		t.Errorf("%d users, want %d", len(p.s.Users), MaxRecorded)
	}
}

// The last outcomes are remembered, the oldest go; the invitation that made the call never does.
func TestOutcomesAreBounded(t *testing.T) {
	p := newPlay(Advanced)
	invite := p.command(OpInvite, "A1", "B")
	_, _ = p.step(invite)
	var first Command
	for i := range MaxOutcomes + 1 {
		c := p.command(OpEnd, "B1")
		if i == 0 {
			first = c
		}
		_, _ = p.step(c)
	}
	if _, found := p.s.Outcome(first.User, first.Command); found || len(p.s.Outcomes) != MaxOutcomes {
		t.Errorf("first outcome kept: %v; %d outcomes", found, len(p.s.Outcomes))
	}
	if o, found := p.s.Outcome("A", invite.Command); !found || o.Op != OpInvite || o.Times.Created != At(start) {
		t.Errorf("the invitation's outcome is %+v, %v", o, found)
	}
}
