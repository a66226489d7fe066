package actors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// simDevice is a client that does what a good SDK does: it retries unanswered commands under their IDs, resumes with the
// calls it knows, drops old versions, and stops ringing by itself. What it asks for is up to chance.
type simDevice struct {
	w        *world
	user     call.UserID
	id       call.DeviceID
	conn     *simConn // nil: not connected
	away     bool     // logged out or gone for good: chance decides when it comes back
	known    map[call.ID]*knownCall
	order    []call.ID
	commands []*intent
	requests uint64
	retrying bool
	silent   bool // sends nothing although its connection lives
}

// knownCall is what the device believes of a call.
type knownCall struct {
	version uint64
	live    bool // it expects to hear how the call goes on
	rings   bool
	until   time.Time // when it stops ringing by itself
}

// intent is one command, from the first try to the answer.
type intent struct {
	id       call.CommandID
	frame    *wire.ClientFrame
	answered bool
	tries    int
	request  uint64
	sent     time.Time
}

// simConn is one connection: reliable and in order while it lives.
type simConn struct {
	d        *simDevice
	number   uint64
	gateway  *Gateway
	node     *simNode
	closed   bool
	closing  bool // one side has said so
	loggedIn bool
	hello    uint64 // request ID of the login
	since    time.Time
	upTo     time.Time
	downTo   time.Time
}

// ID, Send, Close and LoggedIn make it the Device of a gateway.
func (c *simConn) ID() uint64 { return c.number }
func (c *simConn) LoggedIn()  {}

// GoAway makes it do as a good client does, most of the time.
func (c *simConn) GoAway(after time.Duration, to string) {
	w := c.d.w
	w.note("%s/%s: connection %d is asked to go to %s in %v", c.d.user, c.d.id, c.number, to, after)
	if w.chance(70) {
		w.after(after, func() { c.d.follow(c, to) })
	}
}

// follow moves the device from a connection to another node.
func (d *simDevice) follow(c *simConn, to string) {
	n := d.w.life(to)
	if d.conn != c || c.closed || n == nil || n == c.node {
		return
	}
	d.w.note("%s/%s: moves to %s", d.user, d.id, to)
	c.broke(uint64(wire.CloseGoingAway))
	d.connectTo(n)
}

func (c *simConn) Send(frames []byte) {
	frames = bytes.Clone(frames)
	w := c.d.w
	at := later(c.downTo, w.now.Add(w.between(0, 5*time.Millisecond)))
	c.downTo = at
	w.at(at, nil, func() {
		if !c.closed {
			c.d.receive(c, frames)
		}
	})
}

func (c *simConn) Close(code uint64, reason string) {
	w := c.d.w
	w.note("%s/%s: connection %d closes, %d %s", c.d.user, c.d.id, c.number, code, reason)
	c.closing = true
	w.at(later(c.downTo, w.now), nil, func() { c.broke(code) })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// broke ends the connection on both sides; what was under way is lost.
func (c *simConn) broke(code uint64) {
	if c.closed {
		return
	}
	c.closed = true
	w := c.d.w
	if c.d.conn == c {
		c.d.conn = nil
		w.check.here[c.d.user] = w.now
		switch wire.CloseCode(code) {
		case wire.CloseKickedOut, wire.CloseLoggedOut:
			c.d.away = w.faults
		}
		w.after(w.between(10*time.Millisecond, 3*time.Second), c.d.connect)
	}
	if !c.node.dead {
		w.at(w.now, c.node, c.gateway.Closed)
	}
}

// send brings one frame to the gateway, if the connection still lives by then.
func (c *simConn) send(f *wire.ClientFrame) {
	w := c.d.w
	at := later(c.upTo, w.now.Add(w.between(0, 5*time.Millisecond)))
	c.upTo = at
	f = proto.Clone(f).(*wire.ClientFrame)
	w.at(at, c.node, func() {
		switch {
		case c.closed:
		case f.GetLogin() != nil:
			c.gateway.Login(f)
		default:
			c.gateway.Handle(f)
		}
	})
}

func (d *simDevice) connect() {
	w := d.w
	if d.conn != nil || d.away {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if n.dead || n.leaving {
		w.after(w.between(100*time.Millisecond, time.Second), d.connect)
		return
	}
	d.connectTo(n)
}

func (d *simDevice) connectTo(n *simNode) {
	w := d.w
	w.serial++
	c := &simConn{d: d, number: w.serial, node: n, since: w.now}
	c.gateway = n.open(c)
	d.conn, d.silent = c, false
	d.requests++
	c.hello = d.requests
	login := &wire.Login{UserId: string(d.user), DeviceId: string(d.id)}
	for _, id := range d.order {
		if k := d.known[id]; k.live {
			login.KnownCalls = append(login.KnownCalls, &wire.KnownCall{CallId: uint64(id), Version: k.version})
		}
	}
	w.note("%s/%s: connection %d to %s, knows %v", d.user, d.id, c.number, n.name, login.GetKnownCalls())
	c.send(&wire.ClientFrame{RequestId: c.hello, Body: &wire.ClientFrame_Login{Login: login}})
	w.after(4*time.Second, func() {
		if d.conn == c && !c.loggedIn {
			c.broke(1)
		}
	})
	d.heartbeat(c)
}

func (d *simDevice) heartbeat(c *simConn) {
	d.w.after(simHeartbeat, func() {
		if d.conn != c || d.silent {
			return
		}
		if c.loggedIn {
			c.send(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, 32)}}})
		}
		d.heartbeat(c)
	})
}

