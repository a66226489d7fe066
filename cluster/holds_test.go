package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// letter is a frame for a shard; one in capitals is urgent.
func letter(shard uint16, text string) frame {
	f := frame{class: toShard, shard: shard, kind: 1, body: []byte(text)}
	if strings.ToUpper(text) == text {
		f.kind |= Urgent
	}
	return f
}

func texts(frames []frame) string {
	var out []string
	for _, f := range frames {
		out = append(out, string(f.body))
	}
	return fmt.Sprint(out)
}

// opened opens a shard and gives what it had held.
func (h *holds) opened(shard uint16) string {
	var frames []frame
	h.open(shard, func(f frame) { frames = append(frames, f) })
	return texts(frames)
}

// TestUrgentGoesFirst: what is handed over comes before what is held, in its own order.
func TestUrgentGoesFirst(t *testing.T) {
	h := newHolds(1 << 20)
	h.close([]uint16{1, 2})
	for _, text := range []string{"a", "X", "b", "Y", "c", "Z"} {
		if held, err := h.keep(letter(1, text)); !held || err != nil {
			t.Fatal(held, err)
		}
	}
	_, _ = h.keep(letter(2, "d"))
	if got := h.opened(1); got != "[X Y Z a b c]" {
		t.Errorf("shard 1 opens with %s", got)
	}
	if got := h.opened(2); got != "[d]" || h.bytes != 0 {
		t.Errorf("shard 2 opens with %s; %d bytes are left", got, h.bytes)
	}
	if held, _ := h.keep(letter(1, "e")); held {
		t.Error("an open shard holds")
	}
}

// TestUrgentAmongTheEarly: the order of before the view is that of after it, and nobody waits longer for it.
func TestUrgentAmongTheEarly(t *testing.T) {
	h := newHolds(1 << 20)
	for i, text := range []string{"a", "X"} {
		if err := h.wait(letter(1, text), start.Add(time.Duration(i+1)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.tired(start.Add(time.Second - 1)); len(got) != 0 {
		t.Errorf("tired: %s", texts(got))
	}
	if got := texts(h.tired(start.Add(time.Second))); got != "[X a]" {
		t.Errorf("tired: %s", got)
	}
	_ = h.wait(letter(1, "b"), start)
	h.close([]uint16{1})
	_, _ = h.keep(letter(1, "Y"))
	if got := h.tired(start.Add(time.Hour)); len(got) != 0 {
		t.Errorf("tired of a shard that is held: %s", texts(got))
	}
	if got := h.opened(1); got != "[Y b]" {
		t.Errorf("opens with %s", got)
	}
}

// TestUrgentWhileOpening: what comes while a shard is opened waits its turn.
func TestUrgentWhileOpening(t *testing.T) {
	h := newHolds(1 << 20)
	h.close([]uint16{1})
	for _, text := range []string{"a", "b"} {
		_, _ = h.keep(letter(1, text))
	}
	var got []frame
	h.open(1, func(f frame) {
		if got = append(got, f); len(got) == 1 {
			for _, text := range []string{"c", "X"} {
				if held, err := h.keep(letter(1, text)); !held || err != nil || !h.holding(1) {
					t.Error(held, err)
				}
			}
		}
	})
	if texts(got) != "[a b X c]" {
		t.Errorf("delivered %s", texts(got))
	}
}

func TestUrgentIsBoundedToo(t *testing.T) {
	h := newHolds(2*frameOverhead + 2)
	h.close([]uint16{1})
	_, _ = h.keep(letter(1, "a"))
	_, _ = h.keep(letter(1, "X"))
	if held, err := h.keep(letter(1, "Y")); !held || !errors.Is(err, ErrOverflow) {
		t.Errorf("held %t, %v", held, err)
	}
}

// TestEnter: a shard can be entered where it is this node's and open, and who is inside keeps the view from settling.
func TestEnter(t *testing.T) {
	n := lonely(t, "a")
	v := viewOf("a", "a", "b")
	n.view.Store(v)
	mine, other := ownedBy(v, "a"), ownedBy(v, "b")
	n.holds.close([]uint16{mine})
	for _, shard := range []uint16{mine, other, Shards, 1<<16 - 1} {
		if n.Enter(shard) != nil {
			t.Errorf("entered shard %d", shard)
		}
	}
	if !v.settle(0) {
		t.Fatal("somebody is inside who was not let in")
	}
	n.holds.opened(mine)
	inside := n.Enter(mine)
	if inside == nil || v.settle(time.Millisecond) {
		t.Fatal("nobody is inside")
	}
	second := n.Enter(mine)
	inside.Add(-1)
	if v.settle(time.Millisecond) {
		t.Fatal("the second is not inside")
	}
	second.Add(-1)
	if !v.settle(0) {
		t.Fatal("somebody is inside for ever")
	}
	n.view.Store(noView("a"))
	if n.Enter(mine) != nil {
		t.Error("entered without a view")
	}
}
