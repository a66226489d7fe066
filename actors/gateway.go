package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// Gateway stands between one client connection and the actors. Login, Handle and Closed are called one at a time by the
// connection's reader; what the actors have to say comes from any goroutine.
type Gateway struct {
	cfg   *Config
	peers Peers
	load  *load
	gate  *gate // what the whole node lets in
	conn  session.Conn
	out   Device
	leave func()           // takes the gateway out of the node's table
	place func() Placement // the present view; nil: this node is alone
	// devices counts those that are logged in, on the whole node.
	devices *atomic.Int64

	user     call.UserID
	device   call.DeviceID
	own      *account  // nil: not logged in
	budget   bucket    // of requests
	shown    time.Time // when its session was last told of a request; the reader's own
	insisted bool      // far too many requests were refused
	grace    bucket    // of heartbeats and receipts, which the user's limit does not count

	mu       sync.Mutex
	stage    stage
	home     Owner     // who holds the session, as far as this node knows
	heard    uint64    // number of the last numbered output
	requests []request // unanswered, oldest first, at most Limits.InFlightPerDevice
}

type stage uint8

const (
	strangers stage = iota // nobody has logged in
	joining                // the login is not answered yet
	online
	closed
)

type request struct {
	at    time.Time
	fresh bool            // counts as new work
	end   func(call.Code) // of its span; nil without a tracer
}

// Limits of one connection that no setting names.
const (
	maxKnownCalls = session.MaxCalls
	answerWait    = 3 * saveTimeout // an answer that has not come by then will not come
	freeRate      = 50              // heartbeats and receipts a second, sustained
	freeBurst     = 200
	showAgain     = time.Second // a refused device is shown to its session so often: a refusal should cost little
	maxInsistence = 600         // requests refused as too frequent, in a row, before the connection is closed
	refusedFrames = 9           // that a refused request counts besides, where its client is to blame: who floods is read more slowly
)

// Open makes the gateway of a connection.
func (s *System) Open(d Device) *Gateway {
	l := &s.cfg.Limits
	g := &Gateway{
		cfg: &s.cfg, peers: s, devices: &s.devices, load: &load{count: &s.inFlight, limit: int64(l.InFlight)}, out: d,
		gate:   &s.gate,
		conn:   session.Conn{Node: s.cfg.Node, ID: s.connBase + d.ID()},
		place:  s.placement,
		budget: bucket{rate: l.RequestsPerSecond, burst: float64(l.RequestBurst)},
		grace:  bucket{rate: freeRate, burst: freeBurst},
	}
	g.leave = func() { s.forget(g.conn.ID) }
	s.mu.Lock()
	s.gateways[g.conn.ID] = g
	s.mu.Unlock()
	return g
}

func (s *System) forget(conn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.gateways, conn)
}

// Login hands a device whose token has been accepted to its session.
func (g *Gateway) Login(f *wire.ClientFrame) {
	l := f.GetLogin()
	r, hint := loginRefusal(f.GetRequestId(), l), time.Duration(0)
	if r == nil {
		r, hint = g.letIn(call.UserID(l.GetUserId()))
	}
	if r != nil {
		g.out.Send(refusal(f.GetRequestId(), r, hint))
		code := wire.CloseLoginRefused
		if r.Code == call.TooFrequent {
			code = wire.CloseOverloaded // the device is to come again, later
		}
		g.out.Close(uint64(code), r.Message)
		return
	}
	g.user, g.device = call.UserID(l.GetUserId()), call.DeviceID(l.GetDeviceId())
	m := &attach{Device: g.device, Conn: g.conn, Request: f.GetRequestId(), At: g.cfg.Now()}
	for _, k := range l.GetKnownCalls() {
		m.Known = append(m.Known, known{Call: call.ID(k.GetCallId()), Version: k.GetVersion()})
	}
	place := g.place()
	g.mu.Lock()
	g.stage = joining
	if place != nil {
		g.home = place.Owner(g.user.Shard())
	}
	g.requests = append(g.requests, request{at: m.At})
	g.mu.Unlock()
	g.peers.ToSession(g.user, m)
	if now := g.place(); now != nil { // a view that came in between has not reached this gateway
		g.follow(now)
	}
}

func loginRefusal(request uint64, l *wire.Login) *call.Refusal {
	switch {
	case request == 0:
		return bad("request_id: must be above 0")
	case !validID(l.GetUserId(), maxUserID):
		return bad("user_id: must be 1..%d bytes of letters, digits and %s", maxUserID, alphabet)
	case !validID(l.GetDeviceId(), maxDeviceID):
		return bad("device_id: must be 1..%d bytes of letters, digits and %s", maxDeviceID, alphabet)
	case len(l.GetKnownCalls()) > maxKnownCalls:
		return bad("known_calls: %d entries, limit %d", len(l.GetKnownCalls()), maxKnownCalls)
	}
	return nil
}

// Handle takes one frame that is neither a login nor a token.
func (g *Gateway) Handle(f *wire.ClientFrame) {
	g.mu.Lock()
	stage := g.stage
	g.mu.Unlock()
	switch b := f.GetBody().(type) {
	case *wire.ClientFrame_Heartbeat:
		g.heartbeat(stage, b.Heartbeat)
	case *wire.ClientFrame_InvitationReceipt:
		if stage == online && g.grace.take(g.cfg.Now()) {
			g.sign(session.Seen{At: g.cfg.Now()})
			g.peers.ToCall(call.ID(b.InvitationReceipt.GetCallId()), &command{Command: call.Command{
				Op: call.OpReceipt, User: g.user, Device: g.device,
			}, Conn: g.conn})
		}
	default:
		if stage != online {
			g.out.Slow(refusedFrames)
			g.refuse(f, &call.Refusal{Code: call.NotLoggedIn, Message: "log in first"}, 0)
			return
		}
		g.request(f)
	}
}

