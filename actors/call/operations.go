package call

import "slices"

// create makes the call: the caller Accepted, each valid invitee Inviting.
func (t *turn) create(c Command) error {
	if t.s.Version > 0 {
		if o, found := t.s.Outcome(c.User, c.Command); found && o.Op == OpInvite {
			return nil
		}
		return refuse(CallExists, "call ID %s is taken by another call", t.s.ID)
	}
	v := c.Invite
	valid, turned := invitees(c)
	if r := checkInvitees(len(valid), turned, v.Rules, 1); r != nil {
		r.Errors = turned
		return r
	}
	t.s = State{
		ID: v.ID, Mode: v.Mode, Caller: c.User, InviteCommand: c.Command, InviteErrors: turned,
		Created: t.now, Timeout: c.Timeout, AloneTimeout: v.AloneTimeout, CheckReceived: v.CheckReceived,
		ExtendedData: c.ExtendedData, Rules: v.Rules,
	}
	t.change()
	t.s.Users = make([]Participant, 1, 1+len(valid))
	t.s.Users[0] = Participant{
		User: c.User, State: Accepted, ExtendedData: c.ExtendedData, AcceptedAt: t.now, Main: c.Device, Invited: true,
		Change: Change{Seq: t.s.Seq, By: c.User, Device: c.Device, At: t.now},
	}
	for _, u := range valid {
		t.invite(u, c)
	}
	t.settle(t.now)
	return nil
}

// invitees sorts out the users of an invitation: each once, the inviter himself turned away.
func invitees(c Command) (valid []UserID, turned []UserError) {
	turned = slices.Clip(c.Errors)
	for i, u := range c.Users {
		switch {
		case slices.Contains(c.Users[:i], u):
		case u == c.User:
			turned = append(turned, UserError{u, BadParameter})
		default:
			valid = append(valid, u)
		}
	}
	return valid, turned
}

// checkInvitees holds an invitation against the limits; live is how many users count already.
func checkInvitees(valid int, turned []UserError, r Rules, live int) *Refusal {
	if all := valid + len(turned); all > r.MaxInvitees {
		return refuse(TooMany, "invitees: %d in one request, limit %d", all, r.MaxInvitees)
	}
	if live+valid > r.MaxUsers {
		return refuse(TooMany, "users in the call would be %d, limit %d", live+valid, r.MaxUsers)
	}
	if valid > 0 {
		return nil
	}
	unregistered := func(e UserError) bool { return e.Code == NoUser }
	if len(turned) > 0 && !slices.ContainsFunc(turned, func(e UserError) bool { return !unregistered(e) }) {
		return refuse(NoUser, "invitees: none is a registered user")
	}
	return refuse(BadParameter, "invitees: none can be invited")
}

// invite puts one user into Inviting, new or again.
func (t *turn) invite(u UserID, c Command) {
	p := t.s.Find(u)
	if p == nil {
		t.s.Users = append(t.s.Users, Participant{User: u})
		p = &t.s.Users[len(t.s.Users)-1]
	}
	t.put(p, Inviting, Change{By: c.User, Device: c.Device, At: t.now})
	p.Inviter, p.Invited, p.InvitedSeq = c.User, true, t.s.Seq
	p.InvitedFor = t.s.Timeout
	if c.Timeout > 0 {
		p.InvitedFor = c.Timeout
	}
	p.InvitedAt, p.Deadline = t.now, t.now.add(p.InvitedFor)
	p.AcceptedAt, p.QuitAt, p.Main, p.MovedFrom, p.MovedSeq = 0, 0, "", "", 0
	p.InviteData = ""
	if c.ExtendedData != t.s.ExtendedData {
		p.InviteData = c.ExtendedData
	}
}

// add is callingInvite.
func (t *turn) add(c Command, o *Outcome) *Refusal {
	p, r := t.accepted(c.User)
	if r != nil {
		return r
	}
	valid, turned := invitees(c)
	fresh, live := 0, 0
	for i := range t.s.Users {
		if t.s.Users[i].State.Live() {
			live++
		}
	}
	free := valid[:0]
	for _, u := range valid {
		switch state := t.s.StateOf(u); {
		case state.Live():
			turned = append(turned, UserError{u, WrongState})
		default:
			free = append(free, u)
			if t.s.Find(u) == nil {
				fresh++
			}
		}
	}
	if r := checkInvitees(len(free), turned, t.s.Rules, live); r != nil {
		o.Errors = turned
		return r
	}
	if len(t.s.Users)+fresh > MaxRecorded {
		return refuse(TooMany, "users ever in the call would be %d, limit %d", len(t.s.Users)+fresh, MaxRecorded)
	}
	t.change()
	p.ExtendedData = c.ExtendedData
	for _, u := range free {
		t.invite(u, c)
	}
	o.Errors = turned
	t.settle(t.now)
	return nil
}

