package client

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"carillon/transport/wire"
)

// noticeWithin is how soon a device on which a call is pending finds out that its server's host has died.
const noticeWithin = watchSilence + watchEcho

// A device on which a call is pending finds out soon that its server is gone, whenever that is, and on the next connection too.
func TestDeadServerWhileACallIsPending(t *testing.T) {
	for name, begin := range map[string]func(*world, *Client, *peer){
		"it rings": func(w *world, _ *Client, p *peer) {
			p.tell(receivedEvent(ringing(7, 1, 5*time.Minute)))
			wait(w.t, p.frames)
		},
		"it waits for bob": func(w *world, c *Client, p *peer) {
			done := later(w.t, invite(context.Background(), c))
			p.answer(wait(w.t, p.frames), &wire.Response{Call: snapshot(7, 1, user("alice", accepted), user("bob", inviting))})
			if _, err := done(); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		for _, after := range []time.Duration{0, time.Second, 1900 * time.Millisecond, 3500 * time.Millisecond, 25 * time.Second} {
			t.Run(fmt.Sprintf("%s for %v", name, after), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					c, p := w.connect(w.config())
					w.became(Connected)
					elapse(9 * time.Second)
					begin(w, c, p)
					for range 2 {
						elapse(after)
						w.net.kill(serverAddress)
						start := time.Now()
						cause := w.became(Reconnecting).Reason
						if took := time.Since(start); took > noticeWithin || !errors.Is(cause, errNoEcho) {
							t.Errorf("noticed after %v: %v", took, cause)
						}
						w.net.revive(serverAddress)
						still := snapshot(7, 1, user("alice", accepted), user("bob", inviting))
						still.IsMainDevice = true
						if name == "it rings" {
							still = ringing(7, 1, 5*time.Minute)
						}
						w.login(&wire.LoginResult{Sync: snapshots(still)})
						w.became(Connected)
					}
				})
			})
		}
	}
}

// Once nobody is pending any more the client looks no more often than before.
func TestWatchEnds(t *testing.T) {
	for name, end := range map[string]func(*peer){
		"cancelled": func(p *peer) { p.tell(cancelledEvent(7, 2)) },
		"answered":  func(p *peer) { p.tell(changedEvent(7, 2, 0, user("alice", accepted))) },
		"runs out":  func(*peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				_, p := w.connect(w.config())
				p.tell(receivedEvent(ringing(7, 1, 30*time.Second)))
				elapse(20 * time.Second)
				watched := len(p.beats())
				if watched < 10 || watched > 13 {
					t.Errorf("%d heartbeats in 20 s of ringing", watched)
				}
				end(p)
				elapse(15 * time.Second)
				before := len(p.beats())
				elapse(30 * time.Second)
				if n := len(p.beats()) - before; n < 2 || n > 4 {
					t.Errorf("%d heartbeats in the 30 s after it", n)
				}
			})
		})
	}
}

// Whatever the server sends is a sign of life: no echo is missed, and no heartbeat needed but the usual ones.
func TestAnyFrameIsASignOfLife(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		p.setDeaf()
		p.tell(receivedEvent(ringing(7, 1, time.Minute)))
		for range 20 {
			elapse(1500 * time.Millisecond)
			p.tell(changedEvent(7, 1, 0, user("carol", received)))
		}
		if n := len(p.beats()); c.State() != Connected || n < 2 || n > 4 {
			t.Errorf("%v after %d heartbeats in 30 s", c.State(), n)
		}
	})
}

// A heartbeat interval below the watch's is kept to.
func TestWatchAtAShortInterval(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dialled := w.dial(w.config())
		p, _ := w.login(&wire.LoginResult{HeartbeatIntervalMs: 500})
		if _, err := dialled(); err != nil {
			t.Fatal(err)
		}
		p.tell(receivedEvent(ringing(7, 1, time.Minute)))
		elapse(10 * time.Second)
		if n := len(p.beats()); n < 18 || n > 26 {
			t.Errorf("%d heartbeats in 10 s at two a second", n)
		}
	})
}
