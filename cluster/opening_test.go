package cluster

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// send sends a message with a number of its own.
func (n *simulated) send(shard uint16, kind uint8) {
	n.w.mu.Lock()
	id := uint64(len(n.w.sent))
	n.w.sent[id] = time.Now()
	n.w.mu.Unlock()
	if err := n.Send(shard, kind, binary.BigEndian.AppendUint64(nil, id)); err != nil {
		n.w.t.Error(err)
	}
}

// drainsIn makes a node that takes so long to stop its actors.
func drainsIn(d time.Duration) func(*simulated) {
	return func(n *simulated) { n.drain = func() time.Duration { return d } }
}

// TestWhoIsInsideIsWaitedFor: a lost shard is not reported before the last has left it; nobody waits for ever.
func TestWhoIsInsideIsWaitedFor(t *testing.T) {
	for _, stays := range []time.Duration{500 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			shard := ownedBy(viewOf("a", "a", "b"), "b")
			told := make(chan time.Time, 9)
			a := w.join("a", func(a *simulated) {
				a.cfg.Changed = func(_ *View, _, lost []uint16) {
					if slices.Contains(lost, shard) {
						told <- time.Now()
					}
					a.HandedOver(lost)
				}
			})
			<-a.Joined()
			inside := a.Enter(shard)
			if inside == nil {
				t.Fatal("not let in")
			}
			b := w.join("b")
			for a.View().Local(shard) {
				time.Sleep(time.Millisecond) // virtual
			}
			began := time.Now()
			if a.Enter(shard) != nil {
				t.Error("let in after the change")
			}
			left := time.AfterFunc(stays, func() { inside.Add(-1) })
			limit := min(stays, a.cfg.Tuning.HandOffTimeout)
			if waited := (<-told).Sub(began); waited < limit-time.Millisecond || waited > limit+10*time.Millisecond {
				t.Errorf("told after %v, want %v", waited, limit)
			}
			if left.Stop() {
				inside.Add(-1)
			}
			time.Sleep(5 * time.Second) // virtual
			if c := b.Enter(shard); c == nil {
				t.Error("the next owner does not let in")
			} else {
				c.Add(-1)
			}
			w.end()
		})
	}
}

// TestOpenedComesLast: a shard that is handed over is entered by nobody before; what was held is delivered, what was handed
// over first, and then Opened is called.
func TestOpenedComesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		a := w.join("a", drainsIn(time.Second))
		<-a.Joined()
		shard := ownedBy(viewOf("a", "a", "b"), "b")
		order := make(chan string, 9)
		b := w.join("b", func(b *simulated) {
			b.cfg.Deliver = func(_ uint16, kind uint8, _ []byte) {
				order <- map[uint8]string{1: "held", Urgent: "handed over"}[kind]
			}
			b.cfg.Opened = func(shards []uint16) {
				if slices.Contains(shards, shard) {
					order <- "opened"
				}
			}
		})
		for !b.View().Local(shard) || a.View().Local(shard) {
			time.Sleep(time.Millisecond) // virtual
		}
		b.send(shard, 1)
		a.send(shard, Urgent)
		a.send(shard, 1)
		time.Sleep(700 * time.Millisecond) // virtual
		if b.Enter(shard) != nil || len(order) > 0 {
			t.Error("it is in use before it was handed over")
		}
		for _, want := range []string{"handed over", "held", "held", "opened"} {
			if got := <-order; got != want {
				t.Errorf("%s instead of %s", got, want)
			}
		}
		w.end()
	})
}

// see lets a node believe that these are the members.
func (n *simulated) see(members ...Member) {
	n.w.mu.Lock()
	clear(n.seen)
	for _, m := range members {
		n.seen[m.Name] = m
	}
	n.w.mu.Unlock()
	n.poke()
}

// feud makes two nodes that agree, and have nothing to stop where they lose a shard.
func feud(t *testing.T) (w *world, a, b *simulated) {
	t.Helper()
	w = newWorld(t, 1)
	a = w.join("a", drainsIn(0))
	<-a.Joined()
	b = w.join("b", drainsIn(0))
	time.Sleep(5 * time.Second) // virtual
	if b.View().Version != viewOf("b", "a", "b").Version {
		t.Fatalf("b sees %v", b.View().Members)
	}
	return w, a, b
}

// alone lets a node believe that there is no other.
func (n *simulated) alone() {
	own, _ := n.View().Member(n.name)
	n.see(own)
}

// mourns checks which of its shards a node has learned that they were used elsewhere.
func (n *simulated) mourns(all bool) {
	n.w.t.Helper()
	want := shardSet{}
	if all {
		want = n.View().local
	}
	if claims := setOf(n.claims); *claims != want {
		n.w.t.Errorf("%s learns of %d shards, it owns %d", n.name, claims.len(), n.View().local.len())
	}
	if n.last.Sub(n.first) > 500*time.Millisecond {
		n.w.t.Errorf("%s learns after %v that it is over", n.name, n.last.Sub(n.first))
	}
	if len(n.handoff.draining) > 0 || n.stats.Overdue.Load() > 0 {
		n.w.t.Errorf("%s: %d shards are not handed over, %d were overdue", n.name, len(n.handoff.draining), n.stats.Overdue.Load())
	}
}

// TestADisputeIsToldInAnyCase: after a partition each learns what the other has used of his, however quickly that is given
// up, and whoever learns first that it is over.
func TestADisputeIsToldInAnyCase(t *testing.T) {
	for _, later := range []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(later, "later")
			w, a, b := feud(t)
			whole := b.members()
			a.alone()
			b.alone()
			time.Sleep(5 * time.Second) // virtual
			b.see(whole...)
			time.Sleep(later) // virtual
			a.see(whole...)
			time.Sleep(5 * time.Second) // virtual
			w.end()
			a.mourns(true)
			b.mourns(true)
		})
	}
}

// TestWhoWasThoughtDead learns what was used of his, though he has noticed nothing; from the other he has taken nothing.
func TestWhoWasThoughtDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b := feud(t)
		whole := b.members()
		a.alone()
		time.Sleep(5 * time.Second) // virtual
		a.see(whole...)
		time.Sleep(5 * time.Second) // virtual
		w.end()
		a.mourns(false)
		b.mourns(true)
	})
}

// TestAllAreLeaving: where all leave, as far as a node knows, a message waits for the next one to join; not for ever.
func TestAllAreLeaving(t *testing.T) {
	for _, joins := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, a, b := feud(t)
			own, _ := a.View().Member("a")
			other, _ := a.View().Member("b")
			own.Leaving, other.Leaving = true, true
			a.see(own, other)
			time.Sleep(time.Second) // virtual
			shard := ownedBy(viewOf("a", "a!", "b"), "b")
			w.mu.Lock()
			w.sent[0] = time.Now()
			w.mu.Unlock()
			a.receive("b", frame{class: toShard, kind: 1, shard: shard, view: 1, body: make([]byte, 8)})
			time.Sleep(a.cfg.Tuning.EarlyTimeout * 3 / 2) // virtual
			if other.Leaving = !joins; joins {
				a.see(own, other)
			}
			time.Sleep(5 * time.Second) // virtual
			w.mu.Lock()
			arrivals := w.got[0]
			w.mu.Unlock()
			if arrived := arrivals == 1; arrived != joins || a.holds.any.Load() > 0 || b.stats.Overdue.Load() > 0 {
				t.Errorf("b joins %t, the message arrived %d times, %d wait", joins, arrivals, a.holds.any.Load())
			}
			w.end()
		})
	}
}
