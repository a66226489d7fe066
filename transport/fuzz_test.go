package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// script is a session whose client writes given bytes, piece by piece, and then ends its stream or falls silent.
type script struct {
	ctx    context.Context
	cancel context.CancelFunc
	closes []wire.CloseCode
	reason string

	data     []byte
	piece    int
	silent   bool
	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // the deadline was moved
	output   bytes.Buffer
}

func newScript(data []byte, piece int, silent bool) *script {
	s := &script{data: data, piece: piece, silent: silent, moved: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *script) AcceptStream(context.Context) (stream, error) { return s, nil }
func (s *script) Context() context.Context                     { return s.ctx }
func (s *script) RemoteAddr() net.Addr                         { return serverAddr }

func (s *script) CloseWithError(code quic.ApplicationErrorCode, reason string) error {
	s.closes, s.reason = append(s.closes, wire.CloseCode(code)), reason
	s.cancel()
	return nil
}

func (s *script) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		deadline := s.deadline
		s.mu.Unlock()
		wait := time.Until(deadline)
		switch {
		case !deadline.IsZero() && wait <= 0:
			return 0, os.ErrDeadlineExceeded
		case len(s.data) > 0:
			n := copy(p, s.data[:min(s.piece, len(s.data))])
			s.data = s.data[n:]
			return n, nil
		case !s.silent:
			return 0, io.EOF
		case deadline.IsZero():
			wait = time.Hour // of silence; then the connection times out
		}
		select {
		case <-s.moved:
		case <-time.After(wait):
			if deadline.IsZero() {
				return 0, &quic.IdleTimeoutError{}
			}
		}
	}
}

func (s *script) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	s.deadline = t
	s.mu.Unlock()
	select {
	case s.moved <- struct{}{}:
	default:
	}
	return nil
}

func (s *script) Write(p []byte) (int, error)      { return s.output.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// recorder is a Handler that checks what it is promised.
type recorder struct {
	t      *testing.T
	conn   *Conn
	logins int
	closed int
}

func (r *recorder) Login(f *wire.ClientFrame) {
	if r.logins++; r.logins > 1 || f.GetLogin() == nil || r.closed > 0 {
		r.t.Errorf("login %d, closed %d: %v", r.logins, r.closed, f)
	}
	r.conn.Send(responseFrame(f.RequestId, nil))
	r.conn.LoggedIn()
}

func (r *recorder) Handle(f *wire.ClientFrame) {
	if f.GetLogin() != nil || f.GetRenewToken() != nil || r.closed > 0 {
		r.t.Errorf("closed %d: %v", r.closed, f)
	}
}

func (r *recorder) Closed() { r.closed++ }

// FuzzConn feeds bytes as one connection's stream into the read loop: it must end with exactly one close code that the
// contract knows, must have told the handler, must write nothing but whole frames, and must not take much memory.
func FuzzConn(f *testing.F) {
	login := encode(loginFrame("alice", "60"))
	refused := encode(loginFrame("alice", "garbage"))
	beat := encode(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, 32)}}})
	renew := encode(&wire.ClientFrame{RequestId: 2, Body: &wire.ClientFrame_RenewToken{RenewToken: &wire.RenewToken{Token: "10"}}})
	for _, seed := range [][]byte{
		nil,
		{0},
		{0xff, 0xff, 0xff, 0xff, 0xff},
		{3, 0xff, 0xff, 0xff},
		login, refused, login[:len(login)-1],
		append(bytes.Clone(login), login...), append(bytes.Clone(login), renew...), append(bytes.Clone(beat), login...),
		append(bytes.Clone(login), bytes.Repeat(beat, 50)...), append(bytes.Clone(login), 0xff, 0xff, 7),
	} {
		f.Add(seed, uint16(7), false)
		f.Add(seed, uint16(1000), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint16, silent bool) {
		synctest.Test(t, func(t *testing.T) { playScript(t, newScript(data, int(piece)+1, silent)) })
	})
}

func playScript(t *testing.T, s *script) {
	size := len(s.data)
	var h *recorder
	cfg := Config{
		Limits: Limits{}.withDefaults(), Authenticator: seconds{}, Now: time.Now, Stats: new(Stats),
		Logger: slog.New(slog.DiscardHandler),
	}
	c := newConn(1, &cfg, s)
	cfg.Open = func(c *Conn) Handler {
		h = &recorder{t: t, conn: c}
		return h
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.run()
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(200*size+1<<20); got > most {
		t.Errorf("%d bytes allocated for %d bytes of input, at most %d expected", got, size, most)
	}
	if len(s.closes) != 1 || s.closes[0] > wire.CloseOverloaded {
		t.Errorf("close codes %v (%s), want exactly one", s.closes, s.reason)
	}
	if h.closed != 1 {
		t.Errorf("Closed was called %d times", h.closed)
	}
	frames := wire.NewReader(&s.output, wire.MaxServerFrame)
	for {
		if _, err := frames.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("what was written is not whole frames: %v", err)
		}
	}
}
