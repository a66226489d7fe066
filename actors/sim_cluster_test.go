package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"carillon/actors/call"
)

// The simulated cluster follows the rules of package cluster, which has a simulation of its own: views that differ for a
// while, hand-off before use, forwarding, standstills, partitions, disputes.

// Times of a simulated cluster.
const (
	simHandOff = time.Second             // longest wait for a hand-off
	simPause   = 1200 * time.Millisecond // standing still for longer counts as absence
	simPoll    = 20 * time.Millisecond
	simEarly   = time.Second // how long a message waits for a view
)

// simView is one node's belief about who is there. It never changes.
type simView struct{ members []simMember }

type simMember struct {
	name    string
	boot    uint64
	leaving bool
}

// Owner implements Placement by rendezvous.
func (v *simView) Owner(shard uint16) Owner {
	var best Owner
	score := uint64(0)
	for _, m := range v.members {
		h := uint64(shard)*0x9e3779b97f4a7c15 + uint64(len(m.name)) + uint64(m.name[len(m.name)-1])*0xbf58476d1ce4e5b9
		h ^= h >> 29
		h *= 0x94d049bb133111eb
		h ^= h >> 32
		if !m.leaving && (best.Node == "" || h > score) {
			best, score = Owner{Node: m.name, Boot: m.boot, Client: m.name}, h
		}
	}
	return best
}

// Boot implements Placement.
func (v *simView) Boot(node string) uint64 {
	for _, m := range v.members {
		if m.name == node {
			return m.boot
		}
	}
	return 0
}

// version is equal where the owners are equal.
func (v *simView) version() string {
	var b strings.Builder
	for _, m := range v.members {
		if !m.leaving {
			b.WriteString(m.name + " ")
		}
	}
	return b.String()
}

func (n *simNode) owns(shard uint16) bool { return n.view.Owner(shard).Node == n.name }
func (n *simNode) usable(shard uint16) bool {
	return n.owns(shard) && n.pending[shard] == nil
}

// uses reports whether anything works on the shard.
func (n *simNode) uses(shard uint16) bool {
	return slices.ContainsFunc(n.everyone(), func(a *simActor) bool { return a.shard() == shard })
}

func (a *simActor) shard() uint16 {
	if a.call != 0 {
		return a.call.Shard()
	}
	return a.user.Shard()
}

// life is the present life of a node, nil while it is dead.
func (w *world) life(name string) *simNode {
	for _, n := range w.nodes {
		if n.name == name && !n.dead {
			return n
		}
	}
	return nil
}

// linked reports whether two nodes can talk.
func (w *world) linked(a, b string) bool { return w.side[a] == w.side[b] }

// happened lets every node learn, each in its own time, what is so now.
func (w *world) happened(least, most time.Duration) {
	for _, n := range w.nodes {
		if !n.dead {
			w.at(w.now.Add(w.between(least, most)), n, n.learn)
		}
	}
}

// learn adopts what this node can see now.
func (n *simNode) learn() {
	w := n.w
	v := &simView{}
	for _, m := range w.nodes {
		absent := m != n && (!w.linked(n.name, m.name) || n.blind[m.name].After(w.now) || m.still() || len(m.view.members) == 0 && m.started.Equal(w.now))
		if !m.dead && !absent {
			v.members = append(v.members, simMember{m.name, m.boot, m.leaving})
		}
	}
	if !slices.Equal(v.members, n.view.members) {
		n.adopt(v, false)
	}
}

// still reports whether the node has stood still for so long that others have noticed.
func (n *simNode) still() bool {
	return n.pausedUntil.After(n.w.now) && n.w.now.Sub(n.pausedAt) > simPause/2 && n.pausedUntil.Sub(n.pausedAt) > simPause
}

