package cluster

import (
	"maps"
	"slices"
	"time"
)

// handoff knows which shards this node may not use yet and which it has lost but still works on. It is pure: no clock, no
// lock, no message; it belongs to the goroutine that builds views.
//
// A shard that comes to this node waits for every other member, and for this node itself if it has not finished losing it:
// views differ for a while, and anyone may have owned it by one that this node has never seen. Each says what it still
// holds by a complete list, made under the same version of the view; a lost list is made good by the next. So nobody opens
// a shard before all members have agreed on its owner and none works on it. One case needs no word: when all was settled
// and then members have died, nobody else can have begun on their shards.
type handoff struct {
	self     string
	limit    time.Duration
	draining map[uint16]int // lost shards, and how many of their losses are not handed over
	pending  map[uint16]*pending
	disputes map[string]*shardSet // shards of this node that others said they hold, too
	idle     map[string]bool      // who has said under the present version that he holds nothing he has lost
	claims   map[string]*claim    // what this node has used since it lost sight of another, at most maxKnown of them
}

// claim is what was used without the knowledge of one life of another node.
type claim struct {
	boot uint64
	used shardSet
}

// maxLimits is for how many limits a shard waits while the members change: all must agree on each view anew.
const maxLimits = 3

// pending is a shard that this node owns and does not use yet.
type pending struct {
	until time.Time
	last  time.Time // until cannot be later
	from  []string  // who may still work on it
}

func newHandoff(self string, limit time.Duration) *handoff {
	return &handoff{
		self: self, limit: limit,
		draining: make(map[uint16]int), pending: make(map[uint16]*pending), disputes: make(map[string]*shardSet),
		idle: make(map[string]bool), claims: make(map[string]*claim),
	}
}

// change moves from one view to the next. Gained shards are pending until a later call gives them as open.
func (h *handoff) change(prev, next *View, now time.Time) (gained, lost []uint16) {
	added, everyone := h.news(prev, next)
	died := h.settled(prev) && onlyDeaths(prev, next)
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
			p := &pending{until: now.Add(h.limit), last: now.Add(maxLimits * h.limit)}
			if !died {
				p.from = slices.Clone(everyone)
			}
			if h.draining[shard] > 0 {
				p.from = append(p.from, h.self)
			}
			h.pending[shard] = p
		case is && h.pending[shard] != nil:
			p := h.pending[shard]
			p.from = slices.DeleteFunc(p.from, func(name string) bool {
				_, there := next.Member(name)
				return !there && name != h.self
			})
			p.add(added...)
			if p.until = now.Add(h.limit); p.until.After(p.last) {
				p.until = p.last
			}
		}
	}
	h.claim(prev, next)
	clear(h.disputes)
	if prev.Version != next.Version {
		clear(h.idle)
	}
	return gained, lost
}

// claim notes what this node uses while another one is out of its sight: if that one lives, he may use it, too. One that
// comes back to life has used nothing.
func (h *handoff) claim(prev, next *View) {
	for _, m := range prev.Members {
		if _, there := next.Member(m.Name); !there && m.Name != h.self && h.claims[m.Name] == nil && len(h.claims) < maxKnown {
			h.claims[m.Name] = &claim{boot: m.Boot}
		}
	}
	for name, c := range h.claims {
		if m, there := next.Member(name); there && m.Boot != c.boot {
			delete(h.claims, name)
		}
		for i := range c.used {
			c.used[i] |= next.local[i]
		}
	}
}

// claimed lists what this node still holds of what it has lost, and what it has used without the other's knowledge.
func (h *handoff) claimed(c *claim) []uint16 {
	all := setOf(h.held())
	for i := range all {
		all[i] |= c.used[i]
	}
	return slices.Collect(all.all())
}

// news names the other members of a view, and those of them that were not in the one before.
func (h *handoff) news(prev, next *View) (added, everyone []string) {
	for _, m := range next.Members {
		if m.Name == h.self {
			continue
		}
		everyone = append(everyone, m.Name)
		if _, known := prev.Member(m.Name); !known {
			added = append(added, m.Name)
		}
	}
	return added, everyone
}

// settled reports whether all members of the view have said that they hold nothing they have lost.
func (h *handoff) settled(v *View) bool {
	for _, m := range v.Members {
		if m.Name != h.self && !h.idle[m.Name] {
			return false
		}
	}
	return len(v.Members) > 0 && len(h.pending) == 0
}

// onlyDeaths reports whether the next view is the one before without some that were not leaving.
func onlyDeaths(prev, next *View) bool {
	for _, m := range next.Members {
		if was, known := prev.Member(m.Name); !known || was != m {
			return false
		}
	}
	return true
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

// told takes another node's complete list of the shards that it has lost and still holds, under the present view. It gives
// those that are in use here all the same and that the other has begun or ceased to claim.
func (h *handoff) told(v *View, from string, held []uint16) (disputed []uint16) {
	h.idle[from] = len(held) == 0
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
// the nodes that wait for one of them; all others once nothing is left.
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
	if len(h.draining) == 0 {
		_, tell = h.news(v, v)
	}
	return tell
}

// held lists what this node has lost and still works on.
func (h *handoff) held() []uint16 { return slices.Sorted(maps.Keys(h.draining)) }

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
