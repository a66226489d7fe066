package transport

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"carillon/transport/wire"
)

func TestDrain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		good, _ := r.login("alice", "")
		stubborn, _ := r.login("bob", "")
		stranger := r.dial() // has not logged in
		stranger.beat()
		stranger.recv()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		drained := make(chan error)
		go func() { drained <- r.server.Drain(ctx, 3*time.Second, "other:7443") }()

		for _, c := range []*client{good, stubborn} {
			g := c.recv().GetEvent().GetGoAway()
			if g.GetReconnectTo() != "other:7443" || g.GetReconnectAfterMs() >= 3000 {
				t.Errorf("go away %v, want to other:7443 within 3 s", g)
			}
		}
		stranger.wantClose(wire.CloseGoingAway)
		wantUnanswered(t, r)
		_ = good.conn.CloseWithError(0, "")

		stubborn.wantClose(wire.CloseGoingAway)
		if err := <-drained; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "closed 1 connections") {
			t.Errorf("drain: %v, want one connection closed at the deadline", err)
		}
	})
}

// wantUnanswered wants a dial to fail; while a server drains QUIC just does not answer, or refuses.
func wantUnanswered(t *testing.T, r *rig) {
	t.Helper()
	tr, closeTransport := r.dialer()
	defer closeTransport()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := tr.Dial(ctx, serverAddr, clientTLS(), nil); err == nil {
		t.Error("a draining server accepted a connection")
	}
}

func TestDrainEndsWhenAllHaveLeft(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "")
		go func() {
			if _, err := c.next(); err == nil {
				_ = c.conn.CloseWithError(0, "")
			}
		}()
		if err := r.server.Drain(t.Context(), 0, ""); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
}

func TestDrainOfNobody(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		for range 2 {
			if err := r.server.Drain(t.Context(), time.Second, ""); err != nil {
				t.Errorf("drain: %v", err)
			}
		}
	})
}

func TestDrainPaces(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		var clients []*client
		for range 3 * drainBatch {
			c, _ := r.login("alice", "")
			clients = append(clients, c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.server.Drain(ctx, 0, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("drain: %v", err)
		}
		for _, c := range clients {
			c.wantClose(wire.CloseGoingAway)
		}
	})
}

// TestClose says that Close ends everything at once, whatever state connections are in.
func TestClose(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		idle, g := r.login("alice", "")
		stuck, h := r.login("bob", "")
		h.conn.Send(bigFrame(1<<20 - 100)) // nobody reads it
		closing, k := r.login("carol", "")
		k.conn.Send(bigFrame(1<<20 - 100))
		k.conn.Close(wire.CloseKickedOut, "")
		fresh := r.dial() // no stream yet
		elapse(20 * time.Millisecond)
		if err := errors.Join(r.server.Close(), r.server.Close()); err != nil {
			t.Fatal(err)
		}
		for _, g := range []*gateway{g, h, k} {
			<-g.closed
		}
		idle.wantClose(wire.CloseGoingAway)
		stuck.wantClose(wire.CloseGoingAway)
		fresh.wantClose(wire.CloseGoingAway)
		closing.wantClose(wire.CloseKickedOut)
		if n := r.server.Stats().Open.Load(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}
