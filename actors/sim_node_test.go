package actors

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// simNode is one life of a server process.
type simNode struct {
	w           *world
	name        string
	boot        uint64
	dead        bool
	leaving     bool
	started     time.Time
	pausedAt    time.Time
	pausedUntil time.Time
	cfg         Config
	view        *simView
	older       map[string]time.Time       // views that it has replaced, and when
	pending     map[uint16]*simHold        // shards of this node that it may not use yet
	blind       map[string]time.Time       // whom it takes for dead, wrongly, and until when
	mute        map[string]time.Time       // to whom its connection is broken, and until when
	claims      map[string]map[uint16]bool // what it has used since it lost sight of another node
	early       []*simMessage              // for shards that it does not own yet
	calls       map[call.ID][]*simActor    // more than one: a stale second activation is about
	sessions    map[call.UserID]*simActor
	alarms      map[call.ID]bool
	gateways    map[uint64]*Gateway
	lastSent    map[string]time.Time // per pair, so that messages stay in order
}

func (n *simNode) remove(a *simActor) {
	a.gone = true
	a.stop()
	if a.user != "" {
		if n.sessions[a.user] == a {
			delete(n.sessions, a.user)
		}
		return
	}
	n.calls[a.call] = slices.DeleteFunc(n.calls[a.call], func(o *simActor) bool { return o == a })
	if len(n.calls[a.call]) == 0 {
		delete(n.calls, a.call)
	}
}

// disperse sends on what an activation has left behind.
func (n *simNode) disperse(a *simActor) {
	box := a.box
	a.box = nil
	for _, msg := range box {
		if _, own := msg.(wake); !own {
			n.dispatch(&simMessage{from: a.name, call: a.call, user: a.user, msg: msg})
		}
	}
}

// breakDown is a panic: the activation is gone with what only it knew; its queue goes to the next one.
func (n *simNode) breakDown(a *simActor) {
	n.w.note("%s: %s breaks down", n.name, a.name)
	n.w.disturbed = n.w.now
	n.remove(a)
	n.disperse(a)
	if a.call != 0 {
		n.alarms[a.call] = true
		n.w.at(n.w.now.Add(time.Second), n, func() {
			delete(n.alarms, a.call)
			n.ring(a.call, nil)
		})
	}
}

// ring wakes a call, if it is this node's; for a shard that is still being handed over it rings again.
func (n *simNode) ring(id call.ID, a *simActor) {
	switch {
	case n.usable(id.Shard()) || n.w.bug.is(unowned):
		if a != nil && !a.gone {
			a.post(wake{})
		} else {
			n.toCall(id, wake{})
		}
	case n.owns(id.Shard()):
		n.alarms[id] = true
		n.w.at(n.w.now.Add(heldAgain), n, func() {
			delete(n.alarms, id)
			n.ring(id, a)
		})
	}
}

func (n *simNode) activateCall(id call.ID) *simActor {
	a := n.spawn("call "+id.String(), func(a *simActor) receiver {
		logic := newCall(id, &n.cfg, a, simPeers{n, "call " + id.String()})
		if n.w.bug != nil && n.w.bug.apply != nil {
			logic.apply = n.w.bug.apply
		}
		return logic
	})
	a.call = id
	n.calls[id] = append(n.calls[id], a)
	return a
}

func (n *simNode) toCall(id call.ID, msg any) {
	live := n.calls[id]
	if len(live) == 0 {
		live = []*simActor{n.activateCall(id)}
	}
	live[n.w.rng.IntN(len(live))].post(msg)
}

func (n *simNode) toSession(user call.UserID, msg any) {
	a := n.sessions[user]
	if a == nil {
		a = n.spawn("session "+string(user), func(a *simActor) receiver {
			return newSession(user, &n.cfg, a, simPeers{n, "session " + string(user)})
		})
		a.user = user
		n.sessions[user] = a
	}
	a.post(msg)
}

// open makes the gateway of a connection, as System.Open does.
func (n *simNode) open(c *simConn) *Gateway {
	s := &System{cfg: n.cfg, gateways: map[uint64]*Gateway{}}
	s.gate.open(&s.cfg)
	g := s.Open(c)
	g.peers = simPeers{n, fmt.Sprint("gateway ", c.number)}
	g.place = func() Placement { return n.view }
	g.leave = func() { delete(n.gateways, c.number) }
	n.gateways[c.number] = g
	return g
}

