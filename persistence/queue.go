package persistence

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"carillon/actors/call"
)

// task says what an entry asks for.
type task uint8

const (
	write    task = iota // the change
	register             // the user exists
	expire               // a closed call is forgotten
)

// entry is one thing waiting for a commit.
type entry struct {
	change
	task    task
	user    call.UserID // register
	expired call.Millis // expire: when the call was closed

	won     bool       // the committer's own: the compare-and-set has written it (Postgres)
	verdict chan error // of capacity 1; the committer sends once, unless the entry was withdrawn
	err     error      // the committer's own: the verdict if the group becomes durable

	// Owned by the queue's mutex.
	taken     bool // in the group under way, or settled
	withdrawn bool // its owner has gone before it was taken
}

// pace is how long a committer waits from the beginning of a group to the next. Groups cost what they cost, whatever is in them:
// where much comes few large ones are wanted; where little comes, a wait has no company to show for it. So the wait grows from
// least, up to busy entries a second, to most, from full on.
type pace struct {
	least, most time.Duration
	busy, full  float64 // entries per second
}

// at is the wait at a rate.
func (p pace) at(rate float64) time.Duration {
	grown := (rate - p.busy) / max(1, p.full-p.busy)
	return p.least + time.Duration(float64(p.most-p.least)*min(max(0, grown), 1))
}

// flow is how many entries come per second, lately.
type flow struct {
	rate float64
	at   time.Time
}

const flowTime = 50 * time.Millisecond // over which a rate is taken

// note counts entries that have come since the last note.
func (f *flow) note(n int, now time.Time) {
	since := now.Sub(f.at)
	f.rate = (f.rate*flowTime.Seconds() + float64(n)) / (flowTime + since).Seconds()
	f.at = now
}

// queue holds entries in the order of their coming until the committer takes them, and knows the group that is under way.
type queue struct {
	bytes int  // of records in one group; the first record always fits
	pace  pace // between the beginnings of two groups, unless the second is full

	began time.Time    // the committer's own: the last group
	flow  flow         // the committer's own
	timer *time.Timer  // the committer's own
	nodes atomic.Int64 // which commit to the same database; zero: this one

	mu      sync.Mutex
	waiting []*entry
	head    int // of waiting
	urgent  int // of waiting: those that aren't patient
	stopped bool
	flying  []*entry      // the group under way
	landed  chan struct{} // closed when it has become durable or failed; nil between groups
	wake    chan struct{} // of capacity 1
}

func newQueue(bytes int, pace pace) *queue {
	q := &queue{bytes: bytes, pace: pace, timer: time.NewTimer(time.Hour), wake: make(chan struct{}, 1)}
	q.timer.Stop()
	return q
}

// push appends e, which then belongs to the queue until its verdict; false after stop.
func (q *queue) push(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return false
	}
	q.waiting = append(q.waiting, e)
	n := len(q.waiting) - q.head
	news := n == 1 || n == maxGroup
	if !e.patient {
		q.urgent++
		news = news || q.urgent == 1
	}
	if news { // for the committer; all else he finds when he wakes by himself
		q.rouse()
	}
	return true
}

func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// withdraw takes e back if it hasn't been taken. Its place in the queue stays counted until the committer comes by.
func (q *queue) withdraw(e *entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.taken {
		return false
	}
	e.withdrawn = true
	return true
}

// stop lets nothing more in; what waits is still committed.
func (q *queue) stop() {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	q.rouse()
}

// take waits for entries and makes them the group under way, appended to group[:0]. Withdrawn ones go to drop. It gives false
// when the queue has stopped and is empty.
func (q *queue) take(group []*entry, drop func(*entry)) ([]*entry, bool) {
	for q.wait() {
		if group = q.grab(group, drop); len(group) > 0 {
			return group, true
		}
	}
	return nil, false
}

// wait blocks until it is time for a group; false when the queue has stopped and is empty.
func (q *queue) wait() bool {
	for alone := (time.Time{}); ; {
		n, urgent, stopped := q.look()
		if stopped || n >= maxGroup {
			q.began = time.Now()
			return n > 0
		}
		if n == 0 {
			<-q.wake
			continue
		}
		now := time.Now()
		next := q.began.Add(q.pause())
		switch {
		case urgent > 0:
		case alone.IsZero():
			alone = now
			fallthrough
		default: // who is patient goes with the first who isn't
			if late := alone.Add(patientWait); late.After(next) {
				next = late
			}
		}
		if !next.After(now) {
			q.began = now
			return true
		}
		q.doze(next.Sub(now))
	}
}

// pause is how long to wait from one group's beginning to the next. Nodes that commit to one database share what it can do: each
// further one makes all wait for half as long again.
func (q *queue) pause() time.Duration {
	d := q.pace.at(q.flow.rate)
	return d + d*time.Duration(min(max(0, q.nodes.Load()-1), maxOthers))/2
}

// look tells how many wait, how many of them aren't patient, and whether the queue has stopped.
func (q *queue) look() (n, urgent int, stopped bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) - q.head, q.urgent, q.stopped
}

// doze returns after d, or when there is news.
func (q *queue) doze(d time.Duration) {
	q.timer.Reset(d)
	select {
	case <-q.timer.C:
	case <-q.wake:
		q.timer.Stop()
	}
}

// grab is take for what waits now, which may be nothing.
func (q *queue) grab(group []*entry, drop func(*entry)) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	group = q.gather(group[:0], drop)
	q.flow.note(len(group), q.began)
	if len(group) > 0 {
		q.flying, q.landed = group, make(chan struct{})
	}
	return group
}

// gather moves what one group may hold.
func (q *queue) gather(group []*entry, drop func(*entry)) []*entry {
	size := 0
	for q.head < len(q.waiting) && len(group) < maxGroup {
		e := q.waiting[q.head]
		if size += len(e.record); size > q.bytes && len(group) > 0 {
			break
		}
		q.waiting[q.head] = nil
		q.head++
		if !e.patient {
			q.urgent--
		}
		if e.withdrawn {
			drop(e)
			continue
		}
		e.taken = true
		group = append(group, e)
	}
	if q.head == len(q.waiting) {
		q.waiting, q.head = q.waiting[:0], 0
	}
	if q.head > maxQueued { // a queue that never empties: move the rest to the front
		n := copy(q.waiting, q.waiting[q.head:])
		clear(q.waiting[n:])
		q.waiting, q.head = q.waiting[:n], 0
	}
	return group
}

// land ends the group under way.
func (q *queue) land() {
	q.mu.Lock()
	q.flying = nil
	close(q.landed)
	q.landed = nil
	q.mu.Unlock()
}

// flight gives the channel that the group under way closes when it lands, if it holds call id (0 = any), else nil.
func (q *queue) flight(id call.ID) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if id == 0 {
		return q.landed
	}
	for _, e := range q.flying {
		if e.id == id && e.task != register {
			return q.landed
		}
	}
	return nil
}

var errFull = fmt.Errorf("%w: %d transitions are waiting already", call.ErrUnavailable, maxQueued)
