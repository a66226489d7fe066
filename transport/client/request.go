package client

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// operation is one request of the app over all its attempts.
type operation struct {
	frame     *wire.ClientFrame // body; do sets the rest
	command   CommandID         // zero: do makes one
	call      CallID            // that it is about, if it exists
	takesMain bool              // on success this device is the main device
	query     bool              // changes no call: has no command ID
}

// frameMargin is room for the request ID in a frame, in bytes.
const frameMargin = 16

// do sends op until it is answered, on this connection or the next, always under the same command ID (SPEC 9.3).
func (c *Client) do(ctx context.Context, op operation) (*wire.Response, error) {
	if !op.query {
		if op.command == (CommandID{}) {
			_, _ = rand.Read(op.command[:]) // never fails
		}
		op.frame.CommandId = op.command[:]
	}
	if n := proto.Size(op.frame) + frameMargin; n > wire.MaxClientFrame {
		return nil, newError(BadParameter, nil, "the request is %d bytes long, limit %d", n, wire.MaxClientFrame)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestBudget)
	defer cancel()
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-ctx.Done():
		return nil, c.gaveUp(ctx, op, progress{}, nil)
	}
	c.act(op.call, 1)
	defer c.act(op.call, -1)
	return c.pursue(ctx, op)
}

// progress is how far an operation has come.
type progress struct {
	sent bool // at least once
	lost bool // the connection of the last attempt has ended
}

func (c *Client) pursue(ctx context.Context, op operation) (*wire.Response, error) {
	var p progress
	var last *wire.Response // an answer that is worth another attempt
	for try := 0; ; try++ {
		l, err := c.ready(ctx)
		if err != nil {
			return nil, c.gaveUp(ctx, op, p, last)
		}
		r, err := c.ask(ctx, l, op, &p)
		switch {
		case err != nil:
			return nil, err
		case r == nil && ctx.Err() != nil:
			return nil, c.gaveUp(ctx, op, p, last)
		case r == nil:
			continue
		case r.Code == 0:
			return r, nil
		}
		wait, again := c.repeatAfter(r, try)
		if !again || sleep(ctx, wait) != nil {
			return nil, op.failed(r)
		}
		last = r
	}
}

// repeatAfter tells whether, and when, an operation that was refused for a passing reason is sent again.
func (c *Client) repeatAfter(r *wire.Response, try int) (time.Duration, bool) {
	switch Code(r.Code) {
	case Internal, TimedOut:
		return c.backoff(try), true
	case TooFrequent:
		return max(millis(r.RetryAfterMs), c.cfg.BackoffMin), c.cfg.RetryTooFrequent
	}
	return 0, false
}

func (op *operation) failed(r *wire.Response) *Error {
	e := errorOf(r)
	e.Command = op.command
	return e
}

// ready waits for a connection.
func (c *Client) ready(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, ended, changed := c.link, c.ended, c.changed
		c.mu.Unlock()
		switch {
		case ended != nil:
			return nil, ended
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case l != nil && !l.leaving():
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// ask sends op on l, again after RequestTimeout and then after twice as long each time, and waits for an answer to any of the
// attempts. It gives nil without an error when the link or ctx ended first.
func (c *Client) ask(ctx context.Context, l *link, op operation, p *progress) (*wire.Response, error) {
	w := &waiting{answer: make(chan *wire.Response, 1), takesMain: op.takesMain, query: op.query}
	var ids []uint64
	defer func() { l.discharge(ids...) }()
	wait := c.cfg.RequestTimeout
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		id := l.enlist(w)
		if id == 0 {
			return nil, nil
		}
		ids = append(ids, id)
		frame := &wire.ClientFrame{RequestId: id, CommandId: op.frame.CommandId, Body: op.frame.Body}
		if err := l.send(frame); errors.Is(err, BadParameter) {
			return nil, err
		}
		p.sent, p.lost = true, false
		select {
		case r := <-w.answer:
			return r, nil
		case <-ctx.Done():
			return nil, nil
		case <-l.done:
			p.lost = true
			select {
			case r := <-w.answer:
				return r, nil
			default:
				return nil, nil
			}
		case <-timer.C:
			l.probe()
			wait *= 2
			timer.Reset(wait)
		}
	}
}

// gaveUp makes the error of an operation that has no answer.
func (c *Client) gaveUp(ctx context.Context, op operation, p progress, last *wire.Response) error {
	ended, cause := c.Err(), ctx.Err()
	var e *Error
	switch {
	case last != nil && ended == nil:
		return op.failed(last)
	case ended != nil && p.sent:
		e = newError(NotLoggedIn, ended, "the client has ended before the answer came")
	case ended != nil:
		e = newError(NotLoggedIn, ended, "the client has ended; nothing was sent")
	case !p.sent:
		e = newError(ConnectionLost, cause, "no connection; nothing was sent")
	case p.lost:
		e = newError(ConnectionLost, cause, "no connection since the request was sent")
	default:
		e = newError(TimedOut, cause, "the server has not answered")
	}
	e.Command = op.command
	return e
}

// act counts the operations under way on a call: a sync blames no other device for what this one did.
func (c *Client) act(id CallID, n int) {
	if id == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acting[id] += n; c.acting[id] == 0 {
		delete(c.acting, id)
	}
}
