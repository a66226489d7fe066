package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// patience is how long a raw client waits for what must come; a test that waits longer has failed.
const patience = 20 * time.Second

// rawClient is a client written from client.proto alone: it knows frames, and nothing of the SDK or the server. Its
// methods belong to one goroutine.
type rawClient struct {
	t        testing.TB
	mask     string // cut out of every name that it prints
	user     string // as printed
	device   string
	conn     *quic.Conn
	stream   *quic.Stream
	inbox    chan *wire.ServerFrame // in the order of arrival, without heartbeats; closed at the end of the stream
	echoes   chan []byte            // paddings of heartbeats; those that nobody takes are dropped
	requests uint64
	login    *wire.LoginResult

	mu    sync.Mutex // writes
	quiet chan struct{}
	hush  func()
	ended sync.WaitGroup
}

// dialRaw connects and opens the stream; nothing is sent yet.
func dialRaw(t testing.TB, addr string) *rawClient {
	t.Helper()
	c, err := connectRaw(addr)
	if err != nil {
		t.Fatalf("dial %s: %v", addr, err)
	}
	c.t = t
	t.Cleanup(c.vanish)
	return c
}

func connectRaw(addr string) (*rawClient, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, addr,
		&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"carillon/1"}}, // the development certificate names nobody
		&quic.Config{MaxIdleTimeout: time.Hour})
	if err != nil {
		return nil, err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, errors.Join(err, conn.CloseWithError(0, ""))
	}
	c := &rawClient{
		conn: conn, stream: stream, inbox: make(chan *wire.ServerFrame, 8192), echoes: make(chan []byte, 1), quiet: make(chan struct{}),
	}
	c.hush = sync.OnceFunc(func() { close(c.quiet) })
	c.ended.Go(c.read)
	return c, nil
}

func (c *rawClient) read() {
	defer close(c.inbox)
	frames := wire.NewReader(c.stream, wire.MaxServerFrame)
	for {
		b, err := frames.Next()
		if err != nil {
			return
		}
		f := new(wire.ServerFrame)
		if proto.Unmarshal(b, f) != nil {
			return
		}
		if h := f.GetHeartbeat(); h == nil {
			c.inbox <- f
		} else {
			select {
			case c.echoes <- h.GetPadding():
			default:
			}
		}
	}
}

// beat sends heartbeats until hush.
func (c *rawClient) beat(every time.Duration) {
	c.ended.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = c.write(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, wire.MinHeartbeat)}}})
			case <-c.quiet:
				return
			case <-c.conn.Context().Done():
				return
			}
		}
	})
}

// vanish breaks the connection without a logout.
func (c *rawClient) vanish() {
	c.hush()
	_ = c.conn.CloseWithError(0, "")
	for range c.inbox { // the reader may wait for room
		continue
	}
	c.ended.Wait()
}

