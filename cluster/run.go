package cluster

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// run is the one goroutine that builds views and moves shards.
func (c *Cluster) run() {
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	debounce := time.NewTimer(time.Hour)
	debounce.Stop()
	waiting := false // for the debounce timer
	s := &state{Cluster: c, agreed: make(map[string]answer)}
	for {
		select {
		case <-c.stop:
			return
		case <-c.kick:
			if !waiting {
				waiting = true
				debounce.Reset(c.cfg.Tuning.Debounce)
			}
		case <-debounce.C:
			waiting = false
			s.refresh()
		case n := <-c.inbox:
			s.heed(n)
		case <-c.wake:
			s.handOver()
		case gap := <-c.pauses:
			s.resume(gap)
		case f := <-c.leaving:
			s.farewells = append(s.farewells, f)
		case <-tick.C:
			s.tick(time.Now())
		}
		s.sayGoodbye()
	}
}

// state is what only run's goroutine touches.
type state struct {
	*Cluster
	ticks     int
	agreed    map[string]answer // what each peer has said last
	adopted   time.Time         // when the view came into force
	number    uint64            // of the last ask
	farewells []*farewell
}

// answer is from which view a peer spoke last, and the number of the last ask that it has answered.
type answer struct{ version, number uint64 }

// refresh adopts what the membership knows, if it is new.
func (s *state) refresh() {
	members := s.roster.members()
	if members == nil {
		return
	}
	next := newView(s.cfg.Name, members)
	if !slices.Equal(next.Members, s.View().Members) {
		s.adopt(next)
	}
	select {
	case <-s.joined:
	default:
		close(s.joined)
	}
}

// adopt puts a view into force. The order matters: gained shards are closed before anybody can see the view that gives
// them; nobody acts by the old view any more when Changed says that shards are lost; and only then others are told.
func (s *state) adopt(next *View) {
	now, prev := time.Now(), s.View()
	next.after(prev, now)
	s.forget(prev, next)
	gained, lost := s.handoff.change(prev, next, now)
	s.holds.close(gained)
	left := s.carrier.members(next.Members)
	s.view.Store(next)
	s.adopted = now
	if !prev.settle(s.cfg.Tuning.HandOffTimeout) {
		s.cfg.Logger.Error("Deliver or Direct blocks: views change without waiting for it")
	}
	s.stats.ViewChanges.Add(1)
	s.stats.Gained.Add(int64(len(gained)))
	s.stats.Lost.Add(int64(len(lost)))
	s.cfg.Logger.Info("view changed", "members", len(next.Members), "view", strconv.FormatUint(next.Version, 16),
		"gained", len(gained), "lost", len(lost))
	if s.cfg.Changed != nil {
		s.cfg.Changed(next, gained, lost)
	} else {
		s.HandedOver(lost)
	}
	for _, f := range s.holds.strays(next) {
		s.arrive(f)
	}
	s.requeue(left)
	s.open(s.handoff.open())
	for _, m := range next.Members {
		if s.agreed[m.Name].version == next.Version { // it was here first
			s.confess(m.Name)
		} else {
			s.tell(m.Name, 0)
		}
	}
	s.ask(s.handoff.awaited())
}

// forget drops what those have said who are gone: when they are back, so is the version that they spoke from.
func (s *state) forget(prev, next *View) {
	maps.DeleteFunc(s.agreed, func(node string, _ answer) bool {
		_, knew := prev.Member(node)
		_, there := next.Member(node)
		return knew && !there
	})
}

// open delivers what was held for the shards and lets messages pass.
func (s *state) open(shards []uint16) {
	if len(shards) == 0 {
		return
	}
	for _, shard := range shards {
		s.holds.open(shard, func(f frame) { s.cfg.Deliver(f.shard, f.kind, f.body) })
	}
	s.cfg.Opened(shards)
}

// confess tells a node that has come into this view what was used here without its knowledge, and then what still is: what
// it was told under a view that it did not have, it has not understood.
func (s *state) confess(node string) {
	if c := s.handoff.claims[node]; c != nil {
		s.notify(node, kindDone, notice{version: s.View().Version, shards: s.handoff.claimed(c)})
		delete(s.handoff.claims, node)
	}
	s.tell(node, 0)
}

// tell says to another node which lost shards this one still holds.
func (s *state) tell(node string, number uint64) {
	v := s.View()
	s.notify(node, kindDone, notice{version: v.Version, number: number, shards: s.handoff.held()})
}

// ask asks each node which lost shards it still holds.
func (s *state) ask(nodes []string) {
	for _, node := range nodes {
		s.number++
		s.notify(node, kindAsk, notice{version: s.View().Version, number: s.number})
	}
}