// die is kill -9: what was under way is gone, what is durable stays.
func (n *simNode) die() {
	n.w.note("%s dies", n.name)
	n.w.splintered = n.w.splintered || n.cutOff()
	n.dead = true
	n.w.disturbed = n.w.now
	for _, a := range n.everyone() {
		a.gone = true
		a.stop()
	}
	for _, d := range n.w.devices {
		if c := d.conn; c != nil && c.node == n {
			n.w.after(n.w.between(0, time.Second), func() { c.broke(0xff) })
		}
	}
}

// cutOff reports whether another node takes this one for dead, or will.
func (n *simNode) cutOff() bool {
	for _, o := range n.w.nodes {
		if o != n && !o.dead && len(n.view.members) > 0 && (!n.w.linked(n.name, o.name) || o.view.Boot(n.name) != n.boot) {
			return true
		}
	}
	return false
}

// everyone lists the activations, in an order that is the same in every run.
func (n *simNode) everyone() []*simActor {
	var all []*simActor
	for _, id := range n.w.store.order {
		all = append(all, n.calls[id]...)
	}
	for id, live := range n.calls {
		if !slices.Contains(n.w.store.order, id) { // not saved yet
			all = append(all, live...)
		}
	}
	slices.SortStableFunc(all, func(a, b *simActor) int { return compareIDs(a.call, b.call) })
	for _, u := range n.w.users {
		if a := n.sessions[u]; a != nil {
			all = append(all, a)
		}
	}
	return all
}

func compareIDs(a, b call.ID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

var quiet = slog.New(slog.DiscardHandler)

// simMessage is a message for a call or a session on its way.
type simMessage struct {
	from  string
	call  call.ID
	user  call.UserID
	msg   any
	hops  int
	view  string // by which it was sent
	tired bool   // it has waited for a view that its sender has seen before
}

func (m *simMessage) shard() uint16 {
	if m.call != 0 {
		return m.call.Shard()
	}
	return m.user.Shard()
}

func (m *simMessage) to() string {
	if m.call != 0 {
		return "call " + m.call.String()
	}
	return "session " + string(m.user)
}

// simPeers is the network between actors, as one sender on one node sees it.
type simPeers struct {
	n    *simNode
	from string
}

func (p simPeers) ToCall(id call.ID, msg any) { p.send(&simMessage{from: p.from, call: id, msg: msg}) }

func (p simPeers) ToSession(user call.UserID, msg any) {
	p.send(&simMessage{from: p.from, user: user, msg: msg})
}

// send delays a message; while faults are on it may lose, double or overtake.
func (p simPeers) send(m *simMessage) {
	w := p.n.w
	w.note("%s: %s > %s: %s", p.n.name, p.from, m.to(), sketch(m.msg))
	lossy := true
	switch m.msg.(type) {
	case *attach, session.Handover:
		lossy = false // on its own node; between nodes they may be lost like everything else
	}
	p.n.pass(p.from+" > "+m.to(), lossy, func() { p.n.dispatch(m) })
}

// pass brings something from one place on this node to another one.
func (n *simNode) pass(pair string, lossy bool, deliver func()) {
	w := n.w
	at := w.now.Add(w.between(0, 2*time.Millisecond))
	if lossy && w.fault(w.check.lossy) {
		switch w.rng.IntN(4) {
		case 0:
			w.note("  lost")
			return
		case 1:
			copied := at.Add(w.between(0, time.Second))
			w.note("  doubled")
			w.at(copied, n, deliver)
		case 2:
			w.note("  late")
			w.at(at.Add(w.between(0, 3*time.Second)), n, deliver) // may be overtaken
			return
		case 3:
			at = at.Add(w.between(0, 500*time.Millisecond))
		}
	}
	at = later(at, n.lastSent[pair])
	n.lastSent[pair] = at
	w.at(at, n, deliver)
}

func sketch(msg any) string {
	s := fmt.Sprintf("%T", msg)
	switch m := msg.(type) {
	case *command:
		return fmt.Sprintf("%s by %s/%s %x to %v", m.Op, m.User, m.Device, m.Command.Command[:4], m.Users)
	case session.Tell:
		return fmt.Sprintf("tell %d..%d, %d items, answer %t", m.From, m.Seq, len(m.Items), len(m.Answer) > 0)
	case output:
		return fmt.Sprintf("output %d, %d bytes, %d answers", m.Number, len(m.Frames), m.Answers)
	case told, presence, ask, audit, session.Watch, session.Heard, session.Seen, session.Broken, session.Handover:
		return fmt.Sprintf("%T%+v", m, m)
	}
	return s
}
