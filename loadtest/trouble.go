package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"carillon/transport/wire"
)

// trouble is what a machine knows beyond its story's progress. Once a fault may have touched the call (on), the machine holds it
// to what SPEC promises through faults: what is heard must be of the story or state how the call is at a version of it, a device
// may learn by a snapshot instead of events, Received may be lost and repeated, and the time of an invitation may run out before
// its deed gets through, which makes another story of it.
type trouble struct {
	on        bool
	fair      time.Time             // lateness counts from here: the last fault is over
	back      [maxDevices]time.Time // the last login of each device, if it has come back
	sure      [maxDevices]uint64    // the highest version of which a device had a snapshot
	picture   [maxDevices]states    // what each device has heard of all, added up
	ringing   [maxDevices]bool      // a device was told to ring, and no end of it
	hand      *stage                // whose deed was sent last
	asked     int                   // stages whose deed was sent
	told      int                   // stages whose deed was answered
	invited   time.Time             // when the last deed that rings was sent first
	rung      time.Time             // when it was answered: its time runs from then at the latest
	overtaken bool                  // by a time-out
	void      int                   // asked, when that deed came after the time-out
	alone     int                   // rings that a device's own clock has ended
}

// disturb says that a fault may have touched the call.
func (m *machine) disturb(now time.Time) {
	if m.on || m.ending != going {
		return
	}
	m.on = true
	for r := range m.devices {
		for _, f := range m.devices[r].facts {
			m.take(device(r), f)
		}
	}
	m.note(line{at: now, text: "a fault may touch the call from here on"})
}

// sends notes that the present stage's deed is sent for the first time.
func (m *machine) sends(now time.Time) {
	m.asked, m.hand = m.stage+1, m.present()
	if m.present().do.invites() {
		m.invited, m.rung = now, time.Time{}
	}
}

// settled notes that the deed which was sent last is answered.
func (m *machine) settled(now time.Time) {
	m.told = m.asked
	if m.rung.IsZero() {
		m.rung = now
	}
}

// hearLoosely is hear once a fault may have touched the call.
func (m *machine) hearLoosely(r device, f fact, now time.Time) bool {
	d := &m.devices[r]
	switch {
	case m.ending == wrong || m.ending == refused:
		return false
	case f.version < d.version && !f.kind.asked(): // as a device drops it
		m.repeats++
		return false
	case f.version < d.version && f.kind == synced:
		m.fail(now, "%v's sync goes back: %v, after v%d", r, f, d.version)
		return false
	case f.kind == synced && f.version == 0:
		return m.without(r, now)
	case !m.can(r, f) && !m.turn(r, f, now):
		m.fail(now, "%v hears %v, which the call cannot be or was not told; expected: %s", r, f, m.lacks(now))
		return false
	case m.tooLate(r, f, now):
		return false
	}
	if m.replies(r, f) {
		m.settled(now)
	}
	if m.knows(d, f) {
		m.repeats++
	} else if len(d.facts) < maxTrace {
		d.facts = append(d.facts, f)
		if f.version == m.present().version && f.kind != synced && m.ending == going {
			m.measure(r, f, now)
		}
	}
	m.take(r, f)
	if g := m.story.at(d.version, m.reach()); m.ending == going && g != nil && g.listens[r] && f.version == d.version && hardened(m.picture[r]) != hardened(g.after) {
		m.fail(now, "what %v was told adds up to %v, and not to %v", r, m.picture[r], g.after)
		return false
	}
	return m.goOn(now)
}

// replies reports whether f answers the deed that was sent last: a login of a device that comes back is none.
func (m *machine) replies(r device, f fact) bool {
	return f.kind == answer || f.kind == listed || f.kind == synced && m.hand != nil && m.hand.do == login && m.hand.by == r && m.told < m.asked
}

