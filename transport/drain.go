package transport

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"carillon/transport/wire"
)

// The pace of a drain: a batch every drainTick, so that all connections are through in about a second and small
// servers close at once.
const (
	drainTick  = 10 * time.Millisecond
	drainTicks = 100
	drainBatch = 20 // connections per tick, at least
)

// Drain stops accepting and asks every logged-in client to reconnect, after a random time in [0, spread), to the address
// that to names for its user (empty, or to is nil: any node); clients that have not logged in are closed. It waits until all
// have left, or ctx is over; then it closes the rest with wire.CloseGoingAway, paced over about a second, and returns an
// error that says how many these were. to is called for one user at a time, holding up the drain. Close comes after it.
func (s *Server) Drain(ctx context.Context, spread time.Duration, to func(user string) string) error {
	s.stopAccepting()
	s.paced(func(c *Conn) { c.drain(spread, to) })
	select {
	case <-s.deserted:
		return nil
	case <-ctx.Done():
	}
	stayed := s.paced(func(c *Conn) { c.Close(wire.CloseGoingAway, "server going away") })
	<-s.deserted // bounded by the linger and WriteTimeout of the last connection
	return fmt.Errorf("transport: drain closed %d connections that had not left: %w", stayed, context.Cause(ctx))
}

// stopAccepting refuses new connections; established ones live on.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	first := !s.leaving
	s.leaving = true
	if first && len(s.conns) == 0 {
		close(s.deserted)
	}
	s.mu.Unlock()
	if first {
		s.cfg.Logger.Info("stopped accepting connections", "addr", s.Addr())
	}
	_ = s.listener.Close() // never fails
}

// paced does act to every connection, a batch at a time, and says to how many.
func (s *Server) paced(act func(*Conn)) int {
	list := s.snapshot(nil)
	batch := max(drainBatch, len(list)/drainTicks)
	for i, c := range list {
		if i > 0 && i%batch == 0 {
			time.Sleep(drainTick)
		}
		act(c)
	}
	return len(list)
}

// drain asks a logged-in client to reconnect elsewhere and closes any other.
func (c *Conn) drain(spread time.Duration, to func(user string) string) {
	c.mu.Lock()
	user, loggedIn := c.login.user, c.login.complete
	if !loggedIn {
		c.end(ending, wire.CloseGoingAway, "server going away")
	}
	c.mu.Unlock()
	if !loggedIn {
		return
	}
	var after time.Duration
	if spread > 0 {
		after = rand.N(spread)
	}
	target := ""
	if to != nil {
		target = to(user)
	}
	c.GoAway(after, target)
}

// GoAway asks the client to reconnect to the address to (host:port; empty: any node) after a while, and does nothing else: the
// connection serves on until the client leaves it. A client that is not logged in is not asked. It never blocks.
func (c *Conn) GoAway(after time.Duration, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.login.complete {
		return
	}
	ms := min(max(0, after.Milliseconds()), math.MaxUint32)
	c.send(eventFrame(&wire.Event{TimeMs: c.cfg.Now().UnixMilli(), Kind: &wire.Event_GoAway{GoAway: &wire.GoAway{
		ReconnectAfterMs: uint32(ms), ReconnectTo: strings.ToValidUTF8(to, "?"),
	}}}))
}
