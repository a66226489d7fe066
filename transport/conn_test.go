package transport

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// bigFrame is a frame of about size bytes.
func bigFrame(size int) []byte {
	return encode(&wire.ServerFrame{Body: &wire.ServerFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, size)}}})
}

// TestSlowConsumer says that a client that does not read loses its connection once the queue is full, and nobody else
// notices.
func TestSlowConsumer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		// Neither client reads meanwhile: the windows of the first fill up.
		slow, g := r.login("alice", "")
		fine, h := r.login("bob", "")
		frame := bigFrame(8 << 10)
		for range 200 { // the client's window and the queue together hold less
			g.conn.Send(frame)
			synctest.Wait()
		}
		<-g.closed
		var app *quic.ApplicationError
		if err := slow.end(); !errors.As(err, &app) || app.ErrorCode != quic.ApplicationErrorCode(wire.CloseSlowConsumer) {
			t.Errorf("connection ended with %v, want close code %d", err, wire.CloseSlowConsumer)
		}
		h.conn.Send(frame)
		if len(fine.recv().GetHeartbeat().GetPadding()) != 8<<10 {
			t.Error("the other client did not get its frame")
		}
		if n := r.server.Stats().QueueOverflows.Load(); n != 1 {
			t.Errorf("%d queue overflows, want 1", n)
		}
	})
}

// TestStuckConsumer says that a client that reads nothing for WriteTimeout is closed though the queue is not full.
func TestStuckConsumer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		slow, g := r.login("alice", "")
		g.conn.Send(bigFrame(wire.MaxServerFrame - 10))
		<-g.closed
		var app *quic.ApplicationError
		if err := slow.end(); !errors.As(err, &app) || app.ErrorMessage != "client did not read for 10s" {
			t.Errorf("connection ended with %v, want a time-out of the write", err)
		}
	})
}

// TestCloseFlushes says that what was sent before Close arrives before the close code, and nothing after it.
func TestCloseFlushes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		g.conn.Send(bigFrame(200 << 10))
		g.conn.Send(bigFrame(1))
		g.conn.Close(wire.CloseKickedOut, "the same device logged in again")
		g.conn.Send(bigFrame(2))
		g.conn.Close(wire.CloseOverloaded, "too late")
		<-g.closed
		for _, want := range []int{200 << 10, 1} {
			if got := len(c.recv().GetHeartbeat().GetPadding()); got != want {
				t.Errorf("frame of %d bytes, want %d", got, want)
			}
		}
		if _, err := c.next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the last frame %v, want the end of the stream", err)
		}
		if reason := c.wantClose(wire.CloseKickedOut); reason != "the same device logged in again" {
			t.Errorf("reason %q", reason)
		}
	})
}

// TestCloseWithoutGoodbye says that a client need not end its stream to be closed.
func TestCloseWithoutGoodbye(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		g.conn.Close(wire.CloseLoggedOut, "")
		var app *quic.ApplicationError
		if err := c.end(); !errors.As(err, &app) || app.ErrorCode != 0 || !app.Remote {
			t.Errorf("connection ended with %v, want close code 0", err)
		}
		if g.ends.Load() != 1 {
			t.Errorf("Closed was called %d times", g.ends.Load())
		}
	})
}

// TestCloseIgnoresWhatStillComes says that frames which arrive after Close reach nobody.
func TestCloseIgnoresWhatStillComes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		g.conn.Close(wire.CloseLoggedOut, "")
		for range 50 {
			c.beat()
		}
		<-g.closed
		c.wantClose(wire.CloseLoggedOut)
		if n := g.handled.Load(); n != 0 {
			t.Errorf("%d frames were handled", n)
		}
	})
}

// TestAnswersBeforeFIN says that a client that ends its stream still gets its answers.
func TestAnswersBeforeFIN(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c := r.dial()
		id := c.send(loginFrame("alice", ""))
		c.beat()
		_ = c.stream.Close()
		if code := c.response(id).GetCode(); code != 0 {
			t.Error(code)
		}
		if c.recv().GetHeartbeat() == nil {
			t.Error("the heartbeat was not echoed")
		}
		c.wantClose(wire.CloseLoggedOut)
	})
}