// knows reports whether a device has heard the fact before.
func (m *machine) knows(d *heard, f fact) bool {
	return slices.ContainsFunc(d.facts, func(old fact) bool {
		return old == f || f.kind == received && old.kind == received && old.version == f.version
	})
}

// take notes what a device knows from a fact.
func (m *machine) take(r device, f fact) {
	d := &m.devices[r]
	d.version = max(d.version, f.version)
	switch {
	case f.kind.asked() || f.kind == created || f.kind == received:
		m.sure[r], m.picture[r] = max(m.sure[r], f.version), f.states
	case f.kind == changed:
		for u, state := range f.states {
			if state != 0 {
				m.picture[r][u] = state
			}
		}
	}
	if f.kind == received {
		m.ringing[r] = true
	}
	if g := m.story.at(d.version, len(m.story.stages)-1); g != nil && (g.over || !pending(g.after[r.role()])) {
		m.ringing[r], d.until = false, time.Time{}
	}
}

// reach is the last stage of which something can be known.
func (m *machine) reach() int {
	if m.asked > m.stage || m.present().do == expire || m.ending != going {
		return m.stage
	}
	return m.stage - 1
}

// at is the stage that ends with a version, among the first ones up to last; nil: there is none.
func (s *story) at(version uint64, last int) *stage {
	for i := range s.stages[:last+1] {
		if s.stages[i].version == version {
			return &s.stages[i]
		}
	}
	return nil
}

// can reports whether a device may be told f: a fact of the story so far, or how the call is at a version that it has had.
func (m *machine) can(r device, f fact) bool {
	g := m.story.at(f.version, m.reach())
	if g == nil {
		return false
	}
	switch f.kind {
	case answer, synced, listed:
		return m.shows(g, f)
	case created:
		return r == devA && f.by == roleA && m.shows(g, f)
	case received:
		return pending(g.after[r.role()]) && f.by == m.story.inviter(r.role()) && m.shows(g, f)
	case timedOut: // a device that has come in just then may hear it too
		if g.after[r.role()] == timeout && f == (fact{kind: timedOut, version: g.version, by: nobody, reason: wire.Reason_REASON_NO_ANSWER}) {
			return true
		}
	}
	if f.kind == changed {
		return m.changes(g, r, f)
	}
	for h := range m.story.stages { // one that is told again carries the present version
		at := &m.story.stages[h]
		if at.version > g.version || at.after[r.role()] != g.after[r.role()] {
			continue
		}
		for _, facts := range at.hears[r] {
			for _, want := range facts {
				if want.version = f.version; want == f {
					return true
				}
			}
		}
	}
	return false
}

// changes reports whether f tells how some are after a stage, in the words of a change up to it: who is told again is told
// at once of all that has changed since he was last.
func (m *machine) changes(g *stage, r device, f fact) bool {
	own := f.states[r.role()] != 0
	if f.states == (states{}) || f.over != g.over || !g.listens[r] && !own {
		return false
	}
	for u, state := range f.states {
		if state != 0 && hardened(oneOf(0, state)) != hardened(oneOf(0, g.after[u])) {
			return false
		}
	}
	if f.reason == wire.Reason_REASON_ANSWERED_ELSEWHERE || f.reason == wire.Reason_REASON_MOVED_TO_OTHER_DEVICE {
		return f.by == r.role() && own && !g.listens[r]
	}
	if f.by != nobody && f.reason == 0 && m.story.inviter(f.by) != nobody {
		return true // his device rings, or he has answered
	}
	for h := range m.story.stages {
		at := &m.story.stages[h]
		if at.version <= g.version && at.by.role() == f.by && at.reason() == f.reason {
			return true
		}
	}
	return false
}

// reason is what a stage's change carries.
func (g *stage) reason() wire.Reason {
	switch g.do {
	case reject:
		return wire.Reason_REASON_REJECTED
	case cancel:
		return wire.Reason_REASON_CANCELLED
	case expire:
		return wire.Reason_REASON_NO_ANSWER
	default:
		return wire.Reason_REASON_UNSPECIFIED
	}
}

