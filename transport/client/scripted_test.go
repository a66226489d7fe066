package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long, mostly of a bubble's clock, a test waits for what must come.
const patience = 5 * time.Minute

const serverAddress = "1.0.0.1:7443"

var certificate, roots = func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(1, 0, 0, 1), net.IPv4(1, 0, 0, 2), net.IPv4(1, 0, 0, 3)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}()

// server takes connections; the test plays its part by hand, or handle does.
type server struct {
	transport *quic.Transport
	packets   net.PacketConn
	peers     chan *peer
	handle    func(*peer, *wire.ClientFrame) // nil: frames wait in peer.frames
	running   sync.WaitGroup
}

// peer is the server's end of one connection. Heartbeats are counted, and echoed unless deaf.
type peer struct {
	conn   *quic.Conn
	stream *quic.Stream
	frames chan *wire.ClientFrame
	gone   chan struct{} // closed when the connection has ended

	mu         sync.Mutex
	deaf       bool
	heartbeats []*wire.Heartbeat
}

func serve(t testing.TB, packets net.PacketConn, handle func(*peer, *wire.ClientFrame)) *server {
	t.Helper()
	s, err := startServer(packets, handle)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func startServer(packets net.PacketConn, handle func(*peer, *wire.ClientFrame), adjust ...func(*quic.Transport)) (*server, error) {
	s := &server{packets: packets, peers: make(chan *peer, 64), handle: handle}
	s.transport = &quic.Transport{Conn: packets, ConnectionIDLength: 8, StatelessResetKey: &quic.StatelessResetKey{1}}
	for _, f := range adjust {
		f(s.transport)
	}
	listener, err := s.transport.Listen(
		&tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{wire.ALPN}}, &quic.Config{MaxIdleTimeout: 35 * time.Second})
	if err != nil {
		return nil, err
	}
	s.running.Go(func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			s.running.Go(func() { s.take(conn) })
		}
	})
	return s, nil
}

func (s *server) take(conn *quic.Conn) {
	stream, err := conn.AcceptStream(context.Background())
	if err != nil {
		return
	}
	p := &peer{conn: conn, stream: stream, frames: make(chan *wire.ClientFrame, 64), gone: make(chan struct{})}
	defer close(p.gone)
	s.peers <- p
	reader := wire.NewReader(stream, wire.MaxClientFrame)
	for {
		b, err := reader.Next()
		if err != nil {
			<-conn.Context().Done()
			return
		}
		f := &wire.ClientFrame{}
		if err := proto.Unmarshal(b, f); err != nil {
			panic(err)
		}
		switch {
		case f.GetHeartbeat() != nil:
			p.beat(f.GetHeartbeat())
		case s.handle != nil:
			s.handle(p, f)
		default:
			p.frames <- f
		}
	}
}

func (p *peer) beat(h *wire.Heartbeat) {
	p.mu.Lock()
	p.heartbeats = append(p.heartbeats, h)
	deaf := p.deaf
	p.mu.Unlock()
	if !deaf {
		p.send(&wire.ServerFrame{Body: &wire.ServerFrame_Heartbeat{Heartbeat: h}})
	}
}

func (p *peer) beats() []*wire.Heartbeat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heartbeats)
}

func (p *peer) setDeaf() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
}

// send writes the frames at once; that the connection is gone is the client's affair.
func (p *peer) send(frames ...*wire.ServerFrame) {
	var b []byte
	for _, f := range frames {
		var err error
		if b, err = wire.AppendFrame(b, f); err != nil {
			panic(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.stream.Write(b)
}

func (p *peer) tell(events ...*wire.Event) {
	for _, e := range events {
		p.send(&wire.ServerFrame{Body: &wire.ServerFrame_Event{Event: e}})
	}
}

func (p *peer) answer(f *wire.ClientFrame, r *wire.Response) {
	r.RequestId = f.RequestId
	p.send(&wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: r}})
}

func (p *peer) hangUp(code wire.CloseCode) {
	_ = p.conn.CloseWithError(quic.ApplicationErrorCode(code), "")
}

// closeCode waits for the end and gives the code with which the client closed.
func (p *peer) closeCode(t testing.TB) wire.CloseCode {
	t.Helper()
	wait(t, p.gone)
	var e *quic.ApplicationError
	if err := context.Cause(p.conn.Context()); !errors.As(err, &e) || !e.Remote {
		t.Fatalf("the client did not close: %v", err)
	}
	return wire.CloseCode(e.ErrorCode)
}

func (s *server) close() {
	_ = s.transport.Close()
	_ = s.packets.Close()
	s.running.Wait()
}

// wait takes from c, or fails the test when nothing comes.
func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// world is a bubble with a network, a server and what one client tells its app.
type world struct {
	t       *testing.T
	net     *network
	server  *server
	nodes   []*node
	events  chan Event // all but ConnectionStateChanged
	changes chan ConnectionStateChanged
	client  *Client
}

func inWorld(t *testing.T, play func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: &network{}, events: make(chan Event, 4096), changes: make(chan ConnectionStateChanged, 4096)}
		w.server = w.listen(serverAddress)
		play(t, w)
		if w.client != nil {
			_ = w.client.Close()
			<-w.client.Done()
		}
		for _, n := range w.nodes {
			n.close()
		}
		w.server.close()
	})
}

