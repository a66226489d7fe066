package actors

import (
	"sync/atomic"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// enter reports whether the shard is this node's to use, and keeps it so until exit.
func (s *System) enter(shard uint16) (*atomic.Int64, bool) {
	if s.cfg.Cluster == nil {
		return nil, true
	}
	inside := s.cfg.Cluster.Enter(shard)
	return inside, inside != nil
}

func exit(inside *atomic.Int64) {
	if inside != nil {
		inside.Add(-1)
	}
}

// ToCall implements Peers.
func (s *System) ToCall(id call.ID, msg any) {
	if s.cfg.Cluster == nil {
		s.calls.send(id, msg)
		return
	}
	inside, here := s.enter(id.Shard())
	if here {
		s.calls.send(id, msg)
		exit(inside)
		return
	}
	if kind, body, ok := encodeForCall(id, msg); ok {
		s.forward(id.Shard(), kind, body, msg)
	}
}

// ToSession implements Peers.
func (s *System) ToSession(user call.UserID, msg any) {
	if s.cfg.Cluster == nil {
		s.sessions.send(user, msg)
		return
	}
	inside, here := s.enter(user.Shard())
	if here {
		s.sessions.send(user, msg)
		exit(inside)
		return
	}
	if kind, body, ok := encodeForSession(user, msg); ok {
		s.forward(user.Shard(), kind, body, msg)
	}
}

// ToGateway implements Peers.
func (s *System) ToGateway(conn session.Conn, msg any) {
	if conn.Node == s.cfg.Node {
		s.toGateway(conn.ID, msg)
		return
	}
	if kind, body, ok := encodeForGateway(conn.ID, msg); ok && s.cfg.Cluster != nil {
		_ = s.cfg.Cluster.SendTo(conn.Node, kind, body) // what is lost on the way is found missing: see session.Audit
	}
}

func (s *System) toGateway(conn uint64, msg any) {
	s.mu.RLock()
	g := s.gateways[conn]
	s.mu.RUnlock()
	if g != nil {
		g.deliver(msg)
	}
}

// forward sends a message to the owner of its shard.
func (s *System) forward(shard uint16, kind uint8, body []byte, msg any) {
	if err := s.cfg.Cluster.Send(shard, kind, body); err != nil {
		unsent(s, msg)
	}
	s.next(shard)
}

// unsent tells the client that his request went nowhere; all else is said again by those who say it.
func unsent(p Peers, msg any) {
	r := &call.Refusal{Code: call.Internal, Message: "no node can take this now"}
	refuse := func(conn session.Conn, request uint64, end *closing) {
		p.ToGateway(conn, output{Frames: refusal(request, r, 0), Answers: 1, Code: r.Code, Close: end})
	}
	switch m := msg.(type) {
	case *command:
		if m.Op != call.OpReceipt {
			refuse(m.Conn, m.Request, nil)
		}
	case *list:
		refuse(m.Conn, m.Request, nil)
	case session.Logout:
		refuse(m.Conn, m.Request, nil)
	case *attach:
		refuse(m.Conn, m.Request, &closing{uint64(wire.CloseOverloaded), r.Message})
	}
}

// Deliver takes a message from another node, or one that was held, for a shard that this node owns. It does not block.
func (s *System) Deliver(kind uint8, body []byte) {
	m, ok := decode(kind, body, s.cfg.Now())
	switch {
	case !ok || m.to == toGateway:
		s.unknown(kind)
	case m.to == toCall:
		s.calls.send(m.call, m.msg)
	default:
		s.sessions.send(m.user, m.msg)
	}
}

// Direct takes a message from another node for one of this node's gateways. It does not block.
func (s *System) Direct(kind uint8, body []byte) {
	m, ok := decode(kind, body, time.Time{})
	if !ok || m.to != toGateway {
		s.unknown(kind)
		return
	}
	s.toGateway(m.conn, m.msg)
}

// unknown counts what a node of another version has sent, or a broken one.
func (s *System) unknown(kind uint8) {
	s.cfg.Logger.Debug("message dropped", "kind", kind)
	if s.cfg.Watch.Unknown != nil {
		s.cfg.Watch.Unknown()
	}
}
