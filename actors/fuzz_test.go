package actors

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// seeds are one request of every kind, well formed, and some that are not.
func seeds() []*wire.ClientFrame {
	long := strings.Repeat("x", 5000)
	bodies := []*wire.ClientFrame{
		invite("bob"), inviteAdvanced("bob", "bob", "al,ice", "", strings.Repeat("u", 33)), invite(), accept(7), accept(0), reject(7), query(5), query(1 << 31),
		{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: []string{"b"}, Mode: 9}}},
		{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: []string{"b"}, TimeoutS: 601}}},
		{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: []string{"b"}, TimeoutS: 600, AloneTimeoutS: 1<<32 - 1}}},
		{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: []string{"b"}, ExtendedData: long}}},
		{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: []string{"b"}, Push: &wire.PushConfig{Title: long}}}},
		{Body: &wire.ClientFrame_CallCancel{CallCancel: &wire.CallCancel{CallId: 7, Invitees: []string{"bob", "b,"}}}},
		{Body: &wire.ClientFrame_CallCancel{CallCancel: &wire.CallCancel{CallId: 7, Push: &wire.PushConfig{Content: long}}}},
		{Body: &wire.ClientFrame_CallingInvite{CallingInvite: &wire.CallingInvite{CallId: 7, Invitees: []string{"carol"}, TimeoutS: 5}}},
		{Body: &wire.ClientFrame_CallJoin{CallJoin: &wire.CallJoin{CallId: 1<<64 - 1, ExtendedData: "d"}}},
		{Body: &wire.ClientFrame_CallQuit{CallQuit: &wire.CallQuit{CallId: 7, Push: &wire.PushConfig{Payload: long}}}},
		{Body: &wire.ClientFrame_CallEnd{CallEnd: &wire.CallEnd{CallId: 7}}},
		{Body: &wire.ClientFrame_Logout{Logout: &wire.Logout{}}},
		{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, 32)}}},
		{Body: &wire.ClientFrame_InvitationReceipt{InvitationReceipt: &wire.InvitationReceipt{CallId: 7}}},
		{Body: &wire.ClientFrame_RenewToken{RenewToken: &wire.RenewToken{Token: "t"}}},
		{},
	}
	for i, f := range bodies {
		f.RequestId, f.CommandId = uint64(i+1), bytes.Repeat([]byte{byte(i)}, 16)
	}
	bodies = append(bodies, &wire.ClientFrame{Body: bodies[0].Body, CommandId: bodies[0].CommandId}) // no request ID
	return append(bodies, &wire.ClientFrame{RequestId: 99, Body: bodies[0].Body, CommandId: []byte("short")})
}