// receive takes what the server sent, frame by frame.
func (d *simDevice) receive(c *simConn, frames []byte) {
	r := wire.NewReader(bytes.NewReader(frames), wire.MaxServerFrame)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		var f wire.ServerFrame
		if err != nil || proto.Unmarshal(b, &f) != nil {
			d.w.fail("%s/%s got a frame that does not parse: %v", d.user, d.id, err)
			return
		}
		switch {
		case f.GetResponse() != nil:
			d.response(c, f.GetResponse())
		case f.GetEvent() != nil:
			d.event(c, f.GetEvent())
		}
	}
}

func (d *simDevice) response(c *simConn, r *wire.Response) {
	w := d.w
	w.check.responded(d, r)
	if l := r.GetLogin(); l != nil {
		c.loggedIn = true
		w.note("%s/%s: logged in, cut %t, sync %v", d.user, d.id, l.GetSyncTruncated(), l.GetSync())
		d.synced(l.GetSync())
		d.retry()
		if to := l.GetRedirect(); to != "" && w.chance(60) {
			w.after(w.between(0, 50*time.Millisecond), func() { d.follow(c, to) })
		}
		return
	}
	if s := r.GetCall(); s != nil {
		d.snapshot(s)
	}
	for _, in := range d.commands {
		if in.request != r.GetRequestId() || in.request == 0 {
			continue
		}
		w.note("%s/%s: %x answered %d %s", d.user, d.id, in.id[:4], r.GetCode(), r.GetMessage())
		if code := call.Code(r.GetCode()); code == call.Internal || code == call.TimedOut || code == call.TooFrequent {
			in.request = 0
			d.retrySoon()
			return
		}
		in.answered = true
		w.check.answered(d, in, r)
		return
	}
}

// retrySoon retries after a while, all at once: a client that retried each by itself would be refused for ever.
func (d *simDevice) retrySoon() {
	if d.retrying {
		return
	}
	d.retrying = true
	d.w.after(d.w.between(100*time.Millisecond, time.Second), func() {
		d.retrying = false
		d.retry()
	})
}

// retry sends again what has no answer.
func (d *simDevice) retry() {
	c := d.conn
	if c == nil || !c.loggedIn {
		return
	}
	for _, in := range d.commands {
		if !in.answered && (in.request == 0 || d.w.now.Sub(in.sent) > 2*time.Second) {
			d.send(in)
		}
	}
}

func (d *simDevice) send(in *intent) {
	c := d.conn
	if c == nil || !c.loggedIn {
		return
	}
	d.requests++
	in.tries++
	in.request, in.sent = d.requests, d.w.now
	in.frame.RequestId = in.request
	d.w.note("%s/%s: asks %s %x, try %d", d.user, d.id, operation(in.frame), in.id[:4], in.tries)
	c.send(in.frame)
	d.w.after(2500*time.Millisecond, d.retry)
}

