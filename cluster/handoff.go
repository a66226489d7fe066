package cluster

import (
	"slices"
	"time"
)

// handoff knows which shards this node may not use yet and which it has lost but still works on. It is pure: no clock, no
// lock, no message; it belongs to the goroutine that builds views.
//
// A shard that comes to this node waits for everyone who may still work on it: its owner of before, every member that was
// not in the view of before (he may have thought otherwise), and this node itself if it has not finished losing it. Each
// says so by a list of what it still holds, made under the same version of the view; such lists are complete, so that a
// lost one is made good by the next. Chains of owners need no chain here: whoever has not let go says so to the owner of
// the day.
type handoff struct {
	self     string
	limit    time.Duration
	draining map[uint16]int // lost shards, and how many of their losses are not handed over
	pending  map[uint16]*pending
	disputes map[string]*shardSet // shards of this node that others said they hold, too
}

// pending is a shard that this node owns and does not use yet.
type pending struct {
	until time.Time
	from  []string // who may still work on it
}

func newHandoff(self string, limit time.Duration) *handoff {
	return &handoff{
		self: self, limit: limit,
		draining: make(map[uint16]int), pending: make(map[uint16]*pending), disputes: make(map[string]*shardSet),
	}
}

// change moves from one view to the next. Gained shards are pending until a later call gives them as open.
func (h *handoff) change(prev, next *View, now time.Time) (gained, lost []uint16) {
	var added []string
	for _, m := range next.Members {
		if _, known := prev.Member(m.Name); !known && m.Name != h.self {
			added = append(added, m.Name)
		}
	}
	for i := range Shards {
		shard := uint16(i)
		was, is := prev.Local(shard), next.Local(shard)
		switch {
		case was && !is:
			lost = append(lost, shard)
			h.draining[shard]++
			delete(h.pending, shard)
		case is && !was:
			gained = append(gained, shard)
			h.pending[shard] = &pending{until: now.Add(h.limit), from: h.holders(shard, prev, next, added)}
		case is && h.pending[shard] != nil:
			p := h.pending[shard]
			p.from = slices.DeleteFunc(p.from, func(name string) bool {
				_, there := next.Member(name)
				return !there && name != h.self
			})
			p.add(added...)
		}
	}
	clear(h.disputes)
	return gained, lost
}

// holders says who may still work on a shard that this node gains.
func (h *handoff) holders(shard uint16, prev, next *View, added []string) []string {
	from := slices.Clone(added)
	if h.draining[shard] > 0 {
		from = append(from, h.self)
	}
	before := prev.ownerName(shard)
	if _, alive := next.Member(before); alive && before != h.self && !slices.Contains(from, before) {
		from = append(from, before)
	}
	return from
}

// open gives the pending shards that nobody works on any more; they are pending no longer.
func (h *handoff) open() []uint16 {
	var open []uint16
	for shard, p := range h.pending {
		if len(p.from) == 0 {
			open = append(open, shard)
			delete(h.pending, shard)
		}
	}
	slices.Sort(open)
	return open
}

// overdue is open for the shards that have waited for too long.
func (h *handoff) overdue(now time.Time) []uint16 {
	var late []uint16
	for shard, p := range h.pending {
		if !now.Before(p.until) {
			late = append(late, shard)
			delete(h.pending, shard)
		}
	}
	slices.Sort(late)
	return late
}

// told takes another node's complete list of the shards that it still holds though this node owns them under the present
// view. It gives those that are in use here all the same and that the other has begun or ceased to claim.
func (h *handoff) told(v *View, from string, held []uint16) (disputed []uint16) {
	claims, before := setOf(held), h.disputes[from]
	if before == nil {
		before = new(shardSet)
	}
	for shard, p := range h.pending {
		if !claims.has(shard) {
			p.drop(from)
		} else {
			p.add(from)
		}
	}
	now, turned := new(shardSet), new(shardSet)
	for shard := range claims.all() {
		if v.Local(shard) && h.pending[shard] == nil {
			now.add(shard)
		}
	}
	for i := range now {
		turned[i] = now[i] ^ before[i]
	}
	h.disputes[from] = now
	return slices.Collect(turned.all())
}

// handedOver notes that this node has stopped work on these lost shards, once for each time that it lost them. It gives
// the nodes that wait for one of them.
func (h *handoff) handedOver(v *View, shards []uint16) (tell []string) {
	for _, shard := range shards {
		if h.draining[shard] == 0 {
			continue
		}
		if h.draining[shard]--; h.draining[shard] > 0 {
			continue
		}
		delete(h.draining, shard)
		if p := h.pending[shard]; p != nil {
			p.drop(h.self)
		}
		if owner := v.ownerName(shard); owner != "" && owner != h.self && !slices.Contains(tell, owner) {
			tell = append(tell, owner)
		}
	}
	return tell
}

// held lists what this node has lost to that one and still works on.
func (h *handoff) held(v *View, to string) []uint16 {
	var held []uint16
	for shard := range h.draining {
		if v.ownerName(shard) == to {
			held = append(held, shard)
		}
	}
	slices.Sort(held)
	return held
}

// awaited names the other nodes for which a shard waits.
func (h *handoff) awaited() []string {
	var names []string
	for _, p := range h.pending {
		for _, name := range p.from {
			if name != h.self && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func (p *pending) add(names ...string) {
	for _, name := range names {
		if !slices.Contains(p.from, name) {
			p.from = append(p.from, name)
		}
	}
}

func (p *pending) drop(name string) {
	p.from = slices.DeleteFunc(p.from, func(n string) bool { return n == name })
}
