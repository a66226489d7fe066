package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// Bounds of a crowd's way in.
const (
	maxDials     = 24 // at once: the server's accept queue is 32
	loginTimeout = 10 * time.Second
	firstPause   = 20 * time.Millisecond // before a dial that was refused is tried again; doubles
	lastPause    = time.Second
	socketBuffer = 8 << 20 // bytes
)

// crowd is many users on few sockets.
type crowd struct {
	addrs   []string
	trust   trust
	agenda  *agenda
	hear    func(told)
	sockets []*socket
	readers sync.WaitGroup
	online  atomic.Int64  // connections that have a reader
	slots   chan struct{} // a place for each dial
	returns *returns      // nil: a lost connection stays lost

	visits  chan visit
	doors   sync.WaitGroup // who receives them
	dismiss context.CancelFunc

	mu        sync.Mutex
	users     []*user // by number, so that a seed means the same; nil: not logged in
	redirects int
	logins    []time.Duration

	visitors map[*user]struct{}
	visited  int      // visits so far
	seats    int      // taken by visitors, of maxVisitors
	left     int      // visitors' connections that have ended by themselves
	reasons  []string // why the first ones did
}

// socket is a UDP socket and what quic-go has on it.
type socket struct {
	packets   *net.UDPConn
	transport *quic.Transport
}

// newCrowd opens the sockets; the crowd has nobody yet.
func newCrowd(addrs []string, sockets int, a *agenda, hear func(told)) (*crowd, error) {
	c := &crowd{
		addrs: addrs, agenda: a, hear: hear, slots: make(chan struct{}, maxDials),
		visits: make(chan visit, maxVisitors), visitors: map[*user]struct{}{}, dismiss: func() {},
	}
	for range sockets {
		packets, err := net.ListenUDP("udp", &net.UDPAddr{})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open a socket: %w", err), c.close())
		}
		_ = packets.SetReadBuffer(socketBuffer) // as much as the system gives
		_ = packets.SetWriteBuffer(socketBuffer)
		c.sockets = append(c.sockets, &socket{packets: packets, transport: &quic.Transport{Conn: packets, ConnectionIDLength: 8}})
	}
	return c, nil
}

// grow logs users in, spread over the addresses, until there are so many. It stops at the first that cannot.
func (c *crowd) grow(ctx context.Context, prefix string, size int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var dials sync.WaitGroup
	first := len(c.users)
	c.users = append(c.users, make([]*user, max(0, size-first))...)
	for i := first; i < size && ctx.Err() == nil; i++ {
		c.slots <- struct{}{}
		dials.Go(func() {
			defer func() { <-c.slots }()
			if err := c.enter(ctx, i, fmt.Sprint(prefix, i)); err != nil {
				cancel(err)
			}
		})
	}
	dials.Wait()
	return context.Cause(ctx)
}

// enter logs one user in, and follows a redirect once.
func (c *crowd) enter(ctx context.Context, i int, name string) error {
	began := time.Now()
	v := visit{user: name, device: firstID}
	u, result, err := c.connect(ctx, i, c.addrs[i%len(c.addrs)], v)
	if err != nil {
		return err
	}
	moved := result.GetRedirect() != ""
	if moved {
		u.end()
		if u, result, err = c.connect(ctx, i, result.GetRedirect(), v); err != nil {
			return fmt.Errorf("redirected: %w", err)
		}
	}
	c.mu.Lock()
	c.users[i] = u
	u.settle(i)
	c.logins = append(c.logins, time.Since(began))
	if moved {
		c.redirects++
	}
	c.mu.Unlock()
	c.beat(u, time.Duration(result.GetHeartbeatIntervalMs())*time.Millisecond)
	return nil
}

// connect dials and logs a device in, a visitor's if it has a seat; a server that refuses connections for being busy is asked again.
func (c *crowd) connect(ctx context.Context, i int, to string, v visit) (*user, *wire.LoginResult, error) {
	addr, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return nil, nil, fmt.Errorf("-addr %s: %w", to, err)
	}
	if err := c.trust.admits(to, addr.IP); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		conn, err := c.sockets[i%len(c.sockets)].transport.Dial(ctx, addr, c.trust.config(to), quicConfig)
		if err == nil {
			return c.login(ctx, conn, to, v)
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, nil, fmt.Errorf("%s cannot connect to %s: %w", v.user, to, err)
		case <-wait.C:
		}
	}
}