func (d *simDevice) know(id call.ID) *knownCall {
	k := d.known[id]
	if k == nil {
		k = &knownCall{}
		d.known[id] = k
		d.order = append(d.order, id)
	}
	return k
}

// mine finds the device's own user in a list.
func (d *simDevice) mine(users []*wire.CallUser) *wire.CallUser {
	i := slices.IndexFunc(users, func(u *wire.CallUser) bool { return u.GetUserId() == string(d.user) })
	if i < 0 {
		return nil
	}
	return users[i]
}

// snapshot takes the state of a call as an answer or a sync gives it.
func (d *simDevice) snapshot(s *wire.CallSnapshot) *knownCall {
	k := d.know(call.ID(s.GetCallId()))
	if s.GetVersion() < k.version {
		return k
	}
	k.version = s.GetVersion()
	me := d.mine(s.GetUsers())
	if me == nil {
		return k
	}
	state := call.UserState(me.GetState())
	open := s.GetState() == wire.CallState_CALL_STATE_STARTED
	if k.rings = k.rings && open && state.Pending(); k.rings {
		d.ring(k, s) // perhaps for a new invitation
	}
	k.live = open && (state.Pending() || (state == call.Accepted && s.GetIsMainDevice()))
	return k
}

// synced takes the snapshots of a login: what the device named and does not find there has not changed.
func (d *simDevice) synced(sync []*wire.CallSnapshot) {
	for _, s := range sync {
		d.snapshot(s)
	}
}

func (d *simDevice) event(c *simConn, e *wire.Event) {
	w := d.w
	if e.GetKickedOut() != nil {
		return
	}
	id := call.ID(e.GetCallId())
	w.check.told(d, e)
	k := d.know(id)
	if e.GetVersion() < k.version {
		w.note("%s/%s: drops version %d of call %s, has %d", d.user, d.id, e.GetVersion(), id, k.version)
		return
	}
	k.version = e.GetVersion()
	switch b := e.GetKind().(type) {
	case *wire.Event_CallInvitationCreated:
		d.snapshot(b.CallInvitationCreated)
	case *wire.Event_CallInvitationReceived:
		w.note("%s/%s: call %s rings, version %d", d.user, d.id, id, e.GetVersion())
		k.live, k.rings = true, true
		d.ring(k, b.CallInvitationReceived)
		c.send(&wire.ClientFrame{Body: &wire.ClientFrame_InvitationReceipt{InvitationReceipt: &wire.InvitationReceipt{CallId: uint64(id)}}})
		d.decide(id)
	case *wire.Event_CallUserStateChanged:
		d.changed(k, e, b.CallUserStateChanged)
	default: // Cancelled, Timeout, Ended
		k.live, k.rings = false, false
	}
}

// ring sets when the device stops ringing by itself: without a word from the server it is over all the same (SPEC 9.4).
func (d *simDevice) ring(k *knownCall, s *wire.CallSnapshot) {
	k.until = d.w.now.Add(time.Duration(s.GetRemainingMs()) * time.Millisecond)
	d.w.after(k.until.Sub(d.w.now), func() {
		if k.rings && !d.w.now.Before(k.until) {
			k.rings, k.live = false, false
		}
	})
}

func (d *simDevice) changed(k *knownCall, e *wire.Event, c *wire.CallUserStateChanged) {
	if me := d.mine(c.GetUsers()); me != nil {
		state := call.UserState(me.GetState())
		elsewhere := e.GetReason() == wire.Reason_REASON_ANSWERED_ELSEWHERE || e.GetReason() == wire.Reason_REASON_MOVED_TO_OTHER_DEVICE
		k.rings = k.rings && state.Pending()
		k.live = state.Live() && !elsewhere
	}
	if c.GetCallState() == wire.CallState_CALL_STATE_ENDED {
		k.live, k.rings = false, false
	}
}

// newIntent makes a command with an ID of its own.
func (d *simDevice) newIntent(f *wire.ClientFrame) *intent {
	in := &intent{frame: f}
	binary.BigEndian.PutUint64(in.id[:], d.w.rng.Uint64())
	binary.BigEndian.PutUint64(in.id[8:], d.w.rng.Uint64())
	f.CommandId = in.id[:]
	d.commands = append(d.commands, in)
	return in
}
