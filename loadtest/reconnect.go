package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// Bounds of coming back.
const (
	redialTimeout = 3 * time.Second // of one dial with its login
	shunFor       = time.Second     // an address where nobody answers is not dialled
	leastPause    = 50 * time.Millisecond
	mostPause     = 2 * time.Second
	awayLimit     = 2 * time.Minute         // who has no connection after that is lost
	mostAfter     = 5 * time.Second         // that a goAway can ask us to wait
	muddle        = 30 * time.Second        // in which a login that was given up can have its effect
	signOfLife    = 1500 * time.Millisecond // from a heartbeat to its echo
	fresh         = 500 * time.Millisecond  // a connection heard from since is not asked
	suspects      = 200                     // connections that are asked at a time
	suspectPause  = 20 * time.Millisecond
)

var errUnreached = errors.New("nobody answers at")

// errAway asks a device to log in elsewhere.
type errAway struct {
	to    string
	after time.Duration
}

func (e *errAway) Error() string {
	return fmt.Sprintf("told to go away, to %q after %v", e.to, e.after)
}

// comeback is what a user needs to come back. user.mu guards it, but for heard.
type comeback struct {
	number    int          // which socket he dials from
	at        string       // the address that he is or was connected to
	since     time.Time    // when that was
	heard     atomic.Int64 // Unix nanoseconds of the last frame; 0 where connections are not replaced
	entered   bool         // he has logged in once
	returning bool
	entering  bool      // on a new connection, and the login is not answered yet
	muddled   time.Time // when a login of his was last given up without an answer
	asked     time.Time // when an echo was asked for; zero: none is awaited
	calls     []*call   // that go on
}

// lenient reports whether lost connections are replaced.
func (c *crowd) lenient() bool { return c.returns != nil }

// alive notes that something was heard.
func (u *user) alive() {
	if u.crowd.lenient() {
		u.heard.Store(time.Now().UnixNano())
	}
}

// left reports whether the connection was ended by us.
func (u *user) left() bool { return errors.Is(u.state(), errLeft) }

// settle notes that the user has logged in for the first time.
func (u *user) settle(number int) {
	if !u.crowd.lenient() {
		return
	}
	u.mu.Lock()
	u.number, u.since, u.entered = number, time.Now(), true
	lost, conn := u.lost, u.conn
	u.mu.Unlock()
	if lost != nil { // since the answer to his login
		u.crowd.readers.Go(func() { u.broken(conn, lost) })
	}
}

// gone has a user come back whose connection has ended. It runs on the goroutine of the connection's reader.
func (c *crowd) gone(u *user, why error) {
	if !c.lenient() || errors.Is(why, errLeft) || errors.Is(why, errTold) {
		return
	}
	u.mu.Lock()
	begins := u.entered && !u.returning
	u.returning = u.returning || begins
	u.mu.Unlock()
	if begins {
		if away := (*errAway)(nil); !errors.As(why, &away) {
			c.doubt(u.address()) // others may have lost theirs by the same
		}
		c.returns.note(1)
		c.comeBack(u, why)
	}
}

// comeBack logs a user in again, wherever that works. It gives up after awayLimit.
func (c *crowd) comeBack(u *user, why error) {
	r := c.returns
	ctx, cancel := context.WithTimeout(r.ctx, awayLimit)
	defer cancel()
	var to string
	pause := rand.N(leastPause)
	if away := (*errAway)(nil); errors.As(why, &away) {
		to, pause = away.to, min(away.after, mostAfter)+rand.N(leastPause)
	}
	for try := 0; rest(ctx, pause) == nil; try++ {
		pause = leastPause + rand.N(min(leastPause<<min(try, 6), mostPause))
		addr := c.choose(u, to)
		to = ""
		if addr == "" {
			continue
		}
		if u.left() {
			r.forget()
			return
		}
		if why = c.enterAgain(ctx, u, addr); why == nil {
			r.note(-1)
			r.back(u)
			if c.stays(u) {
				return
			}
			why = errGone
			r.note(1)
		}
	}
	if r.ctx.Err() == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.away--
		if r.lost++; len(r.given) < maxSamples {
			r.given = append(r.given, fmt.Sprintf("%s did not come back within %v: %v", u.name, awayLimit, why))
		}
	}
}

// stays reports whether a user who has just come back is still there: from now on the loss of his connection is a new one.
func (c *crowd) stays(u *user) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.returning = u.lost != nil
	return !u.returning
}

// choose gives the address to dial: the one asked for, else any, but none where nobody has answered just now; empty: there is none.
func (c *crowd) choose(u *user, to string) string {
	if to != "" && !c.returns.shuns(to) {
		return to
	}
	good := slices.DeleteFunc(slices.Clone(c.addrs), c.returns.shuns)
	if others := slices.DeleteFunc(slices.Clone(good), func(a string) bool { return u != nil && a == u.at }); len(others) > 0 {
		good = others
	}
	if len(good) == 0 {
		return ""
	}
	return good[rand.IntN(len(good))]
}

