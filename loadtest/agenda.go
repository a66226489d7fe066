package main

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// agenda does things at their time, one after the other, on the goroutine that runs it. What is to be done must be short.
type agenda struct {
	mu      sync.Mutex
	entries entries
	order   uint64
	earlier chan struct{} // one place: the first entry has changed
}

type entry struct {
	at    time.Time
	order uint64 // of two at one time the older goes first
	do    func(now time.Time)
}

func newAgenda() *agenda { return &agenda{earlier: make(chan struct{}, 1)} }

// at enters something; anyone may call it. It is not done any more once run has returned.
func (a *agenda) at(t time.Time, do func(now time.Time)) {
	a.mu.Lock()
	a.order++
	e := entry{at: t, order: a.order, do: do}
	heap.Push(&a.entries, e)
	first := a.entries[0].order == e.order
	a.mu.Unlock()
	if first {
		select {
		case a.earlier <- struct{}{}:
		default:
		}
	}
}

// run does what is due until ctx ends.
func (a *agenda) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		e, wait := a.next(time.Now())
		if e != nil {
			e.do(time.Now())
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-a.earlier:
		case <-timer.C:
		}
	}
}

// next takes the entry that is due, or says how long to wait.
func (a *agenda) next(now time.Time) (*entry, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.entries) == 0 {
		return nil, time.Minute
	}
	if wait := a.entries[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	e, _ := heap.Pop(&a.entries).(entry)
	return &e, 0
}

// entries is container/heap's.
type entries []entry

func (e entries) Len() int      { return len(e) }
func (e entries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

func (e entries) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].order < e[j].order
	}
	return e[i].at.Before(e[j].at)
}

// Push is heap.Interface's.
func (e *entries) Push(x any) {
	if one, ok := x.(entry); ok {
		*e = append(*e, one)
	}
}

// Pop is heap.Interface's.
func (e *entries) Pop() any {
	last := len(*e) - 1
	one := (*e)[last]
	(*e)[last] = entry{} // for the garbage collector
	*e = (*e)[:last]
	return one
}
