package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

var (
	testSecret = bytes.Repeat([]byte("s3cret"), 6)
	testCert   tls.Certificate
	testRoots  = x509.NewCertPool()
)

func TestMain(m *testing.M) {
	der, key, err := selfSigned(time.Now())
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	testCert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	testRoots.AddCert(testCert.Leaf)
	goleak.VerifyTestMain(m)
}

// rig is a server on a simulated network inside a bubble.
type rig struct {
	t        *testing.T
	net      *network
	server   *Server
	gateways chan *gateway // as the server opens them
	hosts    byte
}

// inBubble runs f with a rig, in virtual time.
func inBubble(t *testing.T, change func(*Config), f func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, net: newNetwork(), gateways: make(chan *gateway, 100)}
		t.Cleanup(r.net.close)
		r.server = r.serve(r.config(change))
		f(t, r)
	})
}

var serverAddr = &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1).To4(), Port: 7443}

func (r *rig) config(change func(*Config)) Config {
	cfg := Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{testCert}, Time: certTime}, Secret: testSecret,
		Authenticator: NoAuth{}, Logger: slog.New(slog.DiscardHandler),
		Open: func(c *Conn) Handler {
			g := &gateway{conn: c, closed: make(chan struct{})}
			r.gateways <- g
			return g
		},
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// serve starts a server at serverAddr, in place of one that is there.
func (r *rig) serve(cfg Config) *Server {
	r.t.Helper()
	socket := r.net.endpoint(serverAddr)
	cfg.PacketConn = socket
	s, err := Listen(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
		_ = socket.Close()
	})
	return s
}

// certTime is an instant at which the test certificate is valid: a bubble's clock starts in 2000.
func certTime() time.Time { return testCert.Leaf.NotBefore.Add(2 * time.Hour) }

// gateway is a Handler that accepts logins, echoes heartbeats and counts.
type gateway struct {
	conn    *Conn
	logins  atomic.Int32
	handled atomic.Int32
	ends    atomic.Int32
	closed  chan struct{}
}

func (g *gateway) Login(f *wire.ClientFrame) {
	g.logins.Add(1)
	g.conn.Send(responseFrame(f.RequestId, nil))
	g.conn.LoggedIn()
}

func (g *gateway) Handle(f *wire.ClientFrame) {
	g.handled.Add(1)
	if h := f.GetHeartbeat(); h != nil {
		g.conn.Send(encode(&wire.ServerFrame{Body: &wire.ServerFrame_Heartbeat{Heartbeat: h}}))
		return
	}
	g.conn.Send(responseFrame(f.RequestId, nil))
}

func (g *gateway) Closed() {
	if g.ends.Add(1) == 1 {
		close(g.closed)
	}
}

// client is a client of the raw protocol.
type client struct {
	t      *testing.T
	conn   *quic.Conn
	stream *quic.Stream
	frames *wire.Reader
	last   uint64
}

func (r *rig) dialer() (*quic.Transport, func()) {
	r.hosts++
	socket := r.net.endpoint(&net.UDPAddr{IP: net.IPv4(10, 0, 1, r.hosts).To4(), Port: 5000})
	tr := &quic.Transport{Conn: socket}
	return tr, func() { _ = tr.Close(); _ = socket.Close() }
}

func clientTLS() *tls.Config {
	return &tls.Config{RootCAs: testRoots, ServerName: "localhost", NextProtos: []string{wire.ALPN}, Time: certTime}
}

// tryDial connects from a host of its own.
func (r *rig) tryDial() (*client, error) {
	r.t.Helper()
	tr, closeTransport := r.dialer()
	r.t.Cleanup(closeTransport)
	conn, err := tr.Dial(context.Background(), serverAddr, clientTLS(),
		&quic.Config{MaxIdleTimeout: 10 * time.Minute, DisablePathMTUDiscovery: true})
	if err != nil {
		return nil, err
	}
	c := &client{t: r.t, conn: conn}
	if c.stream, err = conn.OpenStream(); err != nil {
		return nil, err
	}
	c.frames = wire.NewReader(c.stream, wire.MaxServerFrame)
	r.t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return c, nil
}

