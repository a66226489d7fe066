package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// Bounds of one connection.
const (
	maxWaiting    = 256                    // requests without an answer
	writePatience = 200 * time.Millisecond // a write blocks only when a dozen frames are unsent: then the server has gone
)

// Why a connection has ended.
var (
	errGone = errors.New("the connection is lost")
	errLeft = errors.New("this program has closed the connection")
	errMute = errors.New("no answer to the logout")
	errTold = errors.New("told")

	errNotIn = errors.New("the login is not answered yet")
)

// user is one device of one user, with one connection.
type user struct {
	name   string
	device string
	seat   *seat // a visitor's; nil: stays until the end
	crowd  *crowd

	mu      sync.Mutex
	conn    *quic.Conn
	stream  *quic.Stream
	out     []byte // of the last frame, to be used again
	last    uint64 // request ID
	waiting map[uint64]func(*wire.Response)
	sent    time.Time
	lost    error // why the connection has ended

	comeback // where connections are replaced
}

// ask sends a request; answered is called by the reader, once, unless the connection ends before.
func (u *user) ask(f *wire.ClientFrame, answered func(*wire.Response)) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost != nil {
		return u.lost
	}
	if u.entering && f.GetLogin() == nil {
		return errNotIn
	}
	if len(u.waiting) >= maxWaiting {
		return fmt.Errorf("%d requests of %s have no answer", maxWaiting, u.name)
	}
	u.last++
	f.RequestId = u.last
	if f.CommandId == nil {
		f.CommandId = newCommandID()
	}
	u.waiting[f.RequestId] = answered
	return u.write(f)
}

func newCommandID() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rand.Uint64()), rand.Uint64())
}

// send sends what has no answer.
func (u *user) send(f *wire.ClientFrame) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.write(f)
}

// write sends a frame. u.mu is held.
func (u *user) write(f *wire.ClientFrame) error {
	if u.lost != nil {
		return u.lost
	}
	var err error
	if u.out, err = wire.AppendFrame(u.out[:0], f); err != nil {
		return err
	}
	now := time.Now()
	u.sent = now
	_ = u.stream.SetWriteDeadline(now.Add(writePatience)) // a closed stream says so at the write
	if _, err = u.stream.Write(u.out); err != nil {
		u.lost = fmt.Errorf("%w: %w", errGone, err)
		_ = u.conn.CloseWithError(quic.ApplicationErrorCode(wire.CloseGoingAway), "")
	}
	return err
}

// beat sends a heartbeat when nothing else was sent for an interval.
func (u *user) beat(now time.Time, interval time.Duration) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.sent) < interval*3/4 {
		return u.lost
	}
	err := u.write(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: padding[:]}}})
	if err == nil && u.crowd.lenient() && u.asked.IsZero() {
		u.await(now)
	}
	return err
}

var padding [wire.MinHeartbeat]byte

// follow is the reader of a connection; it returns at the connection's end.
func (u *user) follow(conn *quic.Conn, stream *quic.Stream) error {
	frames := wire.NewReader(stream, wire.MaxServerFrame)
	for {
		b, err := frames.Next()
		if err == nil {
			u.alive()
			err = u.take(b)
		}
		if err != nil {
			_ = conn.CloseWithError(quic.ApplicationErrorCode(wire.CloseGoingAway), "")
			return fmt.Errorf("%w: %w", errGone, err)
		}
	}
}

// broken notes why a connection has ended, if that is not known yet. Where connections are replaced this is where it begins.
func (u *user) broken(conn *quic.Conn, why error) {
	u.mu.Lock()
	if u.conn != conn {
		u.mu.Unlock()
		return
	}
	if u.lost == nil {
		u.lost = why
	}
	why = u.lost
	u.mu.Unlock()
	u.crowd.gone(u, why)
}

func (u *user) take(b []byte) error {
	f := &wire.ServerFrame{}
	if err := proto.Unmarshal(b, f); err != nil {
		return err
	}
	switch body := f.GetBody().(type) {
	case *wire.ServerFrame_Response:
		u.mu.Lock()
		answered := u.waiting[body.Response.GetRequestId()]
		delete(u.waiting, body.Response.GetRequestId())
		u.mu.Unlock()
		if answered == nil {
			return fmt.Errorf("an answer to request %d, which waits for none", body.Response.GetRequestId())
		}
		answered(body.Response)
	case *wire.ServerFrame_Event:
		return u.told(body.Event)
	}
	return nil
}

func (u *user) told(e *wire.Event) error {
	switch kind := e.GetKind().(type) {
	case *wire.Event_GoAway:
		return &errAway{to: kind.GoAway.GetReconnectTo(), after: time.Duration(kind.GoAway.GetReconnectAfterMs()) * time.Millisecond}
	case *wire.Event_KickedOut:
		if u.superseded(time.Now()) {
			return errGone
		}
		return fmt.Errorf("%w %v", errTold, e)
	case *wire.Event_TokenWillExpire:
		return fmt.Errorf("%w %v", errTold, e)
	case nil: // a kind of a newer server
		return nil
	}
	u.crowd.hear(told{user: u, event: e, at: time.Now()})
	return nil
}

// end closes the connection; the reader ends by it.
func (u *user) end() {
	u.mu.Lock()
	if u.lost == nil || u.crowd.lenient() {
		u.lost = errLeft
	}
	conn := u.conn
	u.mu.Unlock()
	_ = conn.CloseWithError(quic.ApplicationErrorCode(wire.CloseLoggedOut), "")
}

// lose notes why the connection has ended or is about to, if that is not known yet.
func (u *user) lose(why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost == nil {
		u.lost = why
	}
}

// state is why the connection has ended, nil while it lives.
func (u *user) state() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lost
}