func (c *rawClient) write(f *wire.ClientFrame) error {
	b, err := wire.AppendFrame(nil, f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.stream.Write(b)
	return err
}

// frameOf wraps a message of the oneof. An operation that changes a call gets a new command ID.
func frameOf(m proto.Message) *wire.ClientFrame {
	f := &wire.ClientFrame{}
	switch m := m.(type) {
	case *wire.Login:
		f.Body = &wire.ClientFrame_Login{Login: m}
	case *wire.Logout:
		f.Body = &wire.ClientFrame_Logout{Logout: m}
	case *wire.RenewToken:
		f.Body = &wire.ClientFrame_RenewToken{RenewToken: m}
	case *wire.InvitationReceipt:
		f.Body = &wire.ClientFrame_InvitationReceipt{InvitationReceipt: m}
	case *wire.QueryCallInvitationList:
		f.Body = &wire.ClientFrame_QueryCallInvitationList{QueryCallInvitationList: m}
	case *wire.CallInvite:
		f.Body = &wire.ClientFrame_CallInvite{CallInvite: m}
	case *wire.CallCancel:
		f.Body = &wire.ClientFrame_CallCancel{CallCancel: m}
	case *wire.CallAccept:
		f.Body = &wire.ClientFrame_CallAccept{CallAccept: m}
	case *wire.CallReject:
		f.Body = &wire.ClientFrame_CallReject{CallReject: m}
	case *wire.CallingInvite:
		f.Body = &wire.ClientFrame_CallingInvite{CallingInvite: m}
	case *wire.CallJoin:
		f.Body = &wire.ClientFrame_CallJoin{CallJoin: m}
	case *wire.CallQuit:
		f.Body = &wire.ClientFrame_CallQuit{CallQuit: m}
	case *wire.CallEnd:
		f.Body = &wire.ClientFrame_CallEnd{CallEnd: m}
	default:
		panic(fmt.Sprintf("%T is not a request", m))
	}
	switch m.(type) {
	case *wire.Login, *wire.Logout, *wire.RenewToken, *wire.InvitationReceipt, *wire.QueryCallInvitationList:
	default:
		f.CommandId = newCommandID()
	}
	return f
}

func newCommandID() []byte {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	return id
}

// send writes a request under the next request ID and does not wait.
func (c *rawClient) send(m proto.Message) {
	c.t.Helper()
	c.sendFrame(frameOf(m))
}

func (c *rawClient) sendFrame(f *wire.ClientFrame) {
	c.t.Helper()
	if f.GetInvitationReceipt() == nil {
		c.requests++
		f.RequestId = c.requests
	}
	if err := c.write(f); err != nil {
		c.t.Fatalf("%s/%s: write: %v", c.user, c.device, err)
	}
}

// next is the next frame; the end of the stream fails the test.
func (c *rawClient) next() *wire.ServerFrame {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case f, ok := <-c.inbox:
		if !ok {
			c.t.Fatalf("%s/%s: the connection has ended: %v", c.user, c.device, context.Cause(c.conn.Context()))
		}
		return f
	case <-timer.C:
		c.t.Fatalf("%s/%s: nothing came within %v", c.user, c.device, patience)
	}
	return nil
}

// do sends a request and gives its answer; events that come before it are dropped.
func (c *rawClient) do(m proto.Message) *wire.Response {
	c.t.Helper()
	return c.doFrame(frameOf(m))
}

func (c *rawClient) doFrame(f *wire.ClientFrame) *wire.Response {
	c.t.Helper()
	c.sendFrame(f)
	for {
		if r := c.next().GetResponse(); r != nil && r.GetRequestId() == c.requests {
			return r
		}
	}
}

// must is do for a request that has to succeed.
func (c *rawClient) must(m proto.Message) *wire.Response {
	c.t.Helper()
	r := c.do(m)
	if r.GetCode() != 0 {
		c.t.Fatalf("%s/%s: %T refused: %d %s", c.user, c.device, m, r.GetCode(), r.GetMessage())
	}
	return r
}

// closed waits for the end of the connection and gives the server's close code.
func (c *rawClient) closed() wire.CloseCode {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.conn.Context().Done():
	case <-timer.C:
		c.t.Fatalf("%s/%s: the connection was not closed within %v", c.user, c.device, patience)
	}
	var app *quic.ApplicationError
	if err := context.Cause(c.conn.Context()); !errors.As(err, &app) || !app.Remote {
		c.t.Fatalf("%s/%s: the connection was not closed by the server: %v", c.user, c.device, err)
	}
	return wire.CloseCode(app.ErrorCode)
}

// ends reads to the end of the stream, which no frame may precede, and gives the close code.
func (c *rawClient) ends() wire.CloseCode {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case f, ok := <-c.inbox:
		if ok {
			c.t.Fatalf("%s/%s: got %s, want the end of the stream", c.user, c.device, c.print(f))
		}
	case <-timer.C:
		c.t.Fatalf("%s/%s: the stream did not end within %v", c.user, c.device, patience)
	}
	return c.closed()
}