func (g *Gateway) heartbeat(stage stage, h *wire.Heartbeat) {
	if stage != online || !g.grace.take(g.cfg.Now()) {
		return
	}
	g.seen()
	g.out.Send(frame(&wire.ServerFrame{Body: &wire.ServerFrame_Heartbeat{Heartbeat: h}}))
}

func (g *Gateway) seen() { g.sign(session.Seen{}) }

// sign says that the device lives, or, silently, only how much it was given.
func (g *Gateway) sign(m session.Seen) {
	g.mu.Lock()
	m.Conn, m.Heard = g.conn, g.heard
	g.mu.Unlock()
	g.peers.ToSession(g.user, m)
}

// request sends a request on its way, or refuses it: parameters first, then the rate (SPEC 4).
func (g *Gateway) request(f *wire.ClientFrame) {
	msg, r := g.parse(f)
	hint := g.budget.next(g.cfg.Now())
	end := g.trace(msg)
	switch {
	case r != nil:
	case hint > 0:
		r = g.gate.refuse(overRate)
		g.out.Slow(refusedFrames)
	case g.cfg.Users != nil && newWork(msg) > 0 && g.gate.throttle.full(): // before the store is asked for users
		r, hint = g.gate.refuse(overload), g.gate.throttle.hint(g.conn.ID+f.GetRequestId())
	default:
		if r = g.registered(msg); r == nil {
			r, hint = g.admit(f.GetRequestId(), newWork(msg), end)
		}
	}
	if r != nil {
		if now := g.cfg.Now(); r.Code != call.TooFrequent || now.Sub(g.shown) >= showAgain {
			g.shown = now
			g.seen()
		}
		if end != nil {
			end(r.Code)
		}
		g.refuse(f, r, hint)
		return
	}
	switch m := msg.(type) {
	case *envelope:
		g.sign(session.Seen{At: m.At}) // the session will hear of the answer
		g.name(m)
		g.peers.ToCall(m.to, &m.command)
	default:
		g.seen()
		g.peers.ToSession(g.user, m)
	}
}

// envelope is a command and the call it is for.
type envelope struct {
	to call.ID
	command
}

// name gives an invitation's call its ID.
func (g *Gateway) name(m *envelope) {
	if m.Invite != nil && m.to == 0 {
		m.to = g.cfg.callID(g.user, m.Command.Command, 0)
	}
}

// trace opens the span of a command's whole way; it ends with the answer.
func (g *Gateway) trace(msg any) func(call.Code) {
	m, ok := msg.(*envelope)
	if !ok || g.cfg.Tracer == nil {
		return nil
	}
	g.name(m)
	ctx, end := g.cfg.Tracer.Start(context.Background(), m.Op.String(), m.to, g.user)
	m.ctx = ctx
	return end
}

func (g *Gateway) parse(f *wire.ClientFrame) (any, *call.Refusal) {
	if f.GetRequestId() == 0 {
		return nil, bad("request_id: must be above 0")
	}
	switch b := f.GetBody().(type) {
	case *wire.ClientFrame_Logout:
		return session.Logout{Conn: g.conn, Request: f.GetRequestId()}, nil
	case *wire.ClientFrame_QueryCallInvitationList:
		count := int(min(b.QueryCallInvitationList.GetCount(), maxPage))
		if count == 0 {
			count = defaultPage
		}
		after := call.ID(b.QueryCallInvitationList.GetNextFlag())
		return &list{
			Conn: g.conn, Device: g.device, Request: f.GetRequestId(), At: g.cfg.Now(), After: after, Count: count,
		}, nil
	}
	c, id, r := g.cfg.Limits.commandOf(f, g.cfg.DefaultTimeout)
	if r != nil {
		return nil, r
	}
	c.User, c.Device = g.user, g.device
	if c.Invite != nil {
		c.Invite.Rules = g.cfg.Calls // its ID costs more than a refusal may, so it comes later
	}
	return &envelope{to: id, command: command{
		Command: c, Conn: g.conn, Request: f.GetRequestId(), At: g.cfg.Now(),
	}}, nil
}

// registered turns away invitees that do not exist, where registration is strict (SPEC 5). It reads the store, so the rate
// has been checked before.
func (g *Gateway) registered(msg any) *call.Refusal {
	c, ok := msg.(*envelope)
	if !ok || g.cfg.Users == nil || len(c.Users) == 0 || (c.Op != call.OpInvite && c.Op != call.OpAdd) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	exist, err := g.cfg.Users.Known(ctx, c.Users)
	if err != nil {
		g.cfg.Logger.Error("users not read", "user", g.user, "error", err)
		return &call.Refusal{Code: call.Internal, Message: "users cannot be read now"}
	}
	var there []call.UserID
	for i, u := range c.Users {
		if exist[i] {
			there = append(there, u)
		} else {
			c.Errors = append(c.Errors, call.UserError{User: u, Code: call.NoUser})
		}
	}
	c.Users = there
	return nil
}