// TestClientStopsReading says that STOP_SENDING ends the connection.
func TestClientStopsReading(t *testing.T) {
	inBubble(t, nil, func(_ *testing.T, r *rig) {
		c, g := r.login("alice", "")
		c.stream.CancelRead(1)
		synctest.Wait()
		c.beat()
		<-g.closed
		c.wantClose(wire.CloseLoggedOut)
	})
}

// TestConcurrentSends says that frames sent from many goroutines come out whole, and in each goroutine's order.
func TestConcurrentSends(t *testing.T) {
	inBubble(t, func(cfg *Config) { cfg.Limits.QueueBytes = 4 << 20 }, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		const senders, each = 8, 300
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					g.conn.Send(responseFrame(uint64(s*each+i+1), nil))
				}
			})
		}
		var next [senders]int
		for range senders * each {
			id := int(c.recv().GetResponse().GetRequestId()) - 1
			if s, i := id/each, id%each; i != next[s] {
				t.Fatalf("sender %d: frame %d, want %d", s, i, next[s])
			}
			next[id/each]++
		}
		wg.Wait()
		if s := r.server.Stats(); s.Writes.Load() >= s.FramesOut.Load() {
			t.Errorf("%d writes for %d frames: nothing left together", s.Writes.Load(), s.FramesOut.Load())
		}
	})
}

// TestFlood says that a client that sends as fast as it can is held back, not closed, and that others are served.
func TestFlood(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		flood, g := r.login("mallory", "")
		other, _ := r.login("bob", "")
		done := make(chan struct{})
		go func() {
			defer close(done)
			beats := bytes.Repeat(encode(&wire.ClientFrame{Body: &wire.ClientFrame_InvitationReceipt{
				InvitationReceipt: &wire.InvitationReceipt{CallId: 1},
			}}), 1000)
			for {
				if _, err := flood.stream.Write(beats); err != nil {
					return
				}
			}
		}()
		go func() { _, _ = io.Copy(io.Discard, flood.stream) }()
		for range 60 {
			elapse(time.Second)
			other.beat()
			other.recv()
		}
		if n := g.handled.Load(); n > 62*200 || n < 50*200 {
			t.Errorf("%d frames in 60 s, want about 200 a second", n)
		}
		_ = flood.conn.CloseWithError(0, "")
		<-done
	})
}

func TestOutbox(t *testing.T) {
	const limit = 1000
	page := make([]byte, maxFrame)
	for name, tt := range map[string]struct {
		pushes []int
		fits   bool
	}{
		"up to the limit":               {[]int{600, 600, 400}, true},
		"over the limit":                {[]int{600, 600, 401}, false},
		"a page in an empty queue":      {[]int{maxFrame}, true},
		"a page, then small ones":       {[]int{maxFrame, 500, 500}, true},
		"a page, then too many":         {[]int{maxFrame, 500, 501}, false},
		"small ones, then a page":       {[]int{1000, maxFrame}, true},
		"too many small ones, a page":   {[]int{501, 500, maxFrame}, false},
		"two pages":                     {[]int{maxFrame, maxFrame}, false},
		"a page and a little in one":    {[]int{maxFrame + limit}, true},
		"a page and too much in one go": {[]int{maxFrame + limit + 1}, false},
	} {
		var o outbox
		fits := true
		for _, size := range tt.pushes {
			fits = fits && o.push(append(page, make([]byte, limit+1)...)[:size], limit)
		}
		if fits != tt.fits {
			t.Errorf("%s: fits is %v, want %v", name, fits, tt.fits)
		}
		o.drop()
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{"abc": "abc", "abcd": "abcd", "abcde": "abcd", "abcé": "abc", "ééé": "éé", "": ""} {
		if got := clip(in, 4); got != want {
			t.Errorf("clip(%q) is %q, want %q", in, got, want)
		}
	}
}