// enterAgain logs a user in at an address, and at the one where that redirects to if somebody answers there.
func (c *crowd) enterAgain(ctx context.Context, u *user, addr string) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.returns.shuns(addr) { // meanwhile
		return fmt.Errorf("%w %s just now", errUnreached, addr)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*redialTimeout)
	defer cancel()
	result, err := c.loginAgain(ctx, u, addr)
	if err != nil {
		return err
	}
	to := result.GetRedirect()
	if to != "" && to != addr && !c.returns.shuns(to) {
		if _, err = c.loginAgain(ctx, u, to); err != nil && !errors.Is(err, errUnreached) {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, time.Since(began))
	if to != "" {
		c.redirects++
	}
	return nil
}

// loginAgain gives a user a new connection. Before somebody answers at the address he keeps the one that he has.
func (c *crowd) loginAgain(ctx context.Context, u *user, addr string) (*wire.LoginResult, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err == nil {
		err = c.trust.admits(addr, to.IP)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, redialTimeout)
	defer cancel()
	conn, err := c.sockets[u.number%len(c.sockets)].transport.Dial(ctx, to, c.trust.config(addr), quicConfig)
	if err != nil {
		c.returns.shun(addr)
		return nil, fmt.Errorf("%w %s: %w", errUnreached, addr, err)
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err == nil {
		err = u.attach(conn, stream, addr)
	}
	if err != nil {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(wire.CloseGoingAway), "")
		return nil, err
	}
	return c.greet(ctx, u, conn, stream)
}

// greet logs in on a new connection and starts its reader.
func (c *crowd) greet(ctx context.Context, u *user, conn *quic.Conn, stream *quic.Stream) (*wire.LoginResult, error) {
	answered := make(chan *wire.Response, 1)
	token, err := c.trust.token(u.name, time.Now())
	if err != nil {
		return nil, fmt.Errorf("-token-secret: %w", err)
	}
	known := c.returns.known(u)
	err = u.ask(&wire.ClientFrame{Body: &wire.ClientFrame_Login{Login: &wire.Login{
		UserId: u.name, DeviceId: u.device, Platform: wire.Platform_PLATFORM_LINUX, ClientVersion: "loadtest/1", Token: token, KnownCalls: known,
	}}}, func(r *wire.Response) {
		if r.GetCode() == 0 && r.GetLogin() != nil {
			u.mu.Lock()
			u.entering = false
			u.mu.Unlock()
			c.returns.synced(u, r.GetLogin(), known)
		}
		answered <- r
	})
	if err != nil {
		return nil, err
	}
	c.listen(u, conn, stream, false)
	select {
	case r := <-answered:
		if r.GetCode() == 0 && r.GetLogin() != nil {
			return r.GetLogin(), nil
		}
		err = fmt.Errorf("login refused: %d %s", r.GetCode(), r.GetMessage())
	case <-conn.Context().Done():
		err = context.Cause(conn.Context())
	case <-ctx.Done():
		err = errors.New("no answer to the login")
	}
	u.mu.Lock()
	u.muddled = time.Now()
	u.mu.Unlock()
	_ = conn.CloseWithError(quic.ApplicationErrorCode(wire.CloseGoingAway), "")
	return nil, err
}

// superseded reports whether a kickedOut may come of our own login, which was given up and had its effect after the present one.
func (u *user) superseded(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.crowd.lenient() && now.Sub(u.muddled) < muddle
}

// attach takes a new connection in place of the old one, and forgets who waits for answers on that.
func (u *user) attach(conn *quic.Conn, stream *quic.Stream, addr string) error {
	u.mu.Lock()
	old := u.conn
	if errors.Is(u.lost, errLeft) {
		u.mu.Unlock()
		return errLeft
	}
	u.conn, u.stream, u.at, u.since, u.lost, u.entering = conn, stream, addr, time.Now(), nil, true
	u.waiting, u.asked = map[uint64]func(*wire.Response){}, time.Time{}
	u.mu.Unlock()
	u.alive()
	_ = old.CloseWithError(quic.ApplicationErrorCode(wire.CloseGoingAway), "")
	return nil
}

// on reports whether a connection is still the user's.
func (u *user) on(conn *quic.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conn == conn
}

func (u *user) address() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.at
}

// seek logs a visitor in, wherever that works if connections are replaced.
func (c *crowd) seek(ctx context.Context, i int, v visit) (*user, *wire.LoginResult, error) {
	addr := c.addrs[i%len(c.addrs)]
	if !c.lenient() {
		return c.connect(ctx, i, addr, v)
	}
	ctx, cancel := context.WithTimeout(ctx, awayLimit)
	defer cancel()
	for {
		if other := c.choose(nil, addr); other != "" {
			addr = other
		}
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		one, done := context.WithTimeout(ctx, redialTimeout)
		u, result, err := c.connect(one, i, addr, v)
		done()
		<-c.slots
		if err == nil {
			return u, result, nil
		}
		c.returns.shun(addr)
		if rest(ctx, leastPause) != nil {
			return nil, nil, err
		}
	}
}
