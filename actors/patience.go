package actors

import (
	"context"
	"sync"
	"time"

	"carillon/actors/call"
)

// saveTimeout bounds how long an actor waits for its store; after it the outcome is unknown.
const saveTimeout = 5 * time.Second

// patience is contexts that end after saveTimeout, or up to sharedFor later: each has a timer, so those who begin to wait within
// sharedFor share one.
type patience struct {
	mu     sync.Mutex
	shared context.Context
	cancel context.CancelFunc // not before it has ended by itself: others wait with it
	until  time.Time          // when another is made
}

const sharedFor = 100 * time.Millisecond

// limit bounds a wait that begins now. Who has a context of his own, with a span, has a timer of his own.
func (p *patience) limit(ctx context.Context, now time.Time) (context.Context, context.CancelFunc) {
	if p == nil || ctx != context.Background() {
		return context.WithTimeout(ctx, saveTimeout)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared == nil || !now.Before(p.until) {
		p.shared, p.cancel = context.WithTimeout(context.Background(), saveTimeout+sharedFor)
		p.until = now.Add(sharedFor)
	}
	return p.shared, func() {}
}

// What is used again by one call after another: a Store keeps no transitions, and events are told when a step is over.
var (
	transitions = sync.Pool{New: func() any { return new([1]call.Transition) }}
	eventRoom   = sync.Pool{New: func() any { return new([]call.Event) }}
)

const maxEventRoom = 64 // a longer slice is left to the collector
