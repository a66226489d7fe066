package call

import (
	"slices"
	"time"
)

// Step applies c to s at instant now and gives the next state, what must be told once that state is durable, and the
// refusal, if any. It is pure. A deadline that is due is applied before c (SPEC 2, Races). The returned state must be
// saved before anything is told when its Revision differs from that of s; a failed save means dropping it. OpTold applies
// nothing that is due, an OpTick must follow.
//
// A command whose ID is remembered changes nothing and gives its first outcome again. The error is a *Refusal or nil; a
// refused user command leaves its outcome in the state, unless the call has ended or does not exist.
func Step(s State, c Command, now time.Time) (State, []Event, error) {
	return new(Scratch).Step(s, c, now)
}

func (t *turn) step(c Command) (State, []Event, error) {
	var err error
	if c.Op == OpTold { // what is due comes after it: there may be more of these at hand, and whoever has heard is not told again
		t.told(c)
	} else {
		t.applyDue()
		err = t.apply(c)
		t.emit()
		t.repeat()
		t.watch()
	}
	t.close()
	if t.durable {
		t.s.Revision++
	}
	return t.s, t.events, err
}

// turn is one Step under way: a state that is its own to write, and the events so far.
type turn struct {
	s       State
	now     Millis
	events  []Event
	durable bool // the store must see this step
}

func (t *turn) apply(c Command) error {
	switch c.Op {
	case OpTick:
		return nil
	case OpReceipt:
		t.receipt(c)
		return nil
	case OpOffline, OpOnline:
		t.presence(c)
		return nil
	case OpPark:
		t.durable = t.durable || t.s.Ringing()
		return nil
	case OpRewatch:
		if p := t.s.Find(c.User); p != nil {
			p.WatchedUntil = 0
		}
		return nil
	case OpStop:
		if t.s.Version > 0 && t.s.Open() {
			t.end(ReasonEndedByServer, "", "")
		}
		return nil
	case OpInvite:
		return t.create(c)
	}
	return t.command(c)
}

// command applies a user's operation on a call that exists, in the order of refusals of SPEC 4.
func (t *turn) command(c Command) error {
	if o, found := t.s.Outcome(c.User, c.Command); found {
		return o.err()
	}
	if t.s.Version == 0 {
		return refuse(NoSuchCall, "call does not exist")
	}
	if !t.s.Open() {
		return refuse(NoSuchCall, "call %s has ended", t.s.ID)
	}
	o := Outcome{User: c.User, Command: c.Command, Op: c.Op}
	if r := t.operate(c, &o); r != nil {
		o.Code, o.Message, o.Times = r.Code, r.Message, Times{}
		t.remember(o)
		return o.err()
	}
	t.remember(o)
	return nil
}

func (t *turn) operate(c Command, o *Outcome) *Refusal {
	if t.s.Mode == Common && (c.Op == OpAdd || c.Op == OpJoin || c.Op == OpQuit || c.Op == OpEnd) {
		return refuse(AdvancedOnly, "operation needs a call in advanced mode")
	}
	o.Times.Created = t.s.Created
	switch c.Op {
	case OpCancel:
		return t.cancel(c, o)
	case OpAccept, OpReject:
		return t.answer(c, o)
	case OpAdd:
		return t.add(c, o)
	case OpJoin:
		return t.join(c, o)
	case OpQuit:
		return t.quit(c, o)
	case OpEnd:
		return t.endBy(c, o)
	}
	return refuse(BadParameter, "operation %d is unknown", c.Op)
}

// remember keeps the outcome for retries and makes the step durable: what a retry is told must survive a crash too.
func (t *turn) remember(o Outcome) {
	kept := t.s.Outcomes
	if len(kept) >= MaxOutcomes {
		kept = kept[len(kept)-MaxOutcomes+1:]
	}
	t.s.Outcomes = append(slices.Clone(kept), o)
	t.durable = true
}

// Outcome is what the command came to, if it is remembered. The callInvite that made the call always is.
func (s *State) Outcome(u UserID, id CommandID) (Outcome, bool) {
	if s.Version > 0 && u == s.Caller && id == s.InviteCommand {
		return Outcome{User: u, Command: id, Op: OpInvite, Errors: s.InviteErrors, Times: Times{Created: s.Created}}, true
	}
	for i := len(s.Outcomes) - 1; i >= 0; i-- {
		if s.Outcomes[i].User == u && s.Outcomes[i].Command == id {
			return s.Outcomes[i], true
		}
	}
	return Outcome{}, false
}

func (o *Outcome) err() error {
	if o.Code == OK {
		return nil
	}
	return &Refusal{Code: o.Code, Message: o.Message, Errors: o.Errors}
}

// change numbers one durable change; everything that happens at one instant shares the number.
func (t *turn) change() {
	t.s.Seq++
	t.s.Version++
	t.durable = true
}

// put moves a participant into a state as part of the present change.
func (t *turn) put(p *Participant, to UserState, c Change) {
	if p.State.Pending() && !to.Pending() {
		p.AnsweredSeq = t.s.Seq
		p.Deadline = 0
	}
	c.Seq = t.s.Seq
	p.State, p.Change = to, c
}

// settle draws the consequences of a change at instant at: does the call end by itself, is the caller alone?
func (t *turn) settle(at Millis) {
	pending, accepted := 0, 0
	for i := range t.s.Users {
		switch u := t.s.Users[i].State; {
		case u.Pending():
			pending++
		case u == Accepted:
			accepted++
		}
	}
	if t.s.Open() {
		switch {
		case t.s.Mode == Common && pending == 0:
			t.finish(at, t.s.commonReason())
		case t.s.Mode == Advanced && pending+accepted == 0:
			t.finish(at, ReasonEmpty)
		}
	}
	alone := t.s.Open() && t.s.Mode == Advanced && pending == 0 && accepted == 1 && t.s.StateOf(t.s.Caller) == Accepted
	switch {
	case !alone:
		t.s.AloneSince = 0
	case t.s.AloneSince == 0:
		t.s.AloneSince = at
	}
}

// commonReason is why a common call has ended by itself (SPEC 2).
func (s *State) commonReason() Reason {
	if s.EverAccepted {
		return ReasonAllAnswered
	}
	reason := ReasonCancelled
	for i := range s.Users {
		switch s.Users[i].State {
		case Rejected:
			return ReasonRejected
		case Timeout:
			reason = ReasonNoAnswer
		}
	}
	return reason
}

func (t *turn) finish(at Millis, why Reason) {
	t.s.Ended, t.s.EndReason, t.s.EndSeq = at, why, t.s.Seq
	t.s.LingerFrom = t.now
}

// end ends the call for all; participants' states stay as they are.
func (t *turn) end(why Reason, by UserID, device DeviceID) {
	t.change()
	t.finish(t.now, why)
	t.s.EndedBy, t.s.EndDevice = by, device
	t.settle(t.now)
}