// shows reports whether a snapshot is of the call as it is after a stage, but for what is soft.
func (m *machine) shows(g *stage, f fact) bool {
	why := wire.Reason_REASON_UNSPECIFIED
	if g.over {
		why = m.story.reason
	}
	return f.over == g.over && f.reason == why && hardened(f.states) == hardened(g.after)
}

// hardened takes the soft states for one.
func hardened(s states) states {
	for r, state := range s {
		if pending(state) {
			s[r] = inviting
		}
	}
	return s
}

func pending(s wire.UserState) bool {
	return s == inviting || s == rung || s == wire.UserState_USER_STATE_NOT_YET_RECEIVED
}

// soft reports whether f says only that somebody's device rings: that may be lost and repeated (SPEC 9.1).
func (f fact) soft() bool {
	return f.kind == changed && f.by != nobody && !f.over && f.reason == 0 && f.states == oneOf(f.by, rung)
}

func oneOf(r role, state wire.UserState) (s states) {
	s[r] = state
	return s
}

// inviter is who invites somebody in this story.
func (s *story) inviter(r role) role {
	for _, g := range s.stages {
		if slices.Contains(g.who, r) {
			return g.by.role()
		}
	}
	return nobody
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

// unlisted takes a sync without a call that the login named at a version.
func (m *machine) unlisted(r device, named uint64, now time.Time) {
	m.note(line{at: now, text: fmt.Sprintf("%v's sync is without the call", r)})
	g := m.story.at(named, len(m.story.stages)-1)
	if m.on && m.ending == going && g != nil && g.live(r.role()) {
		m.fail(now, "%v's sync is without the call, which the login named at v%d and which goes on for him", r, named)
	}
}

// live reports whether the call goes on for somebody after a stage.
func (g *stage) live(r role) bool {
	return !g.over && (pending(g.after[r]) || g.after[r] == accepted)
}

// goOn begins the next stage when everybody knows enough of the present one.
func (m *machine) goOn(now time.Time) bool {
	if !m.on || m.ending != going || m.told != m.asked || m.lacks(now) != "" {
		return false
	}
	return m.advance(now)
}

// lacks says what must still be known before the next deed.
func (m *machine) lacks(now time.Time) string {
	var out []string
	for r, steps := range m.present().hears {
		for _, facts := range steps {
			for _, f := range facts {
				if !m.has(device(r), f, now) {
					out = append(out, fmt.Sprint(device(r), " does not know ", f))
				}
			}
		}
	}
	return strings.Join(out, "; ")
}

// has reports whether a device knows what f says, or need not.
func (m *machine) has(r device, f fact, now time.Time) bool {
	d := &m.devices[r]
	switch {
	case f.kind.asked():
		return m.told > m.stage
	case f.kind == received:
		return slices.ContainsFunc(d.facts, func(old fact) bool { return old.kind == received })
	case f.soft() || m.sure[r] >= f.version:
		return true
	case f.kind == changed || f.kind == created:
		return d.version >= f.version // and what it was told adds up
	case slices.ContainsFunc(d.facts, func(old fact) bool { return old.kind == f.kind && old.version >= f.version }):
		return true
	case f.kind == ended && !m.ringing[r]:
		return false
	case !m.ringing[r]: // it never rang
		return true
	case !d.until.IsZero() && !now.Before(d.until.Add(ringSlack)): // by its own clock, as nothing has come (SPEC 9.4)
		m.ringing[r], d.until = false, time.Time{}
		m.alone++
		return true
	}
	return false
}

// until is when the call is wrong if it has not moved on, once a fault may have touched it.
func (t *trouble) until(due time.Time, timing timing) time.Time {
	return latest(append(t.back[:], due, t.fair)...).Add(timing.faultPatience + timing.timeout)
}