var quicConfig = &quic.Config{
	HandshakeIdleTimeout: loginTimeout, MaxIdleTimeout: 2 * time.Minute, DisablePathMTUDiscovery: true,
	MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
	InitialStreamReceiveWindow: 16 << 10, InitialConnectionReceiveWindow: 32 << 10,
}

func (c *crowd) login(ctx context.Context, conn *quic.Conn, to string, v visit) (*user, *wire.LoginResult, error) {
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%s at %s: %w", v.user, to, err)
	}
	u := &user{
		name: v.user, device: v.device, seat: v.seat, crowd: c, conn: conn, stream: stream, waiting: map[uint64]func(*wire.Response){},
	}
	u.at = to
	token, err := c.trust.token(v.user, time.Now())
	if err != nil {
		u.end()
		return nil, nil, fmt.Errorf("-token-secret: %w", err)
	}
	answered := make(chan *wire.Response, 1)
	err = u.ask(&wire.ClientFrame{Body: &wire.ClientFrame_Login{Login: &wire.Login{
		UserId: v.user, DeviceId: v.device, Platform: wire.Platform_PLATFORM_LINUX, ClientVersion: "loadtest/1", Token: token,
	}}}, func(r *wire.Response) {
		if v.answered != nil {
			v.answered(u, r)
		}
		answered <- r
	})
	if err != nil {
		u.end()
		return nil, nil, fmt.Errorf("%s at %s: %w", v.user, to, err)
	}
	c.listen(u, conn, stream, true)
	select {
	case r := <-answered:
		if r.GetCode() == 0 && r.GetLogin() != nil {
			return u, r.GetLogin(), nil
		}
		err = fmt.Errorf("login refused: %d %s", r.GetCode(), r.GetMessage())
	case <-conn.Context().Done():
		err = context.Cause(conn.Context())
	case <-ctx.Done():
		err = errors.New("no answer to the login")
	}
	u.end()
	return nil, nil, fmt.Errorf("%s at %s: %w", v.user, to, err)
}

// listen starts a connection's reader.
func (c *crowd) listen(u *user, conn *quic.Conn, stream *quic.Stream, first bool) {
	if u.seat != nil && first {
		c.came(u)
	}
	c.online.Add(1)
	c.readers.Go(func() {
		err := u.follow(conn, stream)
		c.online.Add(-1)
		u.broken(conn, err)
		if u.seat != nil && u.on(conn) { // and not on another one since
			c.went(u)
		}
	})
}

// beat keeps a user's heartbeats in the agenda, the first one at a random moment.
func (c *crowd) beat(u *user, interval time.Duration) {
	if interval <= 0 {
		interval = 10 * time.Second
	}
	var next func(time.Time)
	next = func(now time.Time) {
		if u.beat(now, interval) == nil || c.lenient() && !u.left() {
			c.agenda.at(now.Add(interval), next)
		}
	}
	c.agenda.at(time.Now().Add(rand.N(interval)), next)
}

// present are the users who have logged in. c.mu is held.
func (c *crowd) present() []*user {
	return slices.DeleteFunc(slices.Clone(c.users), func(u *user) bool { return u == nil })
}

// entered is how many users have logged in.
func (c *crowd) entered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.logins)
}

// lost is how many connections have ended by themselves, and why the first ones did.
func (c *crowd) lost() (count int, reasons []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count, reasons = c.left, slices.Clone(c.reasons)
	if c.lenient() {
		count, reasons = c.returns.stayedAway()
	}
	for _, u := range c.present() {
		if err := u.state(); err != nil && !errors.Is(err, errLeft) && (!c.lenient() || errors.Is(err, errTold)) {
			if count++; count <= maxSamples {
				reasons = append(reasons, fmt.Sprint(u.name, ": ", err))
			}
		}
	}
	return count, reasons
}

// lose notes why a visitor's connection has ended. c.mu is held.
func (c *crowd) lose(u *user, err error) {
	if errors.Is(err, errLeft) {
		return
	}
	if c.left++; c.left <= maxSamples {
		c.reasons = append(c.reasons, fmt.Sprint(u.name, ": ", err))
	}
}

// close ends all connections and waits for their readers.
func (c *crowd) close() error {
	if c.lenient() {
		c.returns.stop()
	}
	c.dismiss()
	c.doors.Wait()
	c.mu.Lock()
	users := slices.AppendSeq(c.present(), maps.Keys(c.visitors))
	c.mu.Unlock()
	for _, u := range users {
		u.end()
	}
	var err error
	for _, s := range c.sockets {
		err = errors.Join(err, s.transport.Close(), s.packets.Close())
	}
	c.readers.Wait()
	return err
}
