package client

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// ringGrace is how long a connected client waits for the server's word after an invitation's time is over.
const ringGrace = 2 * time.Second

// serve reads l until it ends, and tells why.
func (c *Client) serve(l *link) error {
	for {
		frame, err := l.next()
		if err != nil {
			return err
		}
		var f wire.ServerFrame
		if err := proto.Unmarshal(frame, &f); err != nil {
			return fmt.Errorf("%w: %w", errGarbage, err)
		}
		switch body := f.Body.(type) {
		case *wire.ServerFrame_Response:
			c.answer(l, body.Response)
		case *wire.ServerFrame_Event:
			if err := c.event(l, body.Event); err != nil {
				return err
			}
		}
	}
}

// answer notes the call as the answer shows it, then hands the answer to its operation.
func (c *Client) answer(l *link, r *wire.Response) {
	w := l.answered(r.GetRequestId())
	if w == nil {
		return
	}
	if r.GetCall() != nil && !w.query {
		call := callOf(r.Call)
		call.IsMainDevice = call.IsMainDevice || w.takesMain && r.Code == 0
		c.mu.Lock()
		c.calls.see(call)
		c.callsChanged()
		c.mu.Unlock()
	}
	select {
	case w.answer <- r:
	default: // another attempt was answered already
	}
}

// event applies e to the calls and gives it to the app. A full queue ends the link before anything is applied.
func (c *Client) event(l *link, e *wire.Event) error {
	ev := eventOf(e)
	if ev == nil {
		return nil
	}
	switch v := ev.(type) {
	case KickedOut:
		if l.superseded {
			return nil
		}
		l.kicked = true
	case GoAway:
		l.goAway(v)
	}
	if err := c.show(ev); err != nil {
		return err
	}
	switch v := ev.(type) {
	case CallInvitationReceived:
		l.receipt(v.CallID)
	case TokenWillExpire:
		c.renewSoon()
	}
	return nil
}

func (c *Client) show(ev Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue.full() {
		return errSlowApp
	}
	if c.calls.apply(ev) {
		c.queue.push(ev)
	}
	c.callsChanged()
	return nil
}

// receipt acknowledges a ring; that the link died meanwhile is the reader's to notice.
func (l *link) receipt(id CallID) {
	_ = l.send(&wire.ClientFrame{Body: &wire.ClientFrame_InvitationReceipt{InvitationReceipt: &wire.InvitationReceipt{CallId: uint64(id)}}})
}

// callsChanged does what follows from a change of the calls. c.mu is held.
func (c *Client) callsChanged() {
	if c.link != nil {
		c.link.watch(c.calls.pending())
	}
	c.armRing()
}

// armRing sets the timer to the end of the invitation that ends first. c.mu is held.
func (c *Client) armRing() {
	at := c.calls.nextSilence()
	switch {
	case at.IsZero() || c.ended != nil:
		if c.ring != nil {
			c.ring.Stop()
		}
		return
	case c.link != nil:
		at = at.Add(ringGrace)
	}
	wait := max(0, time.Until(at))
	if c.ring == nil {
		c.ring = time.AfterFunc(wait, c.silence)
	} else {
		c.ring.Reset(wait)
	}
}

// silence stops what rings past its time (SPEC 9.4).
func (c *Client) silence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return
	}
	now := time.Now()
	if c.link != nil {
		now = now.Add(-ringGrace)
	}
	for _, e := range c.calls.silence(now) {
		c.queue.push(e)
	}
	c.callsChanged()
}