// notify sends a notice. A lost one is asked for again.
func (s *state) notify(node string, kind uint8, n notice) {
	if node != s.cfg.Name {
		_ = s.carrier.send(node, frame{class: toCluster, kind: kind, body: n.encode()})
	}
}

// heed takes a notice. One that was made under another view says nothing about this one.
func (s *state) heed(n notification) {
	v := s.View()
	before := s.agreed[n.from]
	a := answer{version: n.version, number: before.number}
	if n.kind == kindDone {
		a.number = max(a.number, n.number)
	}
	s.agreed[n.from] = a
	if n.version == v.Version && before.version != v.Version {
		s.confess(n.from)
		s.handOver()
	}
	switch {
	case n.version != v.Version:
	case n.kind == kindAsk:
		s.tell(n.from, n.number)
	default:
		disputed := s.handoff.told(v, n.from, n.shards)
		if len(disputed) > 0 {
			s.stats.Disputed.Add(int64(len(disputed)))
			s.cfg.Logger.Warn("shards were used on two nodes", "other", n.from, "shards", len(disputed))
			s.cfg.Disputed(disputed)
		}
		open := s.handoff.open()
		s.stats.HandOffs.Add(int64(len(open)))
		s.open(open)
	}
}

// handOver takes what HandedOver has brought, once all others are in this view: before that they would never learn that
// these shards were used here, too (Disputed).
func (s *state) handOver() {
	if !s.unanimous() && time.Since(s.adopted) < s.cfg.Tuning.HandOffTimeout {
		return
	}
	s.mu.Lock()
	shards := s.handed
	s.handed = nil
	s.mu.Unlock()
	if len(shards) == 0 {
		return
	}
	for _, node := range s.handoff.handedOver(s.View(), shards) {
		s.tell(node, 0)
	}
	s.open(s.handoff.open())
}

// tick looks after what may have taken too long.
func (s *state) tick(now time.Time) {
	s.ticks++
	s.carrier.tick()
	s.handOver()
	if late := s.handoff.overdue(now); len(late) > 0 {
		s.stats.Overdue.Add(int64(len(late)))
		s.cfg.Logger.Warn("hand-off is overdue: going on without it", "shards", len(late))
		s.open(late)
	}
	for _, f := range s.holds.tired(now) {
		s.giveUp(f)
	}
	if s.ticks%askAgain == 0 {
		s.ask(s.handoff.awaited())
		if s.handing() {
			s.ask(s.apart())
		}
		if len(s.farewells) > 0 {
			s.ask(s.others())
		}
	}
}

// resume begins anew after the process has stood still: others may have given its shards away, and given them back.
func (s *state) resume(gap time.Duration) {
	s.stats.Pauses.Add(1)
	s.cfg.Logger.Warn("stood still: joining again", "gap", gap)
	s.cfg.Paused()
	s.adopt(noView(s.cfg.Name))
	s.roster.reenter()
}

// farewell is a Leave that waits. It is over in two steps: when all others are in a view like this one's, without this
// node as an owner, and nothing is left to hand over; and when they have answered one more question, behind all that was
// sent to them before.
type farewell struct {
	done  chan struct{}
	asked map[string]uint64 // the number of that question
}

// sayGoodbye moves each farewell on.
func (s *state) sayGoodbye() {
	s.farewells = slices.DeleteFunc(s.farewells, func(f *farewell) bool {
		if !s.parted() {
			f.asked = nil
			return false
		}
		if f.asked == nil {
			f.asked = make(map[string]uint64)
			for _, node := range s.others() {
				s.ask([]string{node})
				f.asked[node] = s.number
			}
		}
		for _, node := range s.others() {
			if s.agreed[node].number < f.asked[node] {
				return false
			}
		}
		close(f.done)
		return true
	})
}

// parted reports whether this node owns nothing, holds nothing, and all others know.
func (s *state) parted() bool {
	v := s.View()
	if me, _ := v.Member(s.cfg.Name); !me.Leaving || len(s.handoff.draining) > 0 || s.holds.any.Load() > 0 {
		return false
	}
	return s.unanimous()
}

// unanimous reports whether all others have last spoken from the present view.
func (s *state) unanimous() bool { return len(s.apart()) == 0 }

// apart names the others who have not.
func (s *state) apart() []string {
	version := s.View().Version
	return slices.DeleteFunc(s.others(), func(node string) bool { return s.agreed[node].version == version })
}

// handing reports whether something was handed over that handOver has not taken.
func (s *state) handing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.handed) > 0
}

func (s *state) others() []string {
	var names []string
	for _, m := range s.View().Members {
		if m.Name != s.cfg.Name {
			names = append(names, m.Name)
		}
	}
	return names
}
