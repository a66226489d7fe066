package cluster

import "testing"

// three starts three nodes that agree.
func three(t *testing.T, tls bool) *rig {
	t.Helper()
	r := newRig(t, "a", "b", "c", "d")
	r.tls = tls
	r.start("a")
	r.start("b", "a")
	r.start("c", "a", "b")
	r.agree("a", "b", "c")
	return r
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