// FuzzRequest: whatever a client sends, a command that comes of it keeps the limits of SPEC 1 and 4.
func FuzzRequest(f *testing.F) {
	for _, s := range seeds() {
		b, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	limits := testConfig(nil).Limits
	f.Fuzz(func(t *testing.T, b []byte) {
		frame := &wire.ClientFrame{}
		if len(b) > wire.MaxClientFrame || proto.Unmarshal(b, frame) != nil {
			return
		}
		operation(frame)
		c, id, r := limits.commandOf(frame, 90*time.Second)
		if r != nil {
			if r.Code != call.BadParameter || r.Message == "" {
				t.Fatalf("refused with %v", r)
			}
			return
		}
		if err := lawful(&c, id, frame); err != nil {
			t.Fatalf("%v\naccepted: %+v", err, c)
		}
	})
}

// lawful says which rule of the specification an accepted command breaks.
func lawful(c *call.Command, id call.ID, f *wire.ClientFrame) error {
	if c.Op < call.OpInvite || c.Op > call.OpEnd || (c.Op == call.OpInvite) != (c.Invite != nil) || (id == 0) != (c.Op == call.OpInvite) {
		return fmt.Errorf("operation %d on call %d", c.Op, id)
	}
	if len(f.GetCommandId()) != 16 || !bytes.Equal(f.GetCommandId(), c.Command[:]) {
		return fmt.Errorf("command ID %x became %x", f.GetCommandId(), c.Command)
	}
	if len(c.ExtendedData) > 2048 {
		return fmt.Errorf("extended data of %d bytes", len(c.ExtendedData))
	}
	for i, u := range c.Users {
		if !validID(string(u), 32) || slices.Contains(c.Users[:i], u) {
			return fmt.Errorf("user %q", u)
		}
	}
	for _, e := range c.Errors {
		if validID(string(e.User), 32) && len(e.User) < maxUserID || len(e.User) > maxDeviceID || e.Code != call.BadParameter {
			return fmt.Errorf("errorUsers %+v", e)
		}
	}
	invites := c.Op == call.OpInvite || c.Op == call.OpAdd
	named := len(c.Users) + len(c.Errors)
	if invites && named == 0 || !invites && c.Op != call.OpCancel && named > 0 {
		return fmt.Errorf("%s names %d users", c.Op, named)
	}
	ringless := c.Timeout == 0
	if c.Timeout < 0 || c.Timeout > 600*time.Second || c.Timeout%time.Second != 0 || !invites && !ringless || c.Op == call.OpInvite && ringless {
		return fmt.Errorf("%s with a timeout of %v", c.Op, c.Timeout)
	}
	if c.Invite != nil && (c.Invite.Mode != call.Common && c.Invite.Mode != call.Advanced || c.Invite.AloneTimeout < 0) {
		return fmt.Errorf("invitation %+v", c.Invite)
	}
	for _, p := range []*wire.PushConfig{
		f.GetCallInvite().GetPush(), f.GetCallCancel().GetPush(), f.GetCallingInvite().GetPush(), f.GetCallQuit().GetPush(), f.GetCallEnd().GetPush(),
	} {
		if len(p.GetTitle()) > 256 || len(p.GetContent()) > 1024 || len(p.GetPayload()) > 4096 {
			return fmt.Errorf("push config of %d, %d, %d bytes", len(p.GetTitle()), len(p.GetContent()), len(p.GetPayload()))
		}
	}
	return nil
}

// sink is a gateway's Device and Peers: it answers the login and records the rest.
type sink struct {
	phone
	sent map[uint64]int // messages on their way, by request
	seen int
}

func (s *sink) ToCall(_ call.ID, msg any) {
	if c := msg.(*command); c.Op != call.OpReceipt {
		s.sent[c.Request]++
	}
}

func (s *sink) ToGateway(session.Conn, any) {}

func (s *sink) ToSession(_ call.UserID, msg any) {
	switch m := msg.(type) {
	case *attach:
		s.g.deliver(output{Frames: responseFrame(&wire.Response{RequestId: m.Request}), Answers: 1, LoggedIn: true})
	case *list:
		s.sent[m.Request]++
	case session.Logout:
		s.sent[m.Request]++
	case session.Seen:
		s.seen++
	}
}

// FuzzGateway: a stream of frames from a client; each request with an ID comes to one answer or goes one way, and the
// places of all that goes on are counted.
func FuzzGateway(f *testing.F) {
	var stream []byte
	for _, s := range seeds() {
		one, err := wire.AppendFrame(nil, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(one, true)
		stream = append(stream, one...)
	}
	f.Add(stream, true)
	f.Add(stream, false)
	f.Add(bytes.Repeat(stream, 5), true)
	f.Fuzz(func(t *testing.T, stream []byte, login bool) {
		now := simStart
		cfg := testConfig(nil)
		cfg.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
		cfg.Users = everybody{}
		sys := &System{cfg: cfg, gateways: map[uint64]*Gateway{}}
		sys.gate.open(&sys.cfg)
		s := &sink{phone: phone{r: &rig{T: t}, id: 1}, sent: map[uint64]int{}}
		s.g = sys.Open(s)
		s.g.peers = s
		if login {
			s.g.Login(&wire.ClientFrame{RequestId: 1 << 40, Body: &wire.ClientFrame_Login{Login: &wire.Login{UserId: "alice", DeviceId: "a1"}}})
		}
		asked := handle(s.g, stream)
		for id, n := range asked {
			if got := s.answers(id) + s.sent[id]; got != n {
				t.Fatalf("request %d came %d times, answered or sent on %d times", id, n, got)
			}
		}
		places := 0
		for id, n := range s.sent {
			if places += n; asked[id] == 0 || !login {
				t.Fatalf("request %d was sent on though not asked", id)
			}
		}
		if places > cfg.Limits.InFlightPerDevice || int(sys.inFlight.Load()) != places {
			t.Fatalf("%d requests are under way, %d are counted", places, sys.inFlight.Load())
		}
		s.g.Closed()
		if sys.inFlight.Load() != 0 || sys.devices.Load() != 0 || len(sys.gateways) != 0 {
			t.Fatalf("after the end: %d requests, %d devices, %d gateways", sys.inFlight.Load(), sys.devices.Load(), len(sys.gateways))
		}
	})
}

// handle plays a stream as a connection's reader does, and gives how often each request that wants an answer came.
func handle(g *Gateway, stream []byte) map[uint64]int {
	asked := map[uint64]int{}
	in := wire.NewReader(bytes.NewReader(stream), wire.MaxClientFrame)
	for {
		b, err := in.Next()
		f := &wire.ClientFrame{}
		if err != nil || proto.Unmarshal(b, f) != nil {
			return asked
		}
		switch f.GetBody().(type) {
		case *wire.ClientFrame_Login, *wire.ClientFrame_RenewToken: // the transport's own
			continue
		case *wire.ClientFrame_Heartbeat, *wire.ClientFrame_InvitationReceipt:
		default:
			asked[f.GetRequestId()]++
		}
		g.Handle(f)
	}
}

func (s *sink) answers(request uint64) int {
	n := 0
	for _, f := range s.heard {
		if r := f.GetResponse(); r != nil && r.GetRequestId() == request {
			n++
		}
	}
	return n
}

// everybody is a user table in which all exist but those whose names begin with x.
type everybody struct{}

func (everybody) Register(context.Context, call.UserID) error { return nil }

func (everybody) Known(_ context.Context, users []call.UserID) ([]bool, error) {
	out := make([]bool, len(users))
	for i, u := range users {
		out[i] = !strings.HasPrefix(string(u), "x")
	}
	return out, nil
}
