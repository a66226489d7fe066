package transport

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// Server accepts connections until it is drained or closed.
type Server struct {
	cfg      Config
	door     *door
	socket   net.PacketConn
	quic     *quic.Transport
	listener *quic.Listener
	stop     context.CancelFunc // ends the patrol
	running  sync.WaitGroup     // the accept loop, the patrol and one reader per connection
	closing  sync.Once
	lastID   atomic.Uint64

	mu       sync.Mutex
	conns    map[uint64]*Conn
	leaving  bool          // no connection is registered any more
	deserted chan struct{} // closed when leaving and no connection is left
}

// Listen opens the socket and starts to accept. It returns when clients can connect; if the address is in use, the error
// names it. The Server must be closed.
func Listen(cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	resetKey, tokenKey, err := deriveKeys(cfg.Secret)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, door: newDoor(cfg.Limits, cfg.Stats, cfg.Strain),
		conns: make(map[uint64]*Conn), deserted: make(chan struct{}),
	}
	if s.socket, err = openSocket(cfg); err != nil {
		return nil, err
	}
	s.quic = &quic.Transport{
		Conn:                s.socket,
		ConnectionIDLength:  8,
		StatelessResetKey:   &resetKey,
		TokenGeneratorKey:   &tokenKey,
		VerifySourceAddress: s.door.busy,
		ConnContext:         s.door.connContext,
	}
	if s.listener, err = s.quic.Listen(cfg.TLS, quicConfig(cfg)); err != nil {
		s.closeSocket()
		return nil, fmt.Errorf("transport: listen on %s (UDP): %w", s.socket.LocalAddr(), err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running.Go(s.accept)
	s.running.Go(func() { s.patrol(ctx) })
	return s, nil
}

func openSocket(cfg Config) (net.PacketConn, error) {
	if cfg.PacketConn != nil {
		return cfg.PacketConn, nil
	}
	addr, err := net.ResolveUDPAddr("udp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %s (UDP): %w", cfg.Listen, err)
	}
	udp, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %s (UDP): %w", cfg.Listen, err)
	}
	// The kernel may grant less; that costs packets under bursts, which QUIC repeats.
	_ = udp.SetReadBuffer(socketBuffer)
	_ = udp.SetWriteBuffer(socketBuffer)
	return udp, nil
}

func (s *Server) closeSocket() {
	if s.cfg.PacketConn == nil {
		_ = s.socket.Close()
	}
}

// quicConfig bounds what one peer can make the server hold: 64 KiB of unread data at most, in two streams at most.
// The second stream is only there to be refused by name; unidirectional ones are refused by QUIC itself.
func quicConfig(cfg Config) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           handshakeIdle,
		MaxIdleTimeout:                 cfg.HeartbeatTimeout,
		MaxIncomingStreams:             2,
		MaxIncomingUniStreams:          -1,
		InitialStreamReceiveWindow:     16 << 10,
		MaxStreamReceiveWindow:         32 << 10,
		InitialConnectionReceiveWindow: 32 << 10,
		MaxConnectionReceiveWindow:     64 << 10,
		DisablePathMTUDiscovery:        true,
	}
}

func deriveKeys(secret []byte) (reset quic.StatelessResetKey, token quic.TokenGeneratorKey, err error) {
	for _, k := range []struct {
		key  []byte
		info string
	}{{reset[:], "carillon quic stateless reset"}, {token[:], "carillon quic address token"}} {
		derived, err := hkdf.Key(sha256.New, secret, nil, k.info, len(k.key))
		if err != nil {
			return reset, token, fmt.Errorf("transport: derive keys: %w", err)
		}
		copy(k.key, derived)
	}
	return reset, token, nil
}

// Addr is the address the Server is bound to.
func (s *Server) Addr() net.Addr { return s.socket.LocalAddr() }

// Stats are the Server's counters.
func (s *Server) Stats() *Stats { return s.cfg.Stats }

// accept does nothing but hand connections on: quic-go's queue holds 32 and refuses what does not fit.
func (s *Server) accept() {
	for {
		q, err := s.listener.Accept(context.Background())
		if err != nil {
			return // the listener was closed
		}
		s.running.Go(func() { s.serve(q) })
	}
}

func (s *Server) serve(q *quic.Conn) {
	v, counted := q.Context().Value(visitKey{}).(*visit)
	if counted {
		v.handshakeDone()
	}
	s.cfg.Stats.Accepted.Add(1)
	c := newConn(s.lastID.Add(1), &s.cfg, quicSession{q})
	if !s.register(c) {
		c.Close(wire.CloseGoingAway, "server going away")
	}
	c.run()
	if counted && c.failed() {
		v.failed(time.Now())
	}
	s.unregister(c)
}

// failed says whether the connection, which is over, came to nothing or was ended for what its client did.
func (c *Conn) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.code {
	case wire.CloseProtocol, wire.CloseSlowConsumer, wire.CloseOverloaded:
		return true
	case wire.CloseGoingAway:
		return false
	}
	return !c.login.complete
}

func (s *Server) register(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return false
	}
	s.conns[c.id] = c
	s.cfg.Stats.Open.Add(1)
	return true
}

func (s *Server) unregister(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c.id]; !ok {
		return
	}
	delete(s.conns, c.id)
	s.cfg.Stats.Open.Add(-1)
	if s.leaving && len(s.conns) == 0 {
		close(s.deserted)
	}
}

// snapshot appends the connections of this moment to list.
func (s *Server) snapshot(list []*Conn) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		list = append(list, c)
	}
	return list
}

// patrol forgets addresses that have left, and looks for clients that have opened a second stream: a goroutine per
// connection that waits for one would cost 2 KB each, a look costs a fraction of a microsecond.
func (s *Server) patrol(ctx context.Context) {
	tick := time.NewTicker(patrolPeriod)
	defer tick.Stop()
	var list []*Conn
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.door.forget(time.Now())
		list = s.snapshot(list[:0])
		for _, c := range list {
			c.refuseSecondStream()
		}
		clear(list)
	}
}

// Close closes all connections at once with wire.CloseGoingAway, dropping what is queued, and waits for the Server's
// goroutines. Use Drain before it. It may be called more than once.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		s.stopAccepting()
		s.stop()
		for _, c := range s.snapshot(nil) {
			c.abort(wire.CloseGoingAway, "server going away")
			c.hangUp()
		}
		s.running.Wait()
		err = s.quic.Close()
		s.closeSocket()
	})
	return err
}
