package call

import "time"

// emit tells every participant what the changes since he was last told owe him.
func (t *turn) emit() {
	for i := range t.s.Users {
		p := &t.s.Users[i]
		if p.Sent >= t.s.Seq {
			continue
		}
		since, anew := p.Sent, p.Told >= p.Sent
		if due := p.retryDue(); due != 0 && due <= t.now { // one telling serves both
			since, anew = p.Told, true
		}
		switch told := t.tell(p, since); {
		case told:
			p.Sent = t.s.Seq
			if anew {
				p.RetryAt = t.now.add(retryAfter)
			}
		case anew:
			p.Sent, p.Told = t.s.Seq, t.s.Seq
		}
	}
}

// tell adds what p's devices must hear of the changes after from; false: there is nothing.
func (t *turn) tell(p *Participant, from uint64) bool {
	before := len(t.events)
	t.events = t.s.owed(t.events, p, from)
	for i := before; i < len(t.events); i++ {
		t.events[i].From, t.events[i].Seq = from, t.s.Seq
	}
	return len(t.events) > before
}

// repeat tells those again whose session has not acknowledged in time.
func (t *turn) repeat() {
	if t.s.Belated {
		t.s.belate(t.now)
	}
	if t.s.Done() {
		return
	}
	for i := range t.s.Users {
		p := &t.s.Users[i]
		if due := p.retryDue(); due == 0 || due > t.now {
			continue
		}
		if !t.tell(p, p.Told) {
			p.Told = p.Sent
			continue
		}
		p.RetryAt, p.Sent = t.now.add(retryAfter), t.s.Seq
	}
}

// told notes what the user's session acknowledges; an acknowledgement behind a gap says nothing, the gap will be told again.
func (t *turn) told(c Command) {
	p := t.s.Find(c.User)
	if p == nil || c.From > p.Told || c.Seq <= p.Told || c.Seq > p.Sent {
		return
	}
	p.Told = c.Seq
	p.RetryAt = t.now.add(retryAfter)
}

// close lets an ended call go once everybody knows, or the linger is over.
func (t *turn) close() {
	if t.s.Version == 0 || t.s.Open() || t.s.Closed {
		return
	}
	if t.now < t.s.lingerEnd() {
		for i := range t.s.Users {
			if p := &t.s.Users[i]; p.Told < p.Sent {
				return
			}
		}
	}
	t.s.Closed, t.durable = true, true
}

// Resume is the state as a new owner takes it up: what was under way is lost, whoever lags is told again.
func (s State) Resume() State {
	users := make([]Participant, len(s.Users))
	copy(users, s.Users)
	for i := range users {
		p := &users[i]
		p.Sent, p.RetryAt, p.WatchedUntil, p.OfflineSince = s.Seq, 0, 0, 0
	}
	s.Users, s.LingerFrom, s.Belated = users, 0, false
	return s
}

// After is what another owner has stored, as an owner goes on from it who had the state mine, of which the store has had
// changes up to shared. Whom this one tells the other one may not reach, and the other way round: so only what was acknowledged
// to this one counts.
func (s State) After(mine *State, shared uint64, now time.Time) State {
	s = s.Resume()
	for i := range s.Users {
		p := &s.Users[i]
		acknowledged := uint64(0)
		if q := mine.Find(p.User); q != nil {
			acknowledged = min(q.Told, shared)
		}
		p.Told = min(p.Told, acknowledged)
	}
	if !s.Open() {
		s.LingerFrom = At(now)
	}
	if s.Closed {
		s.belate(At(now))
	}
	return s
}

// belate notes whether somebody has still to be told of a call that another owner has closed.
func (s *State) belate(now Millis) {
	s.Belated = false
	for i := range s.Users {
		if p := &s.Users[i]; p.Told < p.Sent && now < s.lingerEnd() {
			s.Belated = true
		}
	}
}

// Done reports whether nothing is left to do for the call: it is closed, and everybody knows.
func (s *State) Done() bool { return s.Closed && !s.Belated }

// owed adds to out what p's devices must hear of the changes after since (SPEC 3, "Who hears what"; SEQUENCES).
func (s *State) owed(out []Event, p *Participant, since uint64) []Event {
	fresh := p.Change.Seq > since
	switch {
	case p.State.Pending():
		return s.owedPending(out, p, since)
	case p.State == Accepted:
		return s.owedAccepted(out, p, since)
	case !fresh:
		return out
	}
	own := s.event(EventUserState, p, p.Change)
	switch p.State {
	case Timeout:
		return append(out, s.event(EventTimeout, p, p.Change).to(AllDevices, ""))
	case BeCancelled:
		e := s.event(EventCancelled, p, p.Change).to(AllDevices, "")
		e.Inviter, e.ExtendedData = p.Inviter, s.dataOf(p.Change.By)
		return append(out, e)
	case Rejected:
		own.Changed = []UserID{p.User}
		return append(out, own.to(OnlyDevice, p.Change.Device), elsewhere(own, p.Change.Device))
	case Cancelled:
		own.Changed = s.changed(since)
	case Quit:
		own.Changed = []UserID{p.User}
	}
	out = toActing(out, own, p)
	if p.enteredAfter(since) || p.MovedSeq > since {
		out = append(out, elsewhere(own, p.Main))
	}
	return out
}

