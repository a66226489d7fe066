package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// run is the connection's life, on its reader goroutine.
func (c *Conn) run() {
	loginBy := time.Now().Add(c.cfg.Limits.LoginTimeout)
	if c.acceptStream(loginBy) {
		h := c.cfg.Open(c)
		c.read(h, loginBy)
		h.Closed()
	}
	c.finish()
}

// acceptStream waits for the one stream. The client makes it visible by writing to it.
func (c *Conn) acceptStream(loginBy time.Time) bool {
	ctx, cancel := context.WithDeadline(c.opened, loginBy)
	defer cancel()
	s, err := c.session.AcceptStream(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		c.Close(wire.CloseProtocol, c.noLogin())
	} else if err != nil {
		c.abort(wire.CloseLoggedOut, "connection ended: "+err.Error())
	}
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream = s
	return c.phase == open
}

func (c *Conn) noLogin() string {
	return fmt.Sprintf("no login within %v", c.cfg.Limits.LoginTimeout)
}

// refuseSecondStream closes a connection whose client has opened another stream.
func (c *Conn) refuseSecondStream() {
	c.mu.Lock()
	ready := c.stream != nil && c.phase == open
	c.mu.Unlock()
	if !ready {
		return
	}
	if _, err := c.session.AcceptStream(expired); err == nil {
		c.Close(wire.CloseProtocol, "second stream: a connection has one")
	}
}

// expired is a context that is over: with it AcceptStream gives a stream that is there and waits for none.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// read handles frames until the connection is no longer open.
func (c *Conn) read(h Handler, loginBy time.Time) {
	src := &source{conn: c, loginBy: loginBy}
	src.frames = wire.NewReader(src, wire.MaxClientFrame)
	var pace bucket
	for {
		b, err := src.frames.Next()
		if err != nil {
			c.readFailed(err, src)
			return
		}
		src.frameBy = time.Time{}
		f := new(wire.ClientFrame)
		if err := parse.Unmarshal(b, f); err != nil {
			c.Close(wire.CloseProtocol, "frame does not parse as a ClientFrame")
			return
		}
		if c.opened.Err() != nil {
			return
		}
		c.dispatch(h, f, src)
		if !c.keepPace(&pace, len(b)) {
			return
		}
	}
}

// parse drops unknown fields: newer clients may send them, nobody reads them.
var parse = proto.UnmarshalOptions{DiscardUnknown: true}

func (c *Conn) dispatch(h Handler, f *wire.ClientFrame, src *source) {
	switch body := f.Body.(type) {
	case *wire.ClientFrame_Login:
		src.loginBy = time.Time{}
		if c.logIn(f.RequestId, body.Login) {
			h.Login(f)
		}
	case *wire.ClientFrame_RenewToken:
		c.renewToken(f.RequestId, body.RenewToken)
	default:
		h.Handle(f)
	}
}

// keepPace holds back a client that sends faster than FramesPerSecond. It says whether the connection is still open.
func (c *Conn) keepPace(pace *bucket, size int) bool {
	c.cfg.Stats.FramesIn.Add(1)
	c.cfg.Stats.BytesIn.Add(uint64(size))
	rate := float64(c.cfg.Limits.FramesPerSecond)
	wait := pace.charge(time.Now(), rate, 2*rate, 1+float64(size)/1024+float64(c.toll.Swap(0)))
	if wait == 0 {
		return c.opened.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.opened.Done():
		return false
	case <-c.session.Context().Done():
		return true // the next read says why
	}
}

// source is the stream with the deadlines of login and frame.
type source struct {
	conn    *Conn
	frames  *wire.Reader
	loginBy time.Time // zero once a Login frame has come
	frameBy time.Time // zero while no frame is half there
	set     time.Time // the deadline that the stream has
}

func (s *source) Read(p []byte) (int, error) {
	switch {
	case !s.frames.Buffered():
		s.frameBy = time.Time{}
	case s.frameBy.IsZero():
		s.frameBy = time.Now().Add(s.conn.cfg.Limits.FrameTimeout)
	}
	deadline := s.frameBy
	if !s.loginBy.IsZero() && (deadline.IsZero() || s.loginBy.Before(deadline)) {
		deadline = s.loginBy
	}
	if deadline != s.set {
		if err := s.conn.setReadDeadline(open, deadline); err != nil {
			return 0, err
		}
		s.set = deadline
	}
	return s.conn.stream.Read(p)
}

