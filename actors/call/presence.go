package call

// receipt is callInvitationReceived acknowledged by a device: a soft change, told at once, saved with the next one.
func (t *turn) receipt(c Command) {
	p := t.s.Find(c.User)
	if !t.s.Open() || p == nil || (p.State != Inviting && p.State != NotYetReceived) {
		return
	}
	t.s.Seq++
	t.put(p, Received, Change{By: c.User, Device: c.Device, At: t.now})
}

// presence is what the session of a watched user says of him.
func (t *turn) presence(c Command) {
	p := t.s.Find(c.User)
	if p == nil || !t.s.Open() {
		return
	}
	if c.Op == OpOnline {
		p.OfflineSince = 0
		return
	}
	if p.OfflineSince == 0 {
		p.OfflineSince = t.now
	}
	if c.User == t.s.Caller && !t.s.EverAccepted {
		t.cancelAll(ReasonCallerOffline, Command{ExtendedData: p.ExtendedData})
	}
}

// Watches reports whether the call has a stake in the user's presence.
func (s *State) Watches(u UserID) bool {
	p := s.Find(u)
	return p != nil && s.watches(p)
}

// watches reports whether the call has a stake in the participant's presence.
func (s *State) watches(p *Participant) bool {
	if !s.Open() {
		return false
	}
	return (p.User == s.Caller && !s.EverAccepted) || (s.Rules.MemberLease > 0 && p.State == Accepted)
}

// watch asks sessions to watch their users, again and again while the stake lasts: a session that lost its memory, or
// its node, learns of it within watchFor.
func (t *turn) watch() {
	for i := range t.s.Users {
		p := &t.s.Users[i]
		if t.s.watches(p) && p.WatchedUntil <= t.now {
			p.WatchedUntil = t.now.add(watchFor)
			t.events = append(t.events, Event{Kind: EventWatch, To: p.User})
		}
	}
}
