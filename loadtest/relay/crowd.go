package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// What the users do.
const (
	Ring       = 100 * time.Millisecond // from the ring to the accept
	sockets    = 4
	maxDials   = 24
	maxRinging = 100_000
	patience   = 3 * time.Second // until the last set-up of an offer must be over
	enterTime  = 10 * time.Second
	poll       = 5 * time.Millisecond
)

// Crowd is users of a Server, each on a connection of his own.
type Crowd struct {
	sockets []*socket
	users   []*pipe
	readers sync.WaitGroup
	ringing chan ringer // in the order in which they accept
	over    context.Context
	stop    context.CancelFunc

	done atomic.Int64
	last atomic.Int64 // Unix nanoseconds, of the last that was done
}

type socket struct {
	packets *net.UDPConn
	quic    *quic.Transport
}

// ringer is a user who will accept.
type ringer struct {
	at   time.Time
	user *pipe
	call message
}

// Offered is what came of an offer.
type Offered struct {
	Asked, Done int
	Took        time.Duration // from the first invitation to the end of the last set-up, less what that lasts by itself
}

// Gather connects users to the Server at addr.
func Gather(ctx context.Context, addr string, users int) (*Crowd, error) {
	if users < 2 || users > maxUsers {
		return nil, fmt.Errorf("relay: %d users are not within 2..%d", users, maxUsers)
	}
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	c := &Crowd{users: make([]*pipe, users), ringing: make(chan ringer, maxRinging)}
	c.over, c.stop = context.WithCancel(context.Background())
	c.readers.Go(c.accept)
	for range sockets {
		packets, err := openSocket(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.sockets = append(c.sockets, &socket{packets, &quic.Transport{Conn: packets, ConnectionIDLength: 8}})
	}
	if err := c.enter(ctx, to); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// enter connects all users, some at a time.
func (c *Crowd) enter(ctx context.Context, to *net.UDPAddr) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, maxDials)
	var dials sync.WaitGroup
	for i := 0; i < len(c.users) && ctx.Err() == nil; i++ {
		slots <- struct{}{}
		dials.Go(func() {
			defer func() { <-slots }()
			if err := c.dial(ctx, to, i); err != nil {
				cancel(fmt.Errorf("relay: user %d: %w", i, err))
			}
		})
	}
	dials.Wait()
	return context.Cause(ctx)
}

func (c *Crowd) dial(ctx context.Context, to *net.UDPAddr, i int) error {
	ctx, cancel := context.WithTimeout(ctx, enterTime)
	defer cancel()
	trust := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13} // on loopback
	conn, err := c.sockets[i%sockets].quic.Dial(ctx, to, trust, quicConfig())
	if err != nil {
		return err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		_ = conn.CloseWithError(0, "")
		return err
	}
	p := &pipe{conn: conn, stream: stream}
	c.users[i] = p
	known := make(chan struct{})
	var once sync.Once
	c.readers.Go(func() {
		_ = readFrames(stream, func(m message) error { // its end is the Crowd's
			if m.kind == hello {
				once.Do(func() { close(known) })
			}
			return c.hear(p, uint32(i), m)
		})
		p.end()
	})
	if err := p.send(message{kind: hello, peer: uint32(i)}); err != nil {
		return err
	}
	select {
	case <-known:
		return nil
	case <-conn.Context().Done():
		return context.Cause(conn.Context())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hear takes a frame for a user.
func (c *Crowd) hear(p *pipe, me uint32, m message) error {
	switch m.kind {
	case ring:
		select {
		case c.ringing <- ringer{time.Now().Add(Ring), p, message{accept, m.peer, m.call}}:
		default: // it is not done, and counted so
		}
		return p.send(message{receipt, m.peer, m.call})
	case told:
		if inviter(m.call) == me {
			c.last.Store(time.Now().UnixNano())
			c.done.Add(1)
		}
	}
	return nil
}

// A call's number holds its inviter's.
func number(n int, inviter uint32) uint64 { return uint64(n)<<32 | uint64(inviter) }
func inviter(call uint64) uint32          { return uint32(call) }

// accept has users accept when it is time.
func (c *Crowd) accept() {
	for {
		select {
		case <-c.over.Done():
			return
		case r := <-c.ringing:
			time.Sleep(time.Until(r.at)) // Ring at most
			_ = r.user.send(r.call)      // if it fails the set-up is not done, and counted so
		}
	}
}

// Offer has random users invite each other at a rate, on schedule, whatever becomes of the others, and waits until all is done
// that can be.
func (c *Crowd) Offer(ctx context.Context, rate float64, during time.Duration) (Offered, error) {
	out := Offered{Asked: int(rate * during.Seconds())}
	c.done.Store(0)
	start := time.Now()
	for n := range out.Asked {
		time.Sleep(time.Until(start.Add(time.Duration(float64(n) / rate * float64(time.Second)))))
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		a, b := rand.IntN(len(c.users)), rand.IntN(len(c.users)-1)
		if b >= a {
			b++
		}
		if err := c.users[a].send(message{invite, uint32(b), number(n, uint32(a))}); err != nil {
			return out, fmt.Errorf("relay: user %d: %w", a, err)
		}
	}
	for end := time.Now().Add(Ring + patience); int(c.done.Load()) < out.Asked && time.Now().Before(end); {
		time.Sleep(poll)
	}
	out.Done = int(c.done.Load())
	out.Took = max(during, time.Unix(0, c.last.Load()).Sub(start)-Ring)
	return out, ctx.Err()
}

// Close ends all connections and waits for their readers.
func (c *Crowd) Close() error {
	c.stop()
	for _, p := range c.users {
		if p != nil {
			p.end()
		}
	}
	var err error
	for _, s := range c.sockets {
		err = errors.Join(err, s.quic.Close(), s.packets.Close())
	}
	c.readers.Wait()
	return err
}
