package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// Bounds of a connection, and what holds when the server does not say.
const (
	idleTimeout      = 2 * time.Minute // the server's own, usually shorter, counts
	streamWindow     = 32 << 10        // bytes
	maxStreamWindow  = 256 << 10
	connectionIDs    = 8 // bytes of a connection ID, on a socket of the client's own
	defaultHeartbeat = 10 * time.Second
	leastHeartbeat   = 50 * time.Millisecond
	maxHostAddresses = 4 // addresses tried of one host name
	clientVersion    = "carillon-go/1"
)

func quicConfig(timeout time.Duration) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: timeout, MaxIdleTimeout: idleTimeout, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: maxStreamWindow,
		InitialConnectionReceiveWindow: streamWindow, MaxConnectionReceiveWindow: maxStreamWindow,
		DisablePathMTUDiscovery: true, TokenStore: quic.NewLRUTokenStore(1, 2),
	}
}

// round tries each address once, first (if any) before the others, and gives the first link that has logged in.
func (c *Client) round(ctx context.Context, first string) (*link, *wire.LoginResult, error) {
	candidates := c.candidates(first)
	var last error
	for _, address := range candidates {
		patience := c.cfg.DialTimeout
		if address == first && len(candidates) > 1 {
			patience = min(patience, hintPatience)
		}
		l, result, err := c.attempt(ctx, address, patience)
		if err != nil && c.refetch(err) {
			l, result, err = c.attempt(ctx, address, patience)
		}
		if err == nil {
			if i := slices.Index(c.cfg.Addresses, address); i >= 0 {
				c.turn = i
			}
			return c.redirect(ctx, l, result)
		}
		c.shun(address)
		c.cfg.Logger.Info("cannot log in", "user", c.cfg.UserID, "address", address, "err", err)
		last = err
		if ctx.Err() != nil || c.final(err) != nil {
			break
		}
	}
	return nil, nil, last
}

// redirect follows the server's hint once, whatever the answer over there says; when that fails it stays where it is. It does
// not go where the login has just failed: other nodes may not have noticed yet.
func (c *Client) redirect(ctx context.Context, l *link, result *wire.LoginResult) (*link, *wire.LoginResult, error) {
	to := result.GetRedirect()
	if to == "" || to == l.address || time.Now().Before(c.shunned[to]) {
		return l, result, nil
	}
	better, answer, err := c.attempt(ctx, to, min(c.cfg.DialTimeout, hintPatience))
	if err != nil {
		c.shun(to)
		l.superseded = errors.Is(err, errUnanswered) // if the login over there has an effect, l is kicked out
		c.cfg.Logger.Info("redirect not followed", "user", c.cfg.UserID, "address", to, "err", err)
		return l, result, nil
	}
	l.close(errMoving, wire.CloseGoingAway)
	return better, answer, nil
}

