package persistence

import (
	"errors"
	"fmt"

	"carillon/actors/call"
)

// place is where a call's record lies.
type place uint8

const (
	nowhere place = iota
	among         // the open calls
	apart         // the closed calls
)

// standing is what a store holds of a call when a change meets it.
type standing struct {
	place    place
	revision uint64 // zero when nowhere
}

// change is one transition made ready: all that a store needs to apply it, with nothing left that the caller owns but
// strings. Both stores apply the same change, so they agree.
type change struct {
	id         call.ID
	prev, next uint64 // revisions
	created    call.Millis
	was        place  // where Prev is
	closed     bool   // the record goes to the closed calls
	patient    bool   // nobody waits for it: the call had ended before, and everybody knows
	record     []byte // Next, encoded
	rows       []row
	people     []call.UserID // when the call is taken out of the open ones: who was in it
}

// row is a line of a user's list that comes or goes with the change.
type row struct {
	user   call.UserID
	table  table
	remove bool
}

// table says which of a user's two lists a row is in.
type table byte

const (
	history table = iota // every call the user is or was a participant of
	pending              // those that are live for him
)

// prepare fills c from t, reusing its buffers. An error says what is wrong with t; it wraps call.ErrUnavailable.
func (c *change) prepare(t *call.Transition) error {
	c.id, c.prev, c.next = t.Next.ID, t.Prev.Revision, t.Next.Revision
	c.created, c.closed, c.was = t.Next.Created, t.Next.Closed, placeOf(&t.Prev)
	c.patient = c.was == among && c.closed && !t.Prev.Open()
	if err := checkTransition(t); err != nil {
		return fmt.Errorf("%w: call %s: %w", call.ErrUnavailable, t.Next.ID, err)
	}
	c.diff(t)
	var err error
	if c.record, err = encode(c.record[:0], &t.Next); err != nil {
		return fmt.Errorf("%w: %w", call.ErrUnavailable, err)
	}
	return nil
}

func placeOf(s *call.State) place {
	switch {
	case s.Revision == 0:
		return nowhere
	case s.Closed:
		return apart
	}
	return among
}

func checkTransition(t *call.Transition) error {
	switch {
	case t.Next.ID == 0:
		return errors.New("its ID is 0")
	case t.Next.Revision <= t.Prev.Revision:
		return fmt.Errorf("revision %d doesn't follow %d", t.Next.Revision, t.Prev.Revision)
	case t.Prev.Revision != 0 && t.Prev.ID != t.Next.ID:
		return fmt.Errorf("its previous state is of call %s", t.Prev.ID)
	case t.Prev.Revision != 0 && t.Prev.Created != t.Next.Created:
		return fmt.Errorf("its creation moved from %d to %d", t.Prev.Created, t.Next.Created)
	case t.Prev.Revision != 0 && t.Prev.Closed && !t.Next.Closed:
		return errors.New("it is closed and can't be opened again")
	}
	for i := range t.Next.Users {
		if n := len(t.Next.Users[i].User); n > maxUserID {
			return fmt.Errorf("user ID %d has %d bytes, more than %d", i, n, maxUserID)
		}
	}
	return nil
}

// diff finds the rows that come and go. A participant keeps his place in the list, so looking there first finds nearly all.
func (c *change) diff(t *call.Transition) {
	c.rows, c.people = c.rows[:0], c.people[:0]
	prev, next := &t.Prev, &t.Next
	if prev.Revision == 0 {
		prev = &call.State{}
	}
	for i := range next.Users {
		u := next.Users[i].User
		was := participant(prev, i, u)
		if was == nil && next.Find(u) == &next.Users[i] { // once, whatever the state says
			c.rows = append(c.rows, row{u, history, false})
		}
		before, after := was != nil && live(prev, was), live(next, &next.Users[i])
		if before != after {
			c.rows = append(c.rows, row{u, pending, before})
		}
	}
	for i := range prev.Users {
		u := prev.Users[i].User
		if c.closed && c.was == among {
			c.people = append(c.people, u)
		}
		if participant(next, i, u) != nil {
			continue
		}
		c.rows = append(c.rows, row{u, history, true})
		if live(prev, &prev.Users[i]) {
			c.rows = append(c.rows, row{u, pending, true})
		}
	}
}

func participant(s *call.State, guess int, u call.UserID) *call.Participant {
	if guess < len(s.Users) && s.Users[guess].User == u {
		return &s.Users[guess]
	}
	return s.Find(u)
}

// live is call.State.LiveFor for a participant at hand. A closed record is live for nobody.
func live(s *call.State, p *call.Participant) bool {
	return s.Open() && !s.Closed && p.State.Live()
}

// against is the verdict of the compare-and-set: nil or call.ErrConflict.
func (c *change) against(s standing) error {
	if s.revision != c.prev || (s.place == apart && !c.closed) {
		return call.ErrConflict
	}
	return nil
}

// home is where the record will lie.
func (c *change) home() place {
	if c.closed {
		return apart
	}
	return among
}
