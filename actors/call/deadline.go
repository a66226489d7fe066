package call

import (
	"slices"
	"time"
)

// Intervals of the call's own clockwork.
const (
	retryAfter = time.Second      // an unacknowledged tell is repeated (SPEC 9.4: repaired within 2 s)
	watchFor   = 10 * time.Second // a session is asked again to watch its user
	linger     = 60 * time.Second // an ended call waits this long for the last acknowledgement
)

// Deadline is when the call next changes, or tells or asks somebody again, by itself; zero means never. It may lie in
// the past: then a Step is due at once.
func (s *State) Deadline() time.Time {
	if s.Version == 0 || s.Done() {
		return time.Time{}
	}
	var d Millis
	if s.Open() {
		d = s.nextChange()
	} else {
		d = s.lingerEnd()
	}
	for i := range s.Users {
		p := &s.Users[i]
		d = earlier(d, p.retryDue())
		if s.watches(p) {
			d = earlier(d, max(p.WatchedUntil, s.Created))
		}
	}
	return d.Time()
}

// lingerEnd is when an ended call closes even if somebody has not acknowledged.
func (s *State) lingerEnd() Millis { return max(s.Ended, s.LingerFrom).add(linger) }

// earlier is the earlier of two instants of which zero means never.
func earlier(a, b Millis) Millis {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// retryDue is when the participant must be told again; one whose Told lags with nothing under way (just loaded) at once.
func (p *Participant) retryDue() Millis {
	if p.Told >= p.Sent {
		return 0
	}
	return max(p.RetryAt, 1)
}

// nextChange is the earliest instant at which an open call changes by itself. Every call has one: MaxDuration.
func (s *State) nextChange() Millis {
	d := s.Created.add(s.Rules.MaxDuration)
	if s.AloneTimeout > 0 && s.AloneSince > 0 {
		d = earlier(d, s.AloneSince.add(s.AloneTimeout))
	}
	for i := range s.Users {
		p := &s.Users[i]
		d = earlier(d, p.Deadline)
		d = earlier(d, s.notReceivedAt(p))
		d = earlier(d, s.leaseEnd(p))
	}
	return d
}

// notReceivedAt is when Inviting becomes NotYetReceived; zero when it does not.
func (s *State) notReceivedAt(p *Participant) Millis {
	if !s.CheckReceived || p.State != Inviting {
		return 0
	}
	return p.InvitedAt.add(s.Rules.NotReceivedAfter)
}

// leaseEnd is when an Accepted member who is offline becomes Quit; zero when he does not.
func (s *State) leaseEnd(p *Participant) Millis {
	if s.Rules.MemberLease == 0 || p.State != Accepted || p.OfflineSince == 0 {
		return 0
	}
	return p.OfflineSince.add(s.Rules.MemberLease)
}

// applyDue applies every deadline that has passed, instant by instant, each as a change of its own. A soft change is
// told with the next one, which may overtake it.
func (t *turn) applyDue() {
	for t.s.Version > 0 && t.s.Open() {
		at := t.s.nextChange()
		if at > t.now {
			return
		}
		version, told := t.s.Version, len(t.events)
		if t.applyAt(at); t.s.Version == version {
			continue
		}
		t.emit()
		then := t.s
		then.Users = slices.Clone(t.s.Users)
		for i := range t.events[told:] {
			t.events[told+i].Then = &then
		}
	}
}

// applyAt applies all that is due at one instant: one change, a soft one when only NotYetReceived is due.
func (t *turn) applyAt(at Millis) {
	s := &t.s
	over := s.overAt(at)
	expired := s.expire(t, at)
	switch {
	case expired:
	case over != ReasonNone:
		t.change()
	default:
		s.Seq++
	}
	for i := range s.Users {
		if p := &s.Users[i]; s.notReceivedAt(p) != 0 && s.notReceivedAt(p) <= at {
			t.put(p, NotYetReceived, Change{At: at})
		}
	}
	if expired {
		t.settle(at)
	}
	if over != ReasonNone && s.Open() {
		t.finish(at, over)
		t.settle(at)
	}
}

// overAt is why the call is over at an instant, whatever its participants do.
func (s *State) overAt(at Millis) Reason {
	switch {
	case s.Created.add(s.Rules.MaxDuration) <= at:
		return ReasonMaxDuration
	case s.AloneTimeout > 0 && s.AloneSince > 0 && s.AloneSince.add(s.AloneTimeout) <= at:
		return ReasonAloneTimeout
	}
	return ReasonNone
}

// expire times out invitations and ends leases; it reports whether there were any.
func (s *State) expire(t *turn, at Millis) bool {
	changed := false
	for i := range s.Users {
		p := &s.Users[i]
		invitation := p.Deadline != 0 && p.Deadline <= at
		lease := s.leaseEnd(p) != 0 && s.leaseEnd(p) <= at
		if !invitation && !lease {
			continue
		}
		if !changed {
			t.change()
			changed = true
		}
		if invitation {
			t.put(p, Timeout, Change{Reason: ReasonNoAnswer, At: at})
		} else {
			t.put(p, Quit, Change{Reason: ReasonConnectionLost, At: at})
			p.QuitAt = at
		}
	}
	return changed
}

// Ringing reports whether anybody is pending.
func (s *State) Ringing() bool {
	for i := range s.Users {
		if s.Users[i].State.Pending() {
			return s.Open()
		}
	}
	return false
}

// Quiet reports whether the call waits for nothing but users' commands and a far deadline: nobody pending, nobody to
// watch, nothing told that is not acknowledged. Its owner may forget it until Deadline.
func (s *State) Quiet() bool {
	for i := range s.Users {
		p := &s.Users[i]
		if p.State.Pending() || p.Told < p.Sent || s.watches(p) {
			return false
		}
	}
	return true
}
