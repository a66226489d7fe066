package main

import (
	"sync"
	"time"

	"carillon/transport/wire"
)

// Bounds of a book.
const (
	maxEarly = 100_000 // events that wait for the name of their call
	maxPast  = 1 << 20 // calls that are remembered after their end
)

// book finds the call that an event is of. A call is named by its extended data, and gets its ID with the first event that
// carries both; the caller hears of a change before that, so events of an unknown ID wait for it.
type book struct {
	mu     sync.Mutex
	byName map[string]*call
	byID   map[uint64]*call
	early  map[uint64][]told
	waits  int                 // events in early
	past   map[uint64]struct{} // IDs of calls that are over
	oldest []uint64            // the same, as a ring
	turn   int

	late    int // events of calls that are over
	strange int // events that could not be kept
}

// told is an event and whom it was told.
type told struct {
	user  *user
	event *wire.Event
	at    time.Time
}

func newBook() *book {
	return &book{byName: map[string]*call{}, byID: map[uint64]*call{}, early: map[uint64][]told{}, past: map[uint64]struct{}{}}
}

// add enters a call before it begins.
func (b *book) add(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byName[c.name] = c
}

// open is the number of calls in the book.
func (b *book) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byName)
}

// tell gives an event to its call.
func (b *book) tell(t told) {
	id := t.event.GetCallId()
	c := b.meet(id, extendedData(t.event), func() { b.keep(id, t) })
	if c == nil {
		return
	}
	defer c.mu.Unlock()
	c.hear(t.user, t.event, t.at)
}

// find gives the call of an ID or a name with its lock held, nil if there is none.
func (b *book) find(id uint64, name string) *call {
	return b.meet(id, name, func() {})
}

// meet gives the call of an ID or a name with its lock held, and has it hear what waits for it. If there is none it calls
// unknown, with b.mu held.
func (b *book) meet(id uint64, name string, unknown func()) *call {
	b.mu.Lock()
	c, known := b.byID[id]
	if !known {
		if c = b.byName[name]; c == nil {
			unknown()
			b.mu.Unlock()
			return nil
		}
		b.byID[id] = c
	}
	waiting := b.early[id]
	if waiting != nil {
		delete(b.early, id)
		b.waits -= len(waiting)
	}
	if known {
		b.mu.Unlock() // nothing waits
		c.mu.Lock()
	} else {
		c.mu.Lock() // before anybody can find the call by its ID: what waits comes first
		b.mu.Unlock()
		c.identify(id)
	}
	for _, w := range waiting {
		c.hear(w.user, w.event, w.at)
	}
	return c
}

// keep puts an event by until its call has a name. b.mu is held.
func (b *book) keep(id uint64, t told) {
	_, over := b.past[id]
	switch {
	case over:
		b.late++
	case id == 0 || b.waits >= maxEarly:
		b.strange++
	default:
		b.early[id] = append(b.early[id], t)
		b.waits++
	}
}

func extendedData(e *wire.Event) string {
	if s := e.GetCallInvitationReceived(); s != nil {
		return s.GetExtendedData()
	}
	return e.GetCallInvitationCreated().GetExtendedData()
}

// remove takes a call out whose ID is 0 if it never had one.
func (b *book) remove(name string, id uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byName, name)
	if id == 0 {
		return
	}
	delete(b.byID, id)
	if len(b.oldest) < maxPast {
		b.oldest = append(b.oldest, id)
	} else {
		delete(b.past, b.oldest[b.turn])
		b.oldest[b.turn] = id
		b.turn = (b.turn + 1) % maxPast
	}
	b.past[id] = struct{}{}
}

// stray is the number of events that no call of this run accounts for.
func (b *book) stray() (late, strange int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.late, b.strange + b.waits
}
