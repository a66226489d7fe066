package actors

import (
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// owns reports whether this node owns the shard by the last view, ready for use or not.
func (s *System) owns(shard uint16) bool {
	p := s.placement()
	return s.cfg.Cluster == nil || p != nil && p.Owner(shard).Node == s.cfg.Node
}

// placement is the present view; nil where there is none.
func (s *System) placement() Placement {
	if p := s.place.Load(); p != nil {
		return *p
	}
	return nil
}

// Home is where clients reach the node that holds the user's session, host:port; empty when that is not known.
func (s *System) Home(user call.UserID) string { return s.owner(user).Client }

func (s *System) owner(user call.UserID) Owner {
	if p := s.placement(); p != nil {
		return p.Owner(user.Shard())
	}
	return Owner{}
}

// Moved takes a new view into account: actors of lost shards leave, by and by; devices whose session is elsewhere now follow
// it; calls ask the new owners of others' sessions to watch. It does not block. Nothing may be delivered to the lost shards
// any more. It is called by one goroutine, like Paused, Opened and Disputed.
func (s *System) Moved(p Placement, lost []uint16) {
	before := s.place.Swap(&p)
	if len(lost) > 0 {
		set, how := setOf(lost), leave{Late: s.paused}
		s.leaving.Go(func() {
			s.calls.release(func(id call.ID) bool { return set.has(id.Shard()) }, how)
			s.sessions.release(func(u call.UserID) bool { return set.has(u.Shard()) }, how)
			s.cfg.Cluster.HandedOver(lost)
		})
	}
	s.paused = false
	if before != nil {
		if went := changed(*before, p); len(went) > 0 {
			s.calls.each(func(call.ID) bool { return true }, moved{setOf(went)})
		}
		s.takeover.look(s.kept(*before)) // who went may have made calls in them that nobody else knows of
	}
	for _, g := range s.everyGateway() {
		g.follow(p)
	}
}

// Paused says that this process stood still for so long that others have taken over what it owned: what its actors know is
// old, and they leave without a word. Moved follows, with every shard lost.
func (s *System) Paused() { s.paused = true }

// changed lists the shards whose owner is another one, or another life of the same.
func changed(a, b Placement) []uint16 {
	var out []uint16
	for shard := range uint16(call.Shards) {
		if was, is := a.Owner(shard), b.Owner(shard); was.Node != is.Node || was.Boot != is.Boot {
			out = append(out, shard)
		}
	}
	return out
}

// kept lists the shards that this node owned and owns.
func (s *System) kept(before Placement) []uint16 {
	var out []uint16
	for shard := range uint16(call.Shards) {
		if before.Owner(shard).Node == s.cfg.Node && s.owns(shard) {
			out = append(out, shard)
		}
	}
	return out
}

// Opened says that these shards are this node's to use from now on.
func (s *System) Opened(shards []uint16) { s.takeover.look(shards) }

// Disputed says that another node has used these shards, too, after a partition or because it was thought dead: calls are
// read again, and devices log in again.
func (s *System) Disputed(shards []uint16) {
	set := setOf(shards)
	s.calls.each(func(id call.ID) bool { return set.has(id.Shard()) }, doubt{})
	s.sessions.each(func(u call.UserID) bool { return set.has(u.Shard()) }, doubt{})
	s.takeover.look(shards)
}

func (s *System) everyGateway() []*Gateway {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Gateway, 0, len(s.gateways))
	for _, g := range s.gateways {
		all = append(all, g)
	}
	return all
}

// follow reacts to a change of who owns the session of the gateway's user. An owner that is gone took with him what the
// device was still owed, so it logs in again; one that hands over has told all, and the device may take its time to come
// nearer to the next.
func (g *Gateway) follow(p Placement) {
	g.mu.Lock()
	if now := g.place(); now != nil {
		p = now // under the lock: an older view must not come after a newer one
	}
	if g.stage != joining && g.stage != online {
		g.mu.Unlock()
		return
	}
	was, is := g.home, p.Owner(g.user.Shard())
	g.home = is
	stage := g.stage
	g.mu.Unlock()
	switch {
	case was == is || was.Node == "":
	case was.Boot != p.Boot(was.Node):
		g.recall("the node that held the session is gone")
	case stage == online:
		g.seen() // so that an owner who was not told of the device says so
		if is.Node != g.cfg.Node && is.Client != "" {
			g.out.GoAway(g.share(g.cfg.Spread), is.Client)
		}
	}
}

// share is this connection's own part of a time over which all are spread.
func (g *Gateway) share(over time.Duration) time.Duration {
	const golden = 0x9e3779b97f4a7c15 // numbers in a row come out far apart
	return time.Duration(float64(over) * float64(g.conn.ID*golden>>11) / (1 << 53))
}

// recall has the device log in again: only a login's sync puts it in step.
func (g *Gateway) recall(why string) {
	g.out.Close(uint64(wire.CloseGoingAway), "log in again to be in step: "+why)
}
