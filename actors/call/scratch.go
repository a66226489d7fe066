package call

import (
	"sync"
	"time"
)

// Scratch is memory that the steps of one call use in turn, for an owner who keeps no state but the last one.
type Scratch struct {
	users  [2][]Participant
	events *[]Event // nil: none since Forget
}

// spareEvents are shared by all calls: they need them only from a step to what it tells.
var spareEvents = sync.Pool{New: func() any { return new([]Event) }}

const maxSpareEvents = 64 // a longer slice is left to the collector

// Step is Step with the memory of earlier steps: of the states that came from here only s is still good after it, and the
// next State; of the events only those that it returns, until Forget.
func (m *Scratch) Step(s State, c Command, now time.Time) (State, []Event, error) {
	if m.events == nil {
		m.events = spareEvents.Get().(*[]Event)
	}
	clear(*m.events)
	t := turn{s: s, now: At(now), events: (*m.events)[:0]}
	t.s.Users = append(m.spare(s.Users), s.Users...)
	next, events, err := t.step(c)
	m.keep(next.Users)
	*m.events = events
	return next, events, err
}

// Forget gives the events of the last step back.
func (m *Scratch) Forget() {
	if m.events == nil {
		return
	}
	clear(*m.events)
	if cap(*m.events) <= maxSpareEvents {
		*m.events = (*m.events)[:0]
		spareEvents.Put(m.events)
	}
	m.events = nil
}

// spare is room for users, and not where they are.
func (m *Scratch) spare(users []Participant) []Participant {
	for _, b := range m.users {
		if !same(b, users) {
			return b[:0]
		}
	}
	return nil
}

// keep notes memory that a state is in now.
func (m *Scratch) keep(users []Participant) {
	for i, b := range m.users {
		if same(b, users) {
			m.users[i] = users
			return
		}
	}
	m.users[0], m.users[1] = users, m.users[0]
}

// same reports whether two slices are in the same memory.
func same(a, b []Participant) bool {
	return len(a) > 0 && len(b) > 0 && &a[0] == &b[0]
}
