package main

import (
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// await has the echo of a heartbeat looked for. u.mu is held.
func (u *user) await(now time.Time) {
	conn := u.conn
	u.asked = now
	u.crowd.agenda.at(now.Add(signOfLife), func(time.Time) { u.heed(conn) })
}

// probe asks a connection that has been silent for an echo, and gives it up when none comes.
func (u *user) probe(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost != nil || !u.asked.IsZero() || now.UnixNano()-u.heard.Load() < int64(fresh) {
		return
	}
	if u.write(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: padding[:]}}}) == nil {
		u.await(now)
	}
}

// heed looks whether the echo has come.
func (u *user) heed(conn *quic.Conn) {
	u.mu.Lock()
	if u.conn != conn || u.asked.IsZero() {
		u.mu.Unlock()
		return
	}
	silent := u.lost == nil && u.heard.Load() < u.asked.UnixNano()
	u.asked = time.Time{}
	at := u.at
	u.mu.Unlock()
	if silent {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(wire.CloseGoingAway), "no echo") // its reader sees it
		u.crowd.doubt(at)
	}
}

// doubt asks all connections to an address for a sign of life, some at a time.
func (c *crowd) doubt(addr string) {
	r, now := c.returns, time.Now()
	r.mu.Lock()
	recent := now.Sub(r.suspect[addr]) < signOfLife
	if !recent {
		r.suspect[addr] = now
	}
	r.mu.Unlock()
	if recent {
		return
	}
	c.mu.Lock()
	there := c.present()
	c.mu.Unlock()
	var some func(time.Time)
	some = func(now time.Time) {
		for n := 0; n < suspects && len(there) > 0; there = there[1:] {
			if u := there[0]; u.address() == addr {
				u.probe(now)
				n++
			}
		}
		if len(there) > 0 {
			c.agenda.at(now.Add(suspectPause), some)
		}
	}
	c.agenda.at(now, some)
}

// orphans is how many users still have a connection to a server that has ended since, or none.
func (c *crowd) orphans(ended map[string]time.Time) int {
	c.mu.Lock()
	there := c.present()
	c.mu.Unlock()
	n := c.returns.waiting()
	for _, u := range there {
		u.mu.Lock()
		if u.lost == nil && u.since.Before(ended[u.at]) {
			n++
		}
		u.mu.Unlock()
	}
	return n
}