func (r *rig) dial() *client {
	r.t.Helper()
	c, err := r.tryDial()
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// login dials and logs in, and gives the server's side too.
func (r *rig) login(user, token string) (*client, *gateway) {
	r.t.Helper()
	c := r.dial()
	if code := c.login(user, token); code != 0 {
		r.t.Fatalf("login refused: %d", code)
	}
	return c, <-r.gateways
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.stream.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// send sends a request and gives its ID.
func (c *client) send(f *wire.ClientFrame) uint64 {
	c.t.Helper()
	c.last++
	f.RequestId = c.last
	c.write(encode(f))
	return c.last
}

func (c *client) beat() {
	c.t.Helper()
	c.write(encode(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{
		Heartbeat: &wire.Heartbeat{Padding: make([]byte, wire.MinHeartbeat)},
	}}))
}

func (c *client) next() (*wire.ServerFrame, error) {
	b, err := c.frames.Next()
	if err != nil {
		return nil, err
	}
	f := new(wire.ServerFrame)
	return f, proto.Unmarshal(b, f)
}

func (c *client) recv() *wire.ServerFrame {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// response reads the answer to a request.
func (c *client) response(id uint64) *wire.Response {
	c.t.Helper()
	r := c.recv().GetResponse()
	if r.GetRequestId() != id {
		c.t.Fatalf("answer %v, want one to request %d", r, id)
	}
	return r
}

func (c *client) login(user, token string) uint32 {
	c.t.Helper()
	return c.response(c.send(loginFrame(user, token))).GetCode()
}

func loginFrame(user, token string) *wire.ClientFrame {
	return &wire.ClientFrame{Body: &wire.ClientFrame_Login{Login: &wire.Login{UserId: user, Token: token, DeviceId: "d"}}}
}

func (c *client) renew(token string) uint32 {
	c.t.Helper()
	return c.response(c.send(&wire.ClientFrame{Body: &wire.ClientFrame_RenewToken{
		RenewToken: &wire.RenewToken{Token: token},
	}})).GetCode()
}

// end waits until the connection has ended and says why.
func (c *client) end() error {
	<-c.conn.Context().Done()
	return context.Cause(c.conn.Context())
}

// wantClose reads up to the end of the stream, ends its own side as a good client does, and wants the close code.
func (c *client) wantClose(code wire.CloseCode) string {
	c.t.Helper()
	for {
		if _, err := c.next(); err != nil {
			if errors.Is(err, io.EOF) {
				_ = c.stream.Close()
			}
			break
		}
	}
	var app *quic.ApplicationError
	if err := c.end(); !errors.As(err, &app) || !app.Remote || app.ErrorCode != quic.ApplicationErrorCode(code) {
		c.t.Fatalf("connection ended with %v, want close code %d", err, code)
	}
	return app.ErrorMessage
}

// network is a simulated network that can lose packets.
type network struct {
	simnet.PerfectRouter
	lose  atomic.Bool
	mu    sync.Mutex
	links []*simnet.SimulatedLink
}

func newNetwork() *network { return new(network) }

func (n *network) SendPacket(p simnet.Packet) error {
	if n.lose.Load() {
		return nil
	}
	return n.PerfectRouter.SendPacket(p)
}

// endpoint is a host that takes the place of one with the same address.
func (n *network) endpoint(addr *net.UDPAddr) *simnet.SimConn {
	link := &simnet.SimulatedLink{Latency: time.Millisecond, UploadPacket: n}
	conn := simnet.NewBlockingSimConn(addr, link)
	link.Start()
	n.AddNode(addr, link)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links = append(n.links, link)
	return conn
}

func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		_ = l.Close()
	}
}

// elapse lets d pass in the bubble's time.
func elapse(d time.Duration) { <-time.After(d) }
