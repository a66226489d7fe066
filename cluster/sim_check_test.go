package cluster

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// check holds the world to what is promised.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var view *View
	owners := map[uint16]string{}
	for name, n := range w.nodes {
		v := n.View()
		if view == nil {
			view = v
		}
		if v.Version != view.Version || len(v.Members) != len(w.truth) {
			w.t.Errorf("%s has view %x of %d members, another has %x; there are %d", name, v.Version, len(v.Members), view.Version, len(w.truth))
		}
		for shard, from := range n.active {
			w.lives[shard] = append(w.lives[shard], life{name, span{from.UnixNano(), time.Now().UnixNano()}})
			if owners[shard] != "" {
				w.t.Errorf("shard %d is in use on %s and %s", shard, name, owners[shard])
			}
			owners[shard] = name
		}
		if len(n.opened) != v.local.len() {
			w.t.Errorf("%s has opened %d of its %d shards", name, len(n.opened), v.local.len())
		}
		if overdue := n.stats.Overdue.Load(); overdue > 0 && !w.faults {
			w.t.Errorf("%s: %d hand-offs were overdue", name, overdue)
		}
	}
	for id := range w.sent {
		if got := w.got[id]; got > 1 || got == 0 && !w.faults {
			w.t.Errorf("message %d arrived %d times: %v", id, got, w.trace[id])
		}
	}
	if w.t.Failed() {
		for name, n := range w.nodes {
			w.t.Log(name, counts(&n.stats), "queues", n.holds.any.Load(), "pending", len(n.handoff.pending))
		}
	}
	for shard, lives := range w.lives {
		slices.SortFunc(lives, func(a, b life) int { return cmp.Compare(a.from, b.from) })
		for i := 1; i < len(lives); i++ {
			if a, b := lives[i-1], lives[i]; a.node != b.node && b.from < a.to {
				w.t.Errorf("shard %d was in use on %s until %d and on %s from %d", shard, a.node, a.to, b.node, b.from)
			}
		}
	}
	tuning := Tuning{}.filled()
	limit := 3 * (tuning.HandOffTimeout + tuning.EarlyTimeout) // its owner may change while a message waits with him
	if w.late > limit {
		w.t.Errorf("a message took %v, more than %v", w.late, limit)
	}
}

func (w *world) end() {
	for _, n := range w.nodes {
		if err := n.Close(); err != nil {
			w.t.Error(err)
		}
		n.drains.Wait()
	}
}

// seeds is how many worlds each test plays: CARILLON_CLUSTER_SEEDS.
func seeds() int {
	if n, err := strconv.Atoi(os.Getenv("CARILLON_CLUSTER_SEEDS")); err == nil {
		return n
	}
	return 15
}

func playSeeds(t *testing.T, faults bool) {
	for seed := range seeds() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, uint64(seed))
				w.faults = faults
				w.play(40)
				w.check()
				w.end()
			})
		})
	}
}

// TestNodesComeAndGo: with views that differ for a while, each message still arrives exactly once and no shard is used
// twice.
func TestNodesComeAndGo(t *testing.T) { playSeeds(t, false) }

// TestNodesDie: no shard is used twice, no message arrives twice, and nothing waits for the dead for longer than it may.
func TestNodesDie(t *testing.T) { playSeeds(t, true) }
