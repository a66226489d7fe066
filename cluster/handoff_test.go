package cluster

import (
	"slices"
	"testing"
	"time"
)

// viewOf is the view of one node on members; a name that ends in ! is leaving.
func viewOf(self string, names ...string) *View {
	members := membersOf(names...)
	for i, m := range members {
		if name, leaving := m.Name, m.Name[len(m.Name)-1] == '!'; leaving {
			members[i].Name, members[i].Leaving = name[:len(name)-1], true
		}
	}
	return newView(self, members)
}

var start = time.Unix(1_000_000, 0)

func TestWhoEntersWaitsForEverybody(t *testing.T) {
	h := newHandoff("c", time.Second)
	v := viewOf("c", "a", "b", "c")
	gained, lost := h.change(noView("c"), v, start)
	if len(gained) != v.local.len() || len(lost) != 0 || len(h.open()) != 0 {
		t.Fatalf("gained %d, lost %d", len(gained), len(lost))
	}
	h.told(v, "a", nil)
	if len(h.open()) != 0 {
		t.Fatal("a shard is open, and b has said nothing")
	}
	h.told(v, "b", gained[:10])
	if got := h.open(); !slices.Equal(got, gained[10:]) {
		t.Fatalf("%d shards are open of %d, 10 are held by b", len(got), len(gained))
	}
	if got := h.overdue(start.Add(time.Second - 1)); len(got) != 0 {
		t.Fatalf("%d are overdue too early", len(got))
	}
	h.told(v, "b", gained[:3])
	if got := h.open(); !slices.Equal(got, gained[3:10]) {
		t.Fatalf("open: %v", got)
	}
	if got := h.overdue(start.Add(time.Second)); !slices.Equal(got, gained[:3]) {
		t.Fatalf("overdue: %v", got)
	}
}

// TestAChangeBeginsTheWaitAgain: who must agree on another view needs the time again, three times at most.
func TestAChangeBeginsTheWaitAgain(t *testing.T) {
	h := newHandoff("a", time.Second)
	views := []*View{viewOf("a", "a", "b"), viewOf("a", "a", "b", "c!")} // the shards of a are the same in both
	gained, _ := h.change(noView("a"), views[0], start)
	for i := 1; i <= 3; i++ {
		now := start.Add(time.Duration(i) * 900 * time.Millisecond)
		h.change(views[(i+1)%2], views[i%2], now)
		until := min(now.Add(time.Second).Sub(start), 3*time.Second)
		if got := h.overdue(start.Add(until - 1)); len(got) != 0 {
			t.Fatalf("after change %d: %d are overdue too early", i, len(got))
		}
	}
	if got := h.overdue(start.Add(3 * time.Second)); !slices.Equal(got, gained) {
		t.Fatalf("%d of %d are overdue", len(got), len(gained))
	}
}

func TestNobodyWaitsForTheDead(t *testing.T) {
	h := newHandoff("a", time.Second)
	before, after := viewOf("a", "a", "b", "c"), viewOf("a", "a", "c")
	h.change(noView("a"), before, start)
	h.told(before, "b", nil)
	h.told(before, "c", nil)
	h.open()
	gained, _ := h.change(before, after, start)
	if got := h.open(); len(gained) == 0 || !slices.Equal(got, gained) {
		t.Fatalf("%d of %d shards are open at once", len(got), len(gained))
	}
	// Now all is not settled: c has not spoken under this view.
	back := viewOf("a", "a", "b", "c")
	_, lost := h.change(after, back, start)
	h.handedOver(back, lost)
	h.told(back, "c", lost[:1])
	if gained, _ = h.change(back, after, start); len(h.open()) != 0 || !slices.Equal(h.awaited(), []string{"c"}) {
		t.Fatalf("%d shards gained, waiting for %v", len(gained), h.awaited())
	}
	if h.change(after, viewOf("a", "a"), start); len(h.awaited()) != 0 {
		t.Fatalf("waiting for %v, who is dead", h.awaited())
	}
}

func TestAShardThatComesBackWaitsForItself(t *testing.T) {
	h := newHandoff("a", time.Second)
	alone, both := viewOf("a", "a"), viewOf("a", "a", "b")
	h.change(noView("a"), alone, start)
	h.open()
	_, lost := h.change(alone, both, start)
	if got := h.held(); !slices.Equal(got, lost) {
		t.Fatalf("holds %d of %d lost shards", len(got), len(lost))
	}
	h.change(both, alone, start) // b dies before anything was handed over
	if got := h.open(); len(got) != 0 {
		t.Fatalf("%d shards are open while their actors stop", len(got))
	}
	h.change(alone, both, start)
	h.handedOver(both, lost) // of the first time
	if got := h.held(); !slices.Equal(got, lost) {
		t.Fatalf("holds %d shards, lost twice and handed over once", len(got))
	}
	if tell := h.handedOver(both, lost); len(h.held()) != 0 || !slices.Equal(tell, []string{"b"}) {
		t.Fatalf("tells %v", tell)
	}
	if h.handedOver(both, lost); len(h.held()) != 0 {
		t.Fatal("handed over more often than lost")
	}
}

func TestWhatAnotherUsesTooIsDisputed(t *testing.T) {
	h := newHandoff("a", time.Second)
	v := viewOf("a", "a", "b")
	mine, _ := h.change(noView("a"), v, start)
	h.told(v, "b", nil)
	h.open()
	if got := h.told(v, "b", mine[:5]); !slices.Equal(got, mine[:5]) {
		t.Fatalf("b claims 5 shards, disputed are %v", got)
	}
	if got := h.told(v, "b", mine[:5]); len(got) != 0 {
		t.Fatalf("b says it again, disputed are %v", got)
	}
	if got := h.told(v, "b", mine[:2]); !slices.Equal(got, mine[2:5]) {
		t.Fatalf("b has stopped three, disputed are %v", got)
	}
	if got := h.told(v, "b", nil); !slices.Equal(got, mine[:2]) {
		t.Fatalf("b has stopped all, disputed are %v", got)
	}
}

func TestALeaverOwnsNothing(t *testing.T) {
	h := newHandoff("a", time.Second)
	before, after := viewOf("a", "a", "b"), viewOf("a", "a!", "b")
	h.change(noView("a"), before, start)
	_, lost := h.change(before, after, start)
	if len(lost) != before.local.len() || after.local.len() != 0 || after.Owner(lost[0]).Name != "b" {
		t.Fatalf("lost %d of %d", len(lost), before.local.len())
	}
	if v := viewOf("a", "a!"); v.Version != 0 || v.Owner(1).Name != "" {
		t.Fatalf("the last one leaves, and %+v owns", v.Owner(1))
	}
}
