package actors

import (
	"container/heap"
	"sync"
	"time"
)

// alarms is the node's one clockwork: at most one alarm per key. Alarms are kept for actors that are not in memory too,
// so a call that rests for hours costs an entry here and nothing else.
type alarms[K comparable] struct {
	now  func() time.Time
	ring func(K) // must not block

	mu   sync.Mutex
	byID map[K]*alarm[K]
	heap alarmHeap[K]

	kick chan struct{}
	quit chan struct{}
	done chan struct{}
}

type alarm[K comparable] struct {
	key K
	at  time.Time
	pos int
}

// longestNap bounds a sleep, in case the clock behind now does not run like the one behind timers.
const longestNap = time.Second

func newAlarms[K comparable](now func() time.Time, ring func(K)) *alarms[K] {
	a := &alarms[K]{
		now: now, ring: ring, byID: map[K]*alarm[K]{},
		kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go a.run()
	return a
}

// set moves the key's alarm to t; the zero time removes it.
func (a *alarms[K]) set(key K, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.byID[key]
	switch {
	case e == nil && t.IsZero():
		return
	case e == nil:
		e = &alarm[K]{key: key, at: t}
		a.byID[key] = e
		heap.Push(&a.heap, e)
	case t.IsZero():
		heap.Remove(&a.heap, e.pos)
		delete(a.byID, key)
		return
	case e.at.Equal(t):
		return
	default:
		e.at = t
		heap.Fix(&a.heap, e.pos)
	}
	if e.pos == 0 {
		select {
		case a.kick <- struct{}{}:
		default:
		}
	}
}

// has reports whether the key has an alarm.
func (a *alarms[K]) has(key K) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byID[key] != nil
}

// drop removes the alarms of all keys that the filter lets pass.
func (a *alarms[K]) drop(pass func(K) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.heap[:0]
	for _, e := range a.heap {
		if pass(e.key) {
			delete(a.byID, e.key)
			continue
		}
		e.pos = len(left)
		left = append(left, e)
	}
	clear(a.heap[len(left):])
	a.heap = left
	heap.Init(&a.heap)
}

// count is how many alarms are set.
func (a *alarms[K]) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.heap)
}

func (a *alarms[K]) run() {
	defer close(a.done)
	timer := time.NewTimer(longestNap)
	defer timer.Stop()
	for {
		due, nap := a.due()
		for _, key := range due {
			a.ring(key)
		}
		timer.Reset(nap)
		select {
		case <-a.quit:
			return
		case <-a.kick:
		case <-timer.C:
		}
	}
}

// due takes what has fallen due, and says how long to sleep.
func (a *alarms[K]) due() ([]K, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []K
	now := a.now()
	for len(a.heap) > 0 {
		first := a.heap[0]
		if first.at.After(now) {
			return out, min(longestNap, max(first.at.Sub(now), time.Millisecond))
		}
		heap.Pop(&a.heap)
		delete(a.byID, first.key)
		out = append(out, first.key)
	}
	return out, longestNap
}

func (a *alarms[K]) close() {
	close(a.quit)
	<-a.done
}

type alarmHeap[K comparable] []*alarm[K]

func (h alarmHeap[K]) Len() int           { return len(h) }
func (h alarmHeap[K]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarmHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *alarmHeap[K]) Push(x any) {
	e := x.(*alarm[K])
	e.pos = len(*h)
	*h = append(*h, e)
}

func (h *alarmHeap[K]) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