// accepted finds the acting user of an operation that only an Accepted participant may use.
func (t *turn) accepted(u UserID) (*Participant, *Refusal) {
	p := t.s.Find(u)
	if p == nil {
		return nil, refuse(NotInvited, "user %s is not in the call", u)
	}
	if p.State != Accepted {
		return nil, refuse(WrongState, "user %s is %s, not Accepted", u, p.State)
	}
	return p, nil
}

// answer is callAccept and callReject.
func (t *turn) answer(c Command, o *Outcome) *Refusal {
	p := t.s.Find(c.User)
	if p == nil {
		return refuse(NotInvited, "user %s is not invited", c.User)
	}
	if !p.State.Pending() {
		return refuse(NotInvited, "user %s is %s, no longer pending", c.User, p.State)
	}
	t.change()
	change := Change{By: c.User, Device: c.Device, At: t.now}
	if c.Op == OpReject {
		change.Reason = ReasonRejected
		t.put(p, Rejected, change)
	} else {
		t.put(p, Accepted, change)
		t.enter(p, c)
		o.Times.Accepted = t.now
	}
	p.ExtendedData = c.ExtendedData
	t.settle(t.now)
	return nil
}

// enter is what accept and join share: the acting device becomes the main one.
func (t *turn) enter(p *Participant, c Command) {
	p.AcceptedAt, p.QuitAt, p.Main, p.MovedFrom, p.MovedSeq = t.now, 0, c.Device, "", 0
	p.ExtendedData, p.OfflineSince = c.ExtendedData, 0
	if p.User != t.s.Caller {
		t.s.EverAccepted = true
	}
}

// join is callJoin: come in, answer a pending invitation, or make this device the main one.
func (t *turn) join(c Command, o *Outcome) *Refusal {
	o.Times.Joined = t.now
	p := t.s.Find(c.User)
	switch {
	case p != nil && p.State.Pending():
		return t.answer(c, o)
	case p != nil && p.State == Accepted:
		if p.Main == c.Device {
			return refuse(AlreadyMain, "device %s is already the main device", c.Device)
		}
		t.change()
		from := p.Main
		if p.MovedSeq > p.Told {
			from = "" // who was main before is not known for sure: all others are told
		}
		p.MovedFrom, p.Main, p.MovedSeq = from, c.Device, t.s.Seq
		p.ExtendedData, p.OfflineSince = c.ExtendedData, 0
		o.Times.Accepted = p.AcceptedAt
		return nil
	case t.s.Rules.InvitedOnly && (p == nil || !p.Invited):
		return refuse(NotInvited, "user %s was never invited to this call", c.User)
	}
	live := 0
	for i := range t.s.Users {
		if t.s.Users[i].State.Live() {
			live++
		}
	}
	if live >= t.s.Rules.MaxUsers {
		return refuse(TooMany, "users in the call are %d, limit %d", live, t.s.Rules.MaxUsers)
	}
	if p == nil {
		if len(t.s.Users) >= MaxRecorded {
			return refuse(TooMany, "users ever in the call are %d, limit %d", len(t.s.Users), MaxRecorded)
		}
		t.s.Users = append(t.s.Users, Participant{User: c.User})
		p = &t.s.Users[len(t.s.Users)-1]
	}
	t.change()
	t.put(p, Accepted, Change{By: c.User, Device: c.Device, At: t.now})
	t.enter(p, c)
	if p.Told >= p.Sent {
		p.Told = t.s.Seq // the answer tells him; what he had not acknowledged before stays owed
	}
	p.JoinedSeq, p.Sent = t.s.Seq, t.s.Seq
	o.Times.Accepted = t.now
	t.settle(t.now)
	return nil
}

func (t *turn) quit(c Command, o *Outcome) *Refusal {
	p, r := t.accepted(c.User)
	if r != nil {
		return r
	}
	t.change()
	t.put(p, Quit, Change{By: c.User, Device: c.Device, At: t.now})
	p.QuitAt, p.ExtendedData = t.now, c.ExtendedData
	o.Times.Accepted, o.Times.Quit = p.AcceptedAt, t.now
	t.settle(t.now)
	return nil
}

// endBy is callEnd.
func (t *turn) endBy(c Command, o *Outcome) *Refusal {
	p, r := t.accepted(c.User)
	if r != nil {
		return r
	}
	p.ExtendedData = c.ExtendedData
	t.end(ReasonEndedByUser, c.User, c.Device)
	o.Times.Accepted, o.Times.Ended = p.AcceptedAt, t.now
	return nil
}
