package call

import "slices"

// cancel is callCancel: the whole call (no users named) or some pending invitees.
func (t *turn) cancel(c Command, o *Outcome) *Refusal {
	if c.User != t.s.Caller && !t.s.invitedAnybody(c.User) {
		return refuse(NotInviter, "user %s invited nobody in this call", c.User)
	}
	if len(c.Users) == 0 && len(c.Errors) == 0 {
		if t.s.EverAccepted {
			return refuse(CannotCancel, "somebody has accepted")
		}
		t.cancelAll(ReasonCancelled, c)
		return nil
	}
	targets, turned := t.cancellable(c)
	o.Errors = turned
	if len(targets) == 0 {
		return refuse(turned[0].Code, "invitees: none could be cancelled; %s is %s", turned[0].User, t.s.StateOf(turned[0].User))
	}
	t.change()
	for _, u := range targets {
		t.put(t.s.Find(u), BeCancelled, Change{By: c.User, Device: c.Device, Reason: ReasonCancelled, At: t.now})
	}
	t.s.Find(c.User).ExtendedData = c.ExtendedData
	t.settle(t.now)
	return nil
}

func (s *State) invitedAnybody(u UserID) bool {
	for i := range s.Users {
		if s.Users[i].Inviter == u {
			return true
		}
	}
	return false
}

func (t *turn) cancellable(c Command) (targets []UserID, turned []UserError) {
	turned = append(turned, c.Errors...)
	for i, u := range c.Users {
		p := t.s.Find(u)
		switch {
		case slices.Contains(c.Users[:i], u):
		case p != nil && p.State.Pending() && (c.User == t.s.Caller || p.Inviter == c.User):
			targets = append(targets, u)
		case p != nil && p.State == Accepted:
			turned = append(turned, UserError{u, CannotCancel})
		default:
			turned = append(turned, UserError{u, NotInvited})
		}
	}
	return targets, turned
}

// cancelAll ends a call that nobody has accepted; by is empty when the caller went offline.
func (t *turn) cancelAll(why Reason, c Command) {
	t.change()
	change := Change{By: c.User, Device: c.Device, Reason: why, At: t.now}
	for i := range t.s.Users {
		switch p := &t.s.Users[i]; {
		case p.User == t.s.Caller:
			t.put(p, Cancelled, change)
			p.ExtendedData = c.ExtendedData
		case p.State.Pending():
			t.put(p, BeCancelled, change)
		}
	}
	t.finish(t.now, why)
	t.settle(t.now)
}