// attempt dials one address and logs in there, within patience.
func (c *Client) attempt(ctx context.Context, address string, patience time.Duration) (*link, *wire.LoginResult, error) {
	token, err := c.currentToken(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l, err := c.dial(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	result, err := c.login(ctx, l, token)
	if err != nil {
		l.close(err, wire.CloseGoingAway)
		return nil, nil, err
	}
	l.entered = time.Now()
	interval := millis(result.GetHeartbeatIntervalMs())
	l.start(max(cmp.Or(interval, defaultHeartbeat), leastHeartbeat))
	return l, result, nil
}

func (c *Client) dial(ctx context.Context, address string) (*link, error) {
	hosts, err := resolve(ctx, address)
	if err != nil {
		return nil, newError(ConnectionLost, err, "no address for %s", address)
	}
	name, _, _ := net.SplitHostPort(address)
	for _, host := range hosts {
		var config *tls.Config
		if config, err = c.tlsFor(name, host); err != nil {
			return nil, err
		}
		var l *link
		if l, err = c.dialHost(ctx, host, config); err == nil {
			l.address = address
			return l, nil
		}
	}
	return nil, newError(ConnectionLost, err, "cannot reach %s", address)
}

func (c *Client) dialHost(ctx context.Context, host netip.AddrPort, config *tls.Config) (*link, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	conn, err := s.transport.Dial(ctx, net.UDPAddrFromAddrPort(host), config, quicConfig(c.cfg.DialTimeout))
	if err != nil {
		s.close()
		return nil, err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(wire.CloseGoingAway), "")
		s.close()
		return nil, err
	}
	l := &link{
		host: host.String(), conn: conn, stream: stream, reader: wire.NewReader(stream, wire.MaxServerFrame), born: time.Now(), sockets: []socket{s},
		done: make(chan struct{}), aborted: make(chan struct{}),
	}
	l.abort = context.AfterFunc(c.ctx, func() {
		l.fail(c.ctx.Err(), c.goodbye())
		close(l.aborted)
	})
	return l, nil
}

func (c *Client) open() (socket, error) {
	if c.cfg.Transport != nil {
		return socket{transport: c.cfg.Transport}, nil
	}
	packets, err := c.cfg.Listen()
	if err != nil {
		return socket{}, fmt.Errorf("open a socket: %w", err)
	}
	return socket{transport: &quic.Transport{Conn: packets, ConnectionIDLength: connectionIDs}, packets: packets}, nil
}

// login sends the Login frame and reads its answer; nothing else may come before.
func (c *Client) login(ctx context.Context, l *link, token string) (*wire.LoginResult, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.stream.SetReadDeadline(time.Now()) })
	defer stop()
	w := &waiting{}
	id := l.enlist(w)
	defer l.discharge(id)
	login := &wire.Login{
		UserId: c.cfg.UserID, DeviceId: c.cfg.DeviceID, Platform: platformToWire(c.cfg.Platform), Token: token, KnownCalls: c.known(),
		ClientVersion: clientVersion,
	}
	if err := l.send(&wire.ClientFrame{RequestId: id, Body: &wire.ClientFrame_Login{Login: login}}); err != nil {
		return nil, err
	}
	for {
		frame, err := l.reader.Next()
		if err != nil {
			return nil, newError(ConnectionLost, fmt.Errorf("%w: %w", errUnanswered, l.cause(err)), "login at %s", l.address)
		}
		var f wire.ServerFrame
		if err := proto.Unmarshal(frame, &f); err != nil {
			return nil, newError(ConnectionLost, fmt.Errorf("%w: %w", errGarbage, err), "login at %s", l.address)
		}
		if r := f.GetResponse(); r.GetRequestId() == id {
			if r.GetCode() != 0 {
				return nil, errorOf(r)
			}
			return r.GetLogin(), nil
		}
	}
}

// resolve gives the addresses of host:port, IPv4 first.
func resolve(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil || port < 1 || port > math.MaxUint16 {
		return nil, fmt.Errorf("port %q: %w", service, cmp.Or(err, errors.New("not in 1..65535")))
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(port))}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	hosts := make([]netip.AddrPort, 0, maxHostAddresses)
	for _, ip := range ips[:min(len(ips), maxHostAddresses)] {
		hosts = append(hosts, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return hosts, nil
}

func (c *Client) tlsFor(name string, host netip.AddrPort) (*tls.Config, error) {
	config := &tls.Config{}
	if c.cfg.TLS != nil {
		config = c.cfg.TLS.Clone()
	}
	config.NextProtos = []string{wire.ALPN}
	config.MinVersion = tls.VersionTLS13
	config.ServerName = cmp.Or(config.ServerName, name)
	if c.cfg.Insecure {
		if !host.Addr().IsLoopback() {
			return nil, newError(BadParameter, nil, "Insecure is for loopback addresses only, not for %s", host)
		}
		config.InsecureSkipVerify = true
	}
	return config, nil
}
