package main

import (
	"time"
)

// grain is how early a time-out may seem: the server counts in whole milliseconds.
const grain = 5 * time.Millisecond

// turn takes the story in which the time of the pending ran out before the present deed, or after it, if f is of that one.
func (m *machine) turn(r device, f fact, now time.Time) bool {
	if m.overtaken || m.ending != going || now.Before(m.invited.Add(m.timing.timeout-grain)) {
		return false
	}
	story, n := m.story, m.stage
	for _, k := range []int{n - 1, n} {
		before := k < n
		if k < 0 || story.detours[k] == nil || before && m.told > n || !before && m.asked <= n {
			continue
		}
		m.story, m.stage = story.detours[k], k+1
		if m.can(r, f) {
			m.overtaken = true
			if before && m.asked > n {
				m.void = m.asked
			}
			m.note(line{at: now, text: "the time is over before all is done"})
			m.enter(k+1, now)
			return true
		}
		m.story, m.stage = story, n
	}
	return false
}

// overruled takes a refusal, and the call as it shows it, if it does. It is right only when the time was over before the deed.
func (m *machine) overruled(r device, shown *fact, now time.Time) (next, right bool) {
	if !m.on || m.ending != going {
		return false, false
	}
	if shown == nil {
		shown = m.expiry() // it must have been so
	}
	if shown != nil && !m.can(r, *shown) && !m.turn(r, *shown, now) || !m.overtaken || m.void != m.asked {
		return false, false
	}
	m.settled(now)
	if shown != nil {
		return m.hearLoosely(r, *shown, now), true
	}
	return m.goOn(now), true
}

// expiry is how the call is if the time of the pending ran out before the present deed, nil if there is nobody.
func (m *machine) expiry() *fact {
	if m.stage == 0 || m.overtaken || m.story.detours[m.stage-1] == nil {
		return nil
	}
	alt := m.story.detours[m.stage-1]
	g := alt.stages[m.stage]
	f := fact{kind: synced, by: nobody, version: g.version, states: g.after, over: g.over}
	if g.over {
		f.reason = alt.reason
	}
	return &f
}

// without takes the answer to a visitor's login that does not hold the call: it is not live for him, or not any more.
func (m *machine) without(r device, now time.Time) bool {
	if g := m.story.at(m.devices[devA].version, len(m.story.stages)-1); g != nil && g.live(r.role()) {
		if shown := m.expiry(); shown == nil || !m.turn(devA, *shown, now) {
			m.fail(now, "%v's sync is without the call, which goes on for him", r)
			return false
		}
	}
	m.settled(now)
	return m.goOn(now)
}

// tooLate fails the call when a device learns too late that the time of an invitation is over.
func (m *machine) tooLate(r device, f fact, now time.Time) bool {
	if m.present().do != expire || f.version != m.present().version || m.ending != going || m.knows(&m.devices[r], f) {
		return false
	}
	due := latest(m.timeOver(), m.fair, m.back[r])
	if late := now.Sub(due); late > m.timing.late {
		m.fail(now, "%v hears of the time-out %v late", r, late.Round(time.Millisecond))
		return true
	}
	m.samples = append(m.samples, sample{faultLateMetric, max(0, now.Sub(latest(m.timeOver(), m.back[r])))})
	return false
}

// timeOver is when the last invitation's time is over, at the latest.
func (m *machine) timeOver() time.Time {
	if m.rung.IsZero() {
		return m.invited.Add(m.timing.timeout)
	}
	return m.rung.Add(m.timing.timeout)
}

// mostLeft is how long an invitation can still have.
func (m *machine) mostLeft(now time.Time) time.Duration {
	if m.rung.IsZero() {
		return m.timing.timeout
	}
	return max(0, m.timeOver().Add(ringSlack).Sub(now))
}