// setReadDeadline leaves the deadline alone that a later phase has set.
func (c *Conn) setReadDeadline(in phase, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != in {
		return os.ErrDeadlineExceeded
	}
	return c.stream.SetReadDeadline(t)
}

// readFailed ends the connection for what err says, unless it has ended already.
func (c *Conn) readFailed(err error, src *source) {
	var reset *quic.StreamError
	switch {
	case errors.Is(err, io.EOF):
		c.peerEnded = true
		c.Close(wire.CloseLoggedOut, "client has left")
	case errors.Is(err, io.ErrUnexpectedEOF):
		c.Close(wire.CloseProtocol, "stream ended inside a frame")
	case errors.Is(err, wire.ErrFrameTooLong):
		c.Close(wire.CloseProtocol, err.Error())
	case errors.Is(err, os.ErrDeadlineExceeded) && !src.loginBy.IsZero() && src.set.Equal(src.loginBy):
		c.Close(wire.CloseProtocol, c.noLogin())
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Close(wire.CloseSlowConsumer, fmt.Sprintf("half a frame for %v", c.cfg.Limits.FrameTimeout))
	case errors.As(err, &reset):
		c.peerEnded = true
		c.Close(wire.CloseLoggedOut, "client has reset the stream")
	default:
		c.abort(wire.CloseLoggedOut, "connection ended: "+err.Error())
	}
}

// writeFailed ends the connection: the client does not read, does not want to, or is gone.
func (c *Conn) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.abort(wire.CloseSlowConsumer, fmt.Sprintf("client did not read for %v", c.cfg.Limits.WriteTimeout))
		return
	}
	c.abort(wire.CloseLoggedOut, "client has stopped reading")
}

// finish flushes what is queued, lets the client read it, and closes. Closing a QUIC connection throws away what has not
// arrived, hence the linger: the server ends its direction of the stream; a client that ends its own in turn, or goes,
// has read everything.
func (c *Conn) finish() {
	c.mu.Lock()
	phase, hasStream := c.phase, c.stream != nil
	c.mu.Unlock()
	if phase == ending && hasStream && c.flushed() {
		_ = c.stream.Close()
		c.linger()
	}
	c.hangUp()
	<-c.written
	c.cfg.Stats.closed(c.code)
	level := slog.LevelDebug // the rest is the Handler's decision or the client's, or was logged at login
	if c.code == wire.CloseProtocol || c.code == wire.CloseSlowConsumer {
		level = slog.LevelInfo
	}
	c.cfg.Logger.Log(context.Background(), level, "connection closed",
		"conn", c.id, "user", c.login.user, "code", c.code, "reason", c.reason)
}

// hangUp sends the close code. It may be called from any goroutine, once the phase is no longer open.
func (c *Conn) hangUp() {
	c.mu.Lock()
	code, reason := c.code, c.reason
	c.mu.Unlock()
	_ = c.session.CloseWithError(quic.ApplicationErrorCode(code), reason) // never fails
}

func (c *Conn) flushed() bool {
	timer := time.NewTimer(c.cfg.Limits.WriteTimeout)
	defer timer.Stop()
	select {
	case <-c.written:
		return true
	case <-c.session.Context().Done():
	case <-timer.C:
	}
	return false
}

// linger gives the client time to read: it reads and throws away until the client goes, ends its direction in answer, or
// lingerTime is over.
func (c *Conn) linger() {
	if c.peerEnded {
		timer := time.NewTimer(lingerTime)
		defer timer.Stop()
		select {
		case <-c.session.Context().Done():
		case <-timer.C:
		}
		return
	}
	until := time.Now().Add(lingerTime)
	if c.setReadDeadline(ending, until) != nil {
		return
	}
	var buf [512]byte
	for total := 0; total < lingerBytes; {
		n, err := c.stream.Read(buf[:])
		total += n
		if err != nil {
			return
		}
	}
}
