package actors

import (
	"fmt"
	"slices"
	"time"

	"carillon/actors/session"
)

// dispatch brings a message to who owns its shard, as this node sees it: delivered, held for a hand-off, or sent to the
// owner (package cluster, in short).
func (n *simNode) dispatch(m *simMessage) {
	shard := m.shard()
	switch hold := n.pending[shard]; {
	case n.usable(shard), n.w.bug.is(unowned) && m.hops > 0:
		if m.call != 0 {
			n.toCall(m.call, m.msg)
		} else {
			n.toSession(m.user, m.msg)
		}
		return
	case n.owns(shard):
		hold.keep(m)
		return
	}
	if m.hops > 0 && !m.tired && !n.outran(m.view) { // whoever sent it here may have seen a view that this node will see
		n.early = append(n.early, m)
		n.w.at(n.w.now.Add(simEarly), n, func() {
			if i := slices.Index(n.early, m); i >= 0 {
				n.early = slices.Delete(n.early, i, i+1)
				m.tired = true
				n.dispatch(m)
			}
		})
		return
	}
	owner := n.view.Owner(shard).Node
	switch {
	case owner == "" && m.hops == 0:
		unsent(simPeers{n, m.from}, m.msg)
	case owner != "" && m.hops < simHops:
		n.transmit(owner, m)
	}
}

// simHops is how often a message is passed on.
const simHops = 4

// outran reports whether this node has replaced the view of that version lately.
func (n *simNode) outran(version string) bool {
	return n.view.version() != version && n.w.now.Sub(n.older[version]) < 5*time.Second
}

// transmit sends a message to another node, in the form in which it travels.
func (n *simNode) transmit(to string, m *simMessage) {
	var kind uint8
	var body []byte
	var ok bool
	if m.call != 0 {
		kind, body, ok = encodeForCall(m.call, m.msg)
	} else {
		kind, body, ok = encodeForSession(m.user, m.msg)
	}
	if !ok {
		return
	}
	version := n.view.version()
	n.carry(to, func(other *simNode) {
		a, ok := decode(kind, body, n.w.now)
		if !ok {
			n.w.fail("%s: %s does not decode", other.name, sketch(m.msg))
			return
		}
		other.dispatch(&simMessage{from: m.from, call: a.call, user: a.user, msg: a.msg, hops: m.hops + 1, view: version})
	})
}

// ToGateway is a message to a connection: nothing is lost on the connection's own node.
func (p simPeers) ToGateway(conn session.Conn, msg any) {
	n := p.n
	n.w.note("%s: %s > gateway %d: %s", n.name, p.from, conn.ID, sketch(msg))
	if _, again := msg.(recall); again {
		n.w.check.recalled(conn)
	}
	pair := p.from + " > gateway " + fmt.Sprint(conn.ID)
	if conn.Node == n.name {
		n.pass(pair, false, func() { n.toGateway(conn.ID, msg) })
		return
	}
	kind, body, ok := encodeForGateway(conn.ID, msg)
	if !ok {
		return
	}
	n.carry(conn.Node, func(other *simNode) {
		a, ok := decode(kind, body, n.w.now)
		if !ok {
			n.w.fail("%s: %s does not decode", other.name, sketch(msg))
			return
		}
		other.toGateway(a.conn, a.msg)
	})
}

func (n *simNode) toGateway(conn uint64, msg any) {
	if g := n.gateways[conn]; g != nil {
		g.deliver(msg)
	}
}

// carry brings something to another node: in order, or not at all.
func (n *simNode) carry(to string, deliver func(*simNode)) {
	w := n.w
	if w.fault(w.check.lossy/3) || !w.linked(n.name, to) || n.mute[to].After(w.now) {
		w.note("  lost on the way to %s", to)
		return
	}
	at := later(w.now.Add(w.between(0, 3*time.Millisecond)), n.lastSent[to])
	if w.fault(w.check.lossy / 3) {
		at = at.Add(w.between(0, time.Second))
	}
	n.lastSent[to] = at
	w.at(at, nil, func() {
		other := w.life(to)
		if other == nil || !w.linked(n.name, to) {
			return
		}
		w.at(w.now, other, func() { deliver(other) }) // when it runs
	})
}

// simHold is what waits for a shard while it is handed over.
type simHold struct {
	since  time.Time
	clear  time.Time // when nobody worked on it any more; zero: not yet
	died   bool      // nobody has to hand over: its owner was alone with it and died
	urgent int
	queue  []*simMessage
}

func (h *simHold) keep(m *simMessage) {
	m.hops, m.tired = 0, false
	if _, first := m.msg.(session.Handover); first {
		h.queue = slices.Insert(h.queue, h.urgent, m)
		h.urgent++
		return
	}
	h.queue = append(h.queue, m)
}

// Slow is not played: time at a node does not depend on how much comes.
func (c *simConn) Slow(int) {}
