package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	socketBuffer = 8 << 20 // bytes, asked of the kernel
	maxUsers     = 100_000
	certified    = 24 * time.Hour
)

// Server moves frames until it is closed.
type Server struct {
	socket   *net.UDPConn
	quic     *quic.Transport
	listener *quic.Listener
	running  sync.WaitGroup
	users    sync.Map // uint32 → *pipe
}

// Listen starts a Server. It asks nobody who he is, so it listens on loopback only.
func Listen(addr string) (*Server, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if !to.IP.IsLoopback() {
		return nil, fmt.Errorf("relay: %s is not on loopback", addr)
	}
	cert, err := certificate()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	if s.socket, err = openSocket(to); err != nil {
		return nil, err
	}
	s.quic = &quic.Transport{Conn: s.socket, ConnectionIDLength: 8}
	s.listener, err = s.quic.Listen(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13}, quicConfig())
	if err != nil {
		_ = s.socket.Close()
		return nil, fmt.Errorf("relay: listen on %s: %w", addr, err)
	}
	s.running.Go(s.accept)
	return s, nil
}

func openSocket(addr *net.UDPAddr) (*net.UDPConn, error) {
	socket, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	_ = socket.SetReadBuffer(socketBuffer) // as much as the system gives
	_ = socket.SetWriteBuffer(socketBuffer)
	return socket, nil
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("relay: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(certified), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("relay: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.socket.LocalAddr().String() }

// Close ends all connections and waits for their readers.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.users.Range(func(_, p any) bool {
		p.(*pipe).end() // so that its user learns of it
		return true
	})
	err = errors.Join(err, s.quic.Close(), s.socket.Close())
	s.running.Wait()
	return err
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept(context.Background())
		if err != nil {
			return // it was closed
		}
		s.running.Go(func() { s.serve(conn) })
	}
}

// serve reads one user's frames until his connection ends.
func (s *Server) serve(conn *quic.Conn) {
	defer func() { _ = conn.CloseWithError(0, "") }()
	stream, err := conn.AcceptStream(conn.Context())
	if err != nil {
		return
	}
	p := &pipe{conn: conn, stream: stream}
	var me uint32
	_ = readFrames(stream, func(m message) error { // its end is the user's
		if m.kind == hello {
			if m.peer >= maxUsers {
				return errFrame
			}
			me = m.peer
			s.users.Store(me, p)
		}
		return s.move(p, me, m)
	})
	s.users.CompareAndDelete(me, p)
}

// move sends what follows from a frame of a user. Users who have gone are sent nothing.
func (s *Server) move(p *pipe, me uint32, m message) error {
	to := func(k kind) {
		if other, ok := s.users.Load(m.peer); ok {
			_ = other.(*pipe).send(message{k, me, m.call})
		}
	}
	switch m.kind {
	case hello:
		return p.send(m)
	case invite:
		err := p.send(message{created, m.peer, m.call}, message{answered, m.peer, m.call})
		to(ring)
		return err
	case receipt:
		err := p.send(message{received, m.peer, m.call})
		to(received)
		return err
	case accept:
		err := p.send(message{accepted, m.peer, m.call}, message{told, m.peer, m.call})
		to(told)
		return err
	}
	return errFrame
}
