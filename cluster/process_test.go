package cluster

import (
	"syscall"
	"testing"
	"time"
)

// three starts three nodes that agree.
func three(t *testing.T, tls bool) *rig {
	t.Helper()
	r := newRig(t, "a", "b", "c", "d")
	r.tls = tls
	r.begin()
	return r
}

// begin starts three nodes.
func (r *rig) begin() {
	r.t.Helper()
	r.start("a")
	r.start("b", "a")
	r.start("c", "a", "b")
	r.agree("a", "b", "c")
}

func TestJoinAndLeaveUnderLoad(t *testing.T) {
	t.Parallel()
	r := three(t, true)
	r.each(order{Do: "load", Rate: 300})
	r.start("d", "a")
	r.agree("a", "b", "c", "d")
	r.nodes["d"].tell(order{Do: "load", Rate: 300})
	r.nodes["b"].tell(order{Do: "quiet"})
	r.nodes["b"].tell(order{Do: "leave"})
	left := r.nodes["b"].close()
	r.agree("a", "c", "d")
	r.end()
	stats := r.closeAll()
	t.Log(stats, left)
	r.check(r.read())
	if stats["overdue"]+left["overdue"] != 0 {
		t.Errorf("a hand-off was overdue: %v %v", stats, left)
	}
}

// TestRetireThenLeave: a node that retires owns nothing more, but is there until it leaves.
func TestRetireThenLeave(t *testing.T) {
	t.Parallel()
	r := three(t, false)
	r.each(order{Do: "load", Rate: 300})
	b := r.nodes["b"]
	b.tell(order{Do: "retire"})
	version := newView("", membersOf("a", "c")).Version
	for _, n := range r.nodes {
		n.until("a view in which b owns nothing", func() bool { return n.version == version && len(n.members) == 3 })
	}
	for _, id := range []string{"a", "c"} { // it takes, gives and answers what is not for a shard
		r.nodes[id].tell(order{Do: "ask", Node: "b"})
		b.tell(order{Do: "ask", Node: id})
	}
	r.each(order{Do: "flush"})
	b.tell(order{Do: "quiet"})
	b.tell(order{Do: "leave"})
	left := b.close()
	r.agree("a", "c")
	r.end()
	stats := r.closeAll()
	r.check(r.read())
	if stats["overdue"]+left["overdue"]+stats["unrouted"]+left["unrouted"] != 0 {
		t.Errorf("overdue or lost: %v %v", stats, left)
	}
}

// during notes the time that a fault takes: all that was sent before it has arrived, and after it no trace is left.
func (r *rig) during(fault func()) span {
	from := time.Now().UnixNano()
	r.each(order{Do: "flush"})
	fault()
	return span{from, time.Now().UnixNano()}
}

func TestKillAndRestartUnderLoad(t *testing.T) {
	t.Parallel()
	r := three(t, false)
	r.each(order{Do: "load", Rate: 300})
	killed := r.during(func() {
		r.nodes["b"].kill()
		r.agree("a", "c")
	})
	r.each(order{Do: "flush"})
	r.start("b", "a")
	r.agree("a", "b", "c")
	r.nodes["b"].tell(order{Do: "load", Rate: 300})
	// This time it is back before anybody has missed it.
	again := r.during(func() {
		r.nodes["b"].kill()
		r.start("b", "c")
		r.agree("a", "b", "c")
		r.each(order{Do: "flush"})
	})
	r.end()
	stats := r.closeAll()
	t.Log(stats)
	r.check(r.read(), killed, again)
	if stats["overdue"] != 0 {
		t.Errorf("somebody waited for a dead node until the time was over: %v", stats)
	}
}

func TestPauseUnderLoad(t *testing.T) {
	t.Parallel()
	r := three(t, false)
	r.each(order{Do: "load", Rate: 200})
	b := r.nodes["b"]
	paused := r.during(func() {
		if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		r.agree("a", "c")
		if err := b.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		b.until("to notice that it stood still", func() bool { return b.anew })
		r.agree("a", "b", "c")
		r.each(order{Do: "flush"})
	})
	r.end()
	stats := r.closeAll()
	t.Log(stats)
	r.check(r.read(), paused)
	if stats["pauses"] == 0 {
		t.Error("no pause was noticed")
	}
}

func TestPartitionHeals(t *testing.T) {
	t.Parallel()
	r := three(t, true)
	r.each(order{Do: "load", Rate: 200})
	apart := r.during(func() {
		a, b, c := r.nodes["a"].addrs(), r.nodes["b"].addrs(), r.nodes["c"].addrs()
		r.nodes["c"].tell(order{Do: "cut", Addrs: append(a, b...)})
		r.nodes["a"].tell(order{Do: "cut", Addrs: c})
		r.nodes["b"].tell(order{Do: "cut", Addrs: c})
		r.agree("a", "b")
		r.agree("c")
		r.each(order{Do: "cut"})
		r.agree("a", "b", "c")
		r.each(order{Do: "flush"})
	})
	r.end()
	stats := r.closeAll()
	t.Log(stats)
	r.check(r.read(), apart)
}

func TestMessagesOfANewerVersion(t *testing.T) {
	t.Parallel()
	r := three(t, false)
	r.nodes["a"].tell(order{Do: "alien", Node: "b"})
	r.each(order{Do: "load", Rate: 200})
	r.nodes["a"].tell(order{Do: "alien", Node: "b"})
	r.each(order{Do: "flush"})
	r.nodes["a"].tell(order{Do: "alien", Node: "b"})
	r.nodes["a"].tell(order{Do: "big", Node: "b"})
	r.each(order{Do: "flush"})
	r.end()
	b := r.nodes["b"].close()
	if b["unknown"] != 3*7 || b["panics"] != 0 {
		t.Errorf("b dropped %d unknown messages of 21, and panicked %d times", b["unknown"], b["panics"])
	}
	r.closeAll()
	r.check(r.read())
}

func TestSeedsBeginOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, "a", "b", "c")
	for _, name := range []string{"a", "b", "c"} { // all at the same time, each knows all
		r.start(name, "a", "b", "c")
	}
	r.agree("a", "b", "c")
	r.closeAll()
	r.start("a", "a", "b", "c") // nobody else is there: a seed begins alone
	r.agree("a")
	r.start("c", "b") // no seed, and its seed is dead: it owns nothing until b is there
	r.start("b", "a")
	r.agree("a", "b", "c")
	r.closeAll()
}

// TestRollingRestartDisputesNothing: what was used while a node was away in order is no dispute once it is back, however
// early its word under the new view comes.
func TestRollingRestartDisputesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, "a", "b", "c")
	r.calm = true
	r.begin()
	names := []string{"a", "b", "c"}
	disputed := int64(0)
	for i := range 4 {
		name, next := names[i%3], names[(i+1)%3]
		r.nodes[name].tell(order{Do: "leave"})
		disputed += r.nodes[name].close()["disputed"]
		r.agree(next, names[(i+2)%3])
		r.start(name, next)
		r.agree("a", "b", "c")
	}
	if disputed += r.closeAll()["disputed"]; disputed > 0 {
		t.Errorf("%d shards were disputed, and nobody was cut off", disputed)
	}
}