// adopt does what System.Moved and package cluster do with a new view.
func (n *simNode) adopt(v *simView, late bool) {
	w := n.w
	prev := n.view
	n.older[prev.version()] = w.now
	n.view = v
	w.disturbed = w.now
	w.note("%s: view %s-> %s", n.name, prev.version(), v.version())
	died := len(n.pending) == 0 && onlyDeaths(prev, v)
	var lost []uint16
	var went []uint16
	for _, shard := range w.shards {
		was, is := prev.Owner(shard), v.Owner(shard)
		if was.Node != is.Node || was.Boot != is.Boot {
			went = append(went, shard)
		}
		switch {
		case was.Node == n.name && is.Node != n.name:
			lost = append(lost, shard)
		case was.Node != n.name && is.Node == n.name:
			n.pending[shard] = &simHold{since: w.now, died: died}
		}
	}
	n.claim(prev)
	n.lose(lost, late)
	early := n.early
	n.early = nil
	for _, m := range early {
		n.dispatch(m)
	}
	for _, a := range n.everyone() {
		if a.call != 0 && len(prev.members) > 0 && len(went) > 0 {
			a.post(moved{setOf(went)})
		}
	}
	if len(prev.members) > 0 {
		for _, shard := range w.shards {
			if prev.Owner(shard).Node == n.name && n.owns(shard) {
				n.takeUp(shard)
			}
		}
	}
	for _, d := range w.devices {
		if c := d.conn; c != nil && c.node == n && !c.closed {
			c.gateway.follow(v)
		}
	}
	n.tryOpen()
}

func onlyDeaths(prev, next *simView) bool {
	for _, m := range next.members {
		if !slices.Contains(prev.members, m) {
			return false
		}
	}
	return len(prev.members) > 0
}

// lose has the actors of lost shards leave, and what waited for them go on.
func (n *simNode) lose(lost []uint16, late bool) {
	for _, shard := range lost {
		hold := n.pending[shard]
		delete(n.pending, shard)
		if !n.w.bug.is(handless) {
			for _, a := range n.everyone() {
				if a.shard() == shard {
					a.post(leave{Late: late})
				}
			}
		}
		if hold != nil {
			for _, m := range hold.queue {
				n.dispatch(m)
			}
		}
		if owner := n.view.Owner(shard).Node; owner != "" {
			n.contend(shard, owner, n.view.version(), n.w.now.Add(5*time.Second), false)
		}
	}
}

// claim remembers what this node uses while another is out of its sight, and tells that one when he is back.
func (n *simNode) claim(prev *simView) {
	for _, m := range prev.members {
		if m.name != n.name && n.view.Boot(m.name) == 0 && n.claims[m.name] == nil {
			n.claims[m.name] = map[uint16]bool{}
		}
	}
	for _, m := range n.w.nodes { // in order
		used := n.claims[m.name]
		for _, shard := range n.w.shards {
			if used != nil && n.view.Boot(m.name) == 0 && n.owns(shard) {
				used[shard] = true
			}
		}
		if used == nil || n.view.Boot(m.name) == 0 {
			continue
		}
		for _, shard := range n.w.shards {
			if used[shard] && n.view.Owner(shard).Node == m.name {
				n.contend(shard, m.name, n.view.version(), n.w.now.Add(5*time.Second), false)
			}
		}
	}
}

// contend tells the new owner of a lost shard, once he is in the same view, that this node has used it, if he has used it all
// the while; and again when that is over.
func (n *simNode) contend(shard uint16, owner, version string, until time.Time, told bool) {
	w := n.w
	if w.now.After(until) || n.view.version() != version {
		return
	}
	o := w.life(owner)
	if o != nil && !w.frozen(o) && w.linked(n.name, owner) && o.view.version() == version {
		switch {
		case o.pending[shard] != nil:
			delete(n.claims[owner], shard)
			return
		case !told:
			told = true
			delete(n.claims[owner], shard)
			o.disputed(shard)
		case !n.uses(shard):
			o.disputed(shard)
			return
		}
	}
	w.at(w.now.Add(simPoll), n, func() { n.contend(shard, owner, version, until, told) })
}

