package call

import "time"

// Scratch is memory that the steps of one call use in turn, for an owner who keeps no state but the last one.
type Scratch struct {
	users  [2][]Participant
	events []Event
}

// Step is Step with the memory of earlier steps: of the states that came from here only s is still good after it, and the
// next State; of the events only those that it returns.
func (m *Scratch) Step(s State, c Command, now time.Time) (State, []Event, error) {
	clear(m.events)
	t := turn{s: s, now: At(now), events: m.events[:0]}
	t.s.Users = append(m.spare(s.Users), s.Users...)
	next, events, err := t.step(c)
	m.keep(next.Users)
	m.events = events
	return next, events, err
}

// Lend gives memory for events: calls need it only from a step to what it tells.
func (m *Scratch) Lend(events []Event) { m.events = events }

// Return gives the memory for events back, without what was in it.
func (m *Scratch) Return() []Event {
	events := m.events[:0]
	clear(m.events)
	m.events = nil
	return events
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
