package transport

import (
	"context"
	"fmt"
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

// Drain stops accepting and tells every logged-in client to reconnect to the address to (empty: any node) after a random
// time in [0, spread); clients that have not logged in are closed. It waits until all have left, or ctx is over; then it
// closes the rest with wire.CloseGoingAway, paced over about a second, and returns an error that says how many these were.
// Close comes after it.
func (s *Server) Drain(ctx context.Context, spread time.Duration, to string) error {
	s.stopAccepting()
	s.paced(func(c *Conn) { c.goAway(spread, to) })
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

// goAway asks a logged-in client to reconnect elsewhere and closes any other.
func (c *Conn) goAway(spread time.Duration, to string) {
	after := time.Duration(0)
	if spread > 0 {
		after = rand.N(spread)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.login.complete {
		c.end(ending, wire.CloseGoingAway, "server going away")
		return
	}
	c.send(eventFrame(&wire.Event{TimeMs: c.cfg.Now().UnixMilli(), Kind: &wire.Event_GoAway{GoAway: &wire.GoAway{
		ReconnectAfterMs: uint32(after.Milliseconds()), ReconnectTo: strings.ToValidUTF8(to, "?"),
	}}}))
}