func (w *world) listen(address string) *server {
	at := net.UDPAddrFromAddrPort(mustAddrPort(address))
	return serve(w.t, simnetSocket(w.net, at), nil)
}

func (w *world) config() Config {
	return Config{
		Addresses: []string{serverAddress}, UserID: "alice", DeviceID: "phone", Platform: Linux, Token: "secret",
		TLS: &tls.Config{RootCAs: roots}, Listen: w.net.listen,
		OnEvent: func(e Event) {
			if s, ok := e.(ConnectionStateChanged); ok {
				w.changes <- s
				return
			}
			w.events <- e
		},
	}
}

// dial starts a Dial; the test plays the server and then calls the function it got.
func (w *world) dial(cfg Config) func() (*Client, error) {
	type outcome struct {
		c   *Client
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		c, err := Dial(context.Background(), cfg)
		done <- outcome{c, err}
	}()
	return func() (*Client, error) {
		w.t.Helper()
		o := wait(w.t, done)
		if o.err == nil {
			w.client = o.c
		}
		return o.c, o.err
	}
}

// connect dials with cfg and logs in.
func (w *world) connect(cfg Config) (*Client, *peer) {
	w.t.Helper()
	dialled := w.dial(cfg)
	p, _ := w.login(nil)
	c, err := dialled()
	if err != nil {
		w.t.Fatal(err)
	}
	return c, p
}

// login takes the next connection, checks that it logs in and answers with result (nil: an empty one).
func (w *world) login(result *wire.LoginResult) (*peer, *wire.Login) {
	w.t.Helper()
	return acceptLogin(w.t, w.server, result)
}

func acceptLogin(t testing.TB, s *server, result *wire.LoginResult) (*peer, *wire.Login) {
	t.Helper()
	p := wait(t, s.peers)
	f := wait(t, p.frames)
	if f.GetLogin() == nil {
		t.Fatalf("first frame is %v, want a Login", f)
	}
	if result == nil {
		result = &wire.LoginResult{SessionId: "s1", Node: "n1", ServerTimeMs: time.Now().UnixMilli(), HeartbeatIntervalMs: 10000}
	}
	p.answer(f, &wire.Response{Result: &wire.Response_Login{Login: result}})
	return p, f.GetLogin()
}

// event waits for the next event and fails unless it is a T.
func event[T Event](w *world) T {
	w.t.Helper()
	e := wait(w.t, w.events)
	v, ok := e.(T)
	if !ok {
		w.t.Fatalf("event %T %+v, want %T", e, e, v)
	}
	return v
}

// silent fails if an event is waiting once all is quiet.
func (w *world) silent() {
	w.t.Helper()
	synctest.Wait()
	select {
	case e := <-w.events:
		w.t.Fatalf("unexpected %T %+v", e, e)
	default:
	}
}

// became waits for a connection state.
func (w *world) became(s ConnectionState) ConnectionStateChanged {
	w.t.Helper()
	for {
		if e := wait(w.t, w.changes); e.State == s {
			return e
		}
	}
}

// later runs an operation beside the test; the function it gives waits for the outcome.
func later[T any](t testing.TB, f func() (T, error)) func() (T, error) {
	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		v, err := f()
		done <- outcome{v, err}
	}()
	return func() (T, error) {
		t.Helper()
		o := wait(t, done)
		return o.v, o.err
	}
}