// enteredAfter reports whether he came in after since, so that devices other than the main one may still ring.
func (p *Participant) enteredAfter(since uint64) bool {
	return p.AnsweredSeq > max(since, p.InvitedSeq) || p.JoinedSeq > since
}

func (s *State) owedPending(out []Event, p *Participant, since uint64) []Event {
	if ended := s.ended(p, since); ended != nil {
		return append(out, ended.to(AllDevices, ""))
	}
	if !s.Open() {
		return out
	}
	if p.InvitedSeq > since { // told again, the devices may have rung already: then they need to hear what came after
		out = append(out, s.Ring(p))
		since = p.InvitedSeq
	}
	return s.userState(out, p, since, AllDevices, "")
}

func (s *State) owedAccepted(out []Event, p *Participant, since uint64) []Event {
	out = s.userState(out, p, max(since, p.JoinedSeq), OnlyDevice, p.Main)
	if since == 0 && p.User == s.Caller && s.Open() {
		created := s.event(EventCreated, p, Change{By: s.Caller, Device: p.Main, At: s.Created})
		out = append(out, created.to(OnlyDevice, p.Main), created.to(OtherThan, p.Main))
	}
	if p.enteredAfter(since) {
		own := s.event(EventUserState, p, p.Change)
		own.Changed = []UserID{p.User}
		out = append(out, elsewhere(own, p.Main))
	}
	if p.MovedSeq > since {
		moved := s.event(EventUserState, p, p.Change).to(OnlyDevice, p.MovedFrom)
		if p.MovedFrom == "" {
			moved = moved.to(OtherThan, p.Main)
		}
		moved.Changed, moved.Reason = []UserID{p.User}, ReasonMovedToOtherDevice
		moved.By, moved.ByDev = p.User, p.Main
		out = append(out, moved)
	}
	if ended := s.ended(p, since); ended != nil {
		out = append(out, ended.to(OnlyDevice, p.Main))
		if s.EndedBy == p.User && s.EndDevice != p.Main {
			out = append(out, ended.to(OnlyDevice, s.EndDevice))
		}
	}
	return out
}

// Ring is the invitation as a device hears it that logs in while it is pending.
func (s *State) Ring(p *Participant) Event {
	invitation := p.Change
	if p.State != Inviting {
		invitation = Change{By: p.Inviter, At: p.InvitedAt}
	}
	e := s.event(EventReceived, p, invitation).to(AllDevices, "")
	e.Ring = p.InvitedSeq
	return e
}

// changed lists who changed after since, in the order of the call.
func (s *State) changed(since uint64) []UserID {
	var out []UserID
	for i := range s.Users {
		if s.Users[i].Change.Seq > since {
			out = append(out, s.Users[i].User)
		}
	}
	return out
}

// userState adds callUserStateChanged for those who changed after since, in the words of the latest of their changes.
func (s *State) userState(out []Event, p *Participant, since uint64, a Audience, d DeviceID) []Event {
	changed := s.changed(since)
	if len(changed) == 0 {
		return out
	}
	var last Change
	for i := range s.Users {
		if c := &s.Users[i].Change; c.Seq > since && c.Seq >= last.Seq {
			last = *c
		}
	}
	e := s.event(EventUserState, p, last).to(a, d)
	e.Changed = changed
	return append(out, e)
}

// ended is callInvitationEnded, where the end is one that is told (SPEC 3).
func (s *State) ended(p *Participant, since uint64) *Event {
	if s.Open() || s.EndSeq <= since {
		return nil
	}
	switch s.EndReason {
	case ReasonEndedByUser, ReasonMaxDuration, ReasonAloneTimeout, ReasonEndedByServer:
	default:
		return nil
	}
	e := s.event(EventEnded, p, Change{By: s.EndedBy, Device: s.EndDevice, Reason: s.EndReason, At: s.Ended})
	e.ExtendedData = s.dataOf(s.EndedBy)
	return &e
}

func (s *State) event(k Kind, p *Participant, c Change) Event {
	return Event{Kind: k, To: p.User, Version: s.Version, Reason: c.Reason, By: c.By, ByDev: c.Device, At: c.At}
}

func (e Event) to(a Audience, d DeviceID) Event {
	e.Devices, e.Device = a, d
	return e
}

// toActing addresses the acting user's own change: his main device, and the one that acted if that is another.
func toActing(out []Event, e Event, p *Participant) []Event {
	out = append(out, e.to(OnlyDevice, p.Main))
	if p.Change.Device != "" && p.Change.Device != p.Main {
		out = append(out, e.to(OnlyDevice, p.Change.Device))
	}
	return out
}

// elsewhere tells the devices that rang, but did not act, that it is over for them (SPEC 6).
func elsewhere(e Event, acted DeviceID) Event {
	e.Reason = ReasonAnsweredElsewhere
	return e.to(OtherThan, acted)
}

func (s *State) dataOf(u UserID) string {
	if p := s.Find(u); p != nil {
		return p.ExtendedData
	}
	return ""
}
