package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"carillon/transport/wire"
)

// Bounds of visits.
const (
	maxVisitors  = 2000             // from the beginning of their call until they have logged out
	logOutWithin = 10 * time.Second // after it the connection is ended without an answer
)

// visit is a device that logs in for one call, and logs out when that is over. Its user is of that call only.
type visit struct {
	seat     *seat
	user     string
	device   string
	answered func(*user, *wire.Response) // called by the reader, before anything else that the device is told
	failed   func(error)
}

// seat is one of maxVisitors, taken until it is free.
type seat struct {
	crowd *crowd
	once  sync.Once
}

func (p *seat) free() {
	p.once.Do(func() {
		p.crowd.mu.Lock()
		defer p.crowd.mu.Unlock()
		p.crowd.seats--
	})
}

// reserve takes seats for n visitors; it gives none if there are fewer.
func (c *crowd) reserve(n int) ([]*seat, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seats+n > maxVisitors {
		return nil, false
	}
	c.seats += n
	out := make([]*seat, n)
	for i := range out {
		out[i] = &seat{crowd: c}
	}
	return out, true
}

// open begins to receive visitors, maxDials at once, until the crowd is closed or ctx ends.
func (c *crowd) open(ctx context.Context) {
	ctx, c.dismiss = context.WithCancel(ctx)
	for range maxDials {
		c.doors.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case v := <-c.visits:
					c.enterVisitor(ctx, v)
				}
			}
		})
	}
}

// receive has a visitor log in; it does not wait.
func (c *crowd) receive(v visit) { c.visits <- v } // has room for all seats

// enterVisitor does not follow a redirect: that a visitor's session is held by another node is what it must bear.
func (c *crowd) enterVisitor(ctx context.Context, v visit) {
	c.mu.Lock()
	i := c.visited
	c.visited++
	c.mu.Unlock()
	u, result, err := c.seek(ctx, i, v)
	if err != nil {
		v.seat.free()
		v.failed(err)
		return
	}
	u.settle(i)
	c.beat(u, time.Duration(result.GetHeartbeatIntervalMs())*time.Millisecond)
}

// came and went keep the visitors who are there.
func (c *crowd) came(u *user) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.visitors[u] = struct{}{}
}

func (c *crowd) went(u *user) {
	u.seat.free()
	err := u.state()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.visitors, u)
	c.lose(u, err)
}

// logOut has a visitor leave. Its answer is the last that he hears.
func (u *user) logOut() {
	err := u.ask(&wire.ClientFrame{Body: &wire.ClientFrame_Logout{Logout: &wire.Logout{}}}, func(r *wire.Response) {
		if code := r.GetCode(); code != 0 {
			u.lose(fmt.Errorf("the logout is refused: %d %s", code, r.GetMessage()))
			return
		}
		u.lose(errLeft) // the server closes the connection
	})
	if err != nil {
		u.end()
		return
	}
	u.crowd.agenda.at(time.Now().Add(logOutWithin), func(time.Time) {
		if !u.crowd.lenient() {
			u.lose(errMute)
		}
		u.end()
	})
}
