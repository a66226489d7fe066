package client

import "sync"

// queue holds the events that wait for the app. push never blocks; whoever pushes what the server sent asks full first.
// Events that the client makes itself are let in above the limit: a sync makes at most syncEventsPerCall for each of
// maxCalls calls and comes only when half the queue is free, a ring that ran out at most one per call, and changes of the
// connection three per reconnect.
type queue struct {
	limit  int
	handle func(Event) // nil: the app takes them with next

	mu      sync.Mutex
	more    sync.Cond // signalled on push and close
	events  []Event
	head    int // events[head:] wait
	pumping bool
	closed  bool

	drained chan struct{} // one place: half of the queue, or more, has become free
	done    chan struct{} // closed once the queue is closed and handle has returned
}

const keptEvents = 64 // an empty queue keeps room for this many

func newQueue(limit int, handle func(Event)) *queue {
	q := &queue{limit: limit, handle: handle, drained: make(chan struct{}, 1), done: make(chan struct{})}
	q.more.L = &q.mu
	return q
}

func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events)-q.head >= q.limit
}

func (q *queue) roomy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events)-q.head <= q.limit/2
}

func (q *queue) push(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if len(q.events) == cap(q.events) && q.head > 0 {
		n := copy(q.events, q.events[q.head:])
		clear(q.events[n:])
		q.events, q.head = q.events[:n], 0
	}
	q.events = append(q.events, e)
	if q.handle == nil {
		q.more.Signal()
	} else if !q.pumping {
		q.pumping = true
		go q.pump() // done is closed after it
	}
}

// next waits for an event. It reports false when the queue is closed and empty.
func (q *queue) next() (Event, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.events) == q.head && !q.closed {
		q.more.Wait()
	}
	return q.take()
}

func (q *queue) take() (Event, bool) {
	if len(q.events) == q.head {
		return nil, false
	}
	e := q.events[q.head]
	q.events[q.head] = nil
	q.head++
	if q.head == len(q.events) {
		q.events, q.head = q.events[:0], 0
		if cap(q.events) > keptEvents {
			q.events = nil
		}
	}
	if len(q.events)-q.head <= q.limit/2 {
		select {
		case q.drained <- struct{}{}:
		default:
		}
	}
	return e, true
}

func (q *queue) pump() {
	for {
		q.mu.Lock()
		e, ok := q.take()
		if !ok {
			q.pumping = false
			if q.closed {
				close(q.done)
			}
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		q.handle(e)
	}
}

// close lets no more events in; those that wait can still be taken. It is called once.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
	if !q.pumping {
		close(q.done)
	}
}
