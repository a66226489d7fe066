package transport

import (
	"context"
	"errors"
	"math"
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
		go func() {
			drained <- r.server.Drain(ctx, 3*time.Second, func(user string) string { return user + ".other:7443" })
		}()

		for user, c := range map[string]*client{"alice": good, "bob": stubborn} {
			g := c.recv().GetEvent().GetGoAway()
			if g.GetReconnectTo() != user+".other:7443" || g.GetReconnectAfterMs() >= 3000 {
				t.Errorf("go away %v, want to %s.other:7443 within 3 s", g, user)
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
		if err := r.server.Drain(t.Context(), 0, nil); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
}

func TestDrainOfNobody(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		for range 2 {
			if err := r.server.Drain(t.Context(), time.Second, nil); err != nil {
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
		if err := r.server.Drain(ctx, 0, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("drain: %v", err)
		}
		for _, c := range clients {
			c.wantClose(wire.CloseGoingAway)
		}
	})
}

// A client that is asked to go elsewhere is served until it goes.
func TestGoAway(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		for _, want := range []struct {
			after time.Duration
			ms    uint32
			to    string
		}{{1500 * time.Millisecond, 1500, "10.0.0.2:7443"}, {-time.Second, 0, ""}, {math.MaxInt64, math.MaxUint32, ""}} {
			g.conn.GoAway(want.after, want.to)
			e := c.recv().GetEvent()
			if got := e.GetGoAway(); got == nil || got.ReconnectAfterMs != want.ms || got.ReconnectTo != want.to || e.TimeMs == 0 {
				t.Errorf("event %v, want a go away to %q after %d ms", e, want.to, want.ms)
			}
		}
		c.beat()
		if c.recv().GetHeartbeat() == nil {
			t.Error("no answer after the go away")
		}
		_ = c.conn.CloseWithError(0, "")
		<-g.closed
		g.conn.GoAway(0, "") // nobody is there
	})
}

// One who has not logged in is neither asked nor closed.
func TestGoAwayBeforeTheLogin(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c := r.dial()
		c.beat()
		c.recv()
		g := <-r.gateways
		g.conn.GoAway(0, "10.0.0.2:7443")
		if code := c.login("alice", ""); code != 0 {
			t.Errorf("login refused: %d", code)
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