func (w *world) frozen(n *simNode) bool { return n.pausedUntil.After(w.now) }

// disputed does what System.Disputed does.
func (n *simNode) disputed(shard uint16) {
	n.w.note("%s: shard %d was used elsewhere, too", n.name, shard)
	for _, a := range n.everyone() {
		if a.shard() == shard {
			a.post(doubt{})
		}
	}
	n.takeUp(shard)
}

// tryOpen opens the gained shards that nobody works on any more, and looks again later.
func (n *simNode) tryOpen() {
	if len(n.pending) == 0 {
		return
	}
	for _, shard := range n.w.shards {
		if hold := n.pending[shard]; hold != nil && (n.given(shard, hold) || n.w.now.Sub(hold.since) >= simHandOff) {
			delete(n.pending, shard)
			n.w.note("%s: shard %d is open", n.name, shard)
			for _, m := range hold.queue {
				n.dispatch(m)
			}
			n.takeUp(shard)
		}
	}
	n.w.at(n.w.now.Add(simPoll), n, n.tryOpen)
}

// given reports whether all members have said that this node owns the shard, and that they don't work on it: their word comes
// behind all that they have sent before.
func (n *simNode) given(shard uint16, hold *simHold) bool {
	if n.w.bug.is(handless) || hold.died {
		return true
	}
	if !n.free(shard) {
		hold.clear = time.Time{}
		return false
	}
	if hold.clear.IsZero() {
		hold.clear = n.w.now
	}
	return n.w.now.Sub(hold.clear) >= simPoll
}

func (n *simNode) free(shard uint16) bool {
	for _, m := range n.view.members {
		o := n.w.life(m.name)
		if o == n {
			continue
		}
		if o == nil || n.w.frozen(o) || !n.w.linked(n.name, m.name) || o.view.version() != n.view.version() || o.uses(shard) || o.lastSent[n.name].After(n.w.now) {
			return false
		}
	}
	return !n.uses(shard)
}

// takeUp wakes the open calls of a shard that this node does not know of, as System.takeUp does.
func (n *simNode) takeUp(shard uint16) {
	w := n.w
	if w.bug.is(amnesia) || w.bug.is(skipping) && shard == w.shards[0] || !n.owns(shard) {
		return
	}
	_ = w.store.OpenCalls(context.Background(), []uint16{shard}, func(id call.ID, _ time.Time) error {
		if !n.alarms[id] && len(n.calls[id]) == 0 {
			n.alarms[id] = true
			w.at(w.now, n, func() {
				delete(n.alarms, id)
				n.ring(id, nil)
			})
		}
		return nil
	})
}

// pause stops the node for a while; if that is long it has lost its place when it goes on.
func (n *simNode) pause(d time.Duration) {
	w := n.w
	n.pausedAt, n.pausedUntil = w.now, w.now.Add(d)
	w.note("%s stands still until %v", n.name, n.pausedUntil.Sub(simStart))
	if d <= simPause {
		return
	}
	w.happened(simPause, 3*time.Second)
	w.at(n.pausedUntil, n, n.resume)
}

// resume is the end of a long standstill, at once after it.
func (n *simNode) resume() {
	w := n.w
	if len(w.nodes) == 1 {
		return
	}
	n.adopt(&simView{}, true)
	w.at(w.now.Add(w.between(100*time.Millisecond, time.Second)), n, n.learn)
	w.happened(50*time.Millisecond, time.Second)
}

// cut parts the nodes for a while.
func (w *world) cut(d time.Duration) {
	for _, n := range w.nodes {
		w.side[n.name] = w.rng.IntN(2)
	}
	w.note("partition: %v", fmt.Sprint(w.side))
	w.happened(simPause/2, 3*time.Second)
	w.after(d, w.heal)
}

func (w *world) heal() {
	clear(w.side)
	w.note("the partition heals")
	w.disturbed = w.now
	w.happened(100*time.Millisecond, 1500*time.Millisecond)
}
