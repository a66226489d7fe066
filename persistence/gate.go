package persistence

import (
	"fmt"
	"sync"

	"carillon/actors/call"
)

var errClosed = fmt.Errorf("%w: the store is closed", call.ErrUnavailable)

// gate lets readers in until it is shut, and whoever shuts it waits for those inside. Unlike a RWMutex it lets a reader that
// is inside ask again without a deadlock: after the shutting he is refused.
type gate struct {
	mu     sync.Mutex
	inside int
	shut   bool
	empty  chan struct{}
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return errClosed
	}
	g.inside++
	return nil
}

// err is nil until the gate is shut.
func (g *gate) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return errClosed
	}
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.shut && g.inside == 0 {
		close(g.empty)
	}
}

// close shuts the gate and waits; false when it was shut already.
func (g *gate) close() bool {
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return false
	}
	g.shut, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
	return true
}
