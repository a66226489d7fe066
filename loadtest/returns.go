package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"carillon/transport/wire"
)

// returns is how a crowd comes back from lost connections.
type returns struct {
	ctx    context.Context
	stop   context.CancelFunc
	known  func(*user) []*wire.KnownCall                     // the calls that a login names
	synced func(*user, *wire.LoginResult, []*wire.KnownCall) // on the reader's goroutine, before any event
	back   func(*user)                                       // he is there, and may send again
	down   func(addr string) bool                            // it is known that nobody answers there
	moved  func(now time.Time, away int, back bool)          // somebody has gone or is back; away is how many are not there now

	mu      sync.Mutex
	away    int
	count   int // connections that were replaced
	given   []string
	lost    int // users who could not come back
	shunned map[string]time.Time
	suspect map[string]time.Time // when the connections to an address were last asked
}

func newReturns() *returns {
	r := &returns{down: func(string) bool { return false }, shunned: map[string]time.Time{}, suspect: map[string]time.Time{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// note counts who is away.
func (r *returns) note(more int) {
	r.mu.Lock()
	r.away += more
	if more < 0 {
		r.count++
	}
	away := r.away
	r.mu.Unlock()
	r.moved(time.Now(), away, more < 0)
}

// forget takes one out of those who are away who will not come back.
func (r *returns) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away--
}

// total is how many connections were replaced.
func (r *returns) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// waiting is how many users are away.
func (r *returns) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away
}

// stayedAway is who could not come back, and why the first ones could not.
func (r *returns) stayedAway() (int, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost, slices.Clone(r.given)
}

func (r *returns) shun(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shunned[addr] = time.Now().Add(shunFor)
}

// shuns reports whether nobody has answered at addr just now, or nobody can.
func (r *returns) shuns(addr string) bool {
	if r.down(addr) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.shunned[addr])
}
