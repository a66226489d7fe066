package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wires is a carrier between nodes that have nothing else.
type wires struct {
	self  string
	nodes map[string]*Cluster
	mu    sync.Mutex
	lost  bool
	sent  []frame
}

func (w *wires) members([]Member) []frame { return nil }
func (w *wires) start()                   {}
func (w *wires) tick()                    {}
func (w *wires) close()                   {}

func (w *wires) send(to string, f frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	other := w.nodes[to]
	if other == nil || to == w.self {
		return ErrUnknownNode
	}
	w.sent = append(w.sent, f)
	if !w.lost {
		time.AfterFunc(time.Millisecond, func() { other.receive(w.self, f) })
	}
	return nil
}

// lonely is a node that does not run.
func lonely(t *testing.T, name string) *Cluster {
	t.Helper()
	cfg, err := Config{
		Name: name, Bind: "127.0.0.1:1", RemoteBind: "127.0.0.1:2", Deliver: func(uint16, uint8, []byte) {},
	}.filled()
	if err != nil {
		t.Fatal(err)
	}
	return newCluster(cfg)
}

// pair is two nodes; b answers.
func pair(t *testing.T) (a, b *Cluster, there *wires) {
	t.Helper()
	a, b = lonely(t, "a"), lonely(t, "b")
	nodes := map[string]*Cluster{"a": a, "b": b}
	there = &wires{self: "a", nodes: nodes}
	a.carrier, b.carrier = there, &wires{self: "b", nodes: nodes}
	b.cfg.Answer = func(kind uint8, body []byte) []byte { return fmt.Appendf(nil, "%d %s", kind, body) }
	return a, b, there
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := pair(t)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if got, err := a.Ask(t.Context(), "b", uint8(i), fmt.Append(nil, i)); err != nil || string(got) != fmt.Sprint(i, i) {
					t.Errorf("question %d: %q, %v", i, got, err)
				}
			})
		}
		all.Wait()
		if got, err := b.Ask(t.Context(), "b", 3, []byte("self")); err != nil || string(got) != "3 self" {
			t.Errorf("asked itself: %q, %v", got, err)
		}
		if got, err := a.Ask(t.Context(), "b", 3, nil); err != nil || string(got) != "3 " {
			t.Errorf("asked nothing: %q, %v", got, err)
		}
		if _, err := a.Ask(t.Context(), "c", 3, nil); !errors.Is(err, ErrUnknownNode) || a.stats.Unrouted.Load() != 1 {
			t.Errorf("asked an unknown node: %v", err)
		}
		if _, err := a.Ask(t.Context(), "b", 3, make([]byte, MaxBody+1)); !errors.Is(err, ErrOversize) {
			t.Errorf("asked too much: %v", err)
		}
		if n := len(a.replies.waiting); n != 0 {
			t.Errorf("%d questions wait for ever", n)
		}
	})
}

// TestAskInVain: without an answer it ends after ten seconds, with its context, or with the node.
func TestAskInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, there := pair(t)
		there.lost = true
		began := time.Now()
		if _, err := a.Ask(t.Context(), "b", 1, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != askTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if _, err := a.Ask(ctx, "b", 1, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.AfterFunc(time.Second, func() { close(a.stop) })
		if _, err := a.Ask(t.Context(), "b", 1, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("a node that closes: %v", err)
		}
		if n := len(a.replies.waiting); n != 0 {
			t.Errorf("%d questions wait for ever", n)
		}
		a.closed.Store(true)
		if _, err := a.Ask(t.Context(), "b", 1, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("a node that is closed: %v", err)
		}
	})
}

// TestLateAnswers: one that comes too late, twice, or to no question, is nobody's.
func TestLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, there := pair(t)
		there.lost = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = a.Ask(ctx, "b", 1, nil)
		first := binary.BigEndian.Uint64(there.sent[0].body)
		there.lost = false
		answers := []frame{
			numbered(reply, 1, first, []byte("late")),
			{class: reply},
			{class: reply, body: make([]byte, 7)},
			numbered(reply, 1, first+1, []byte("now")),
			numbered(reply, 1, first+1, []byte("again")),
		}
		time.AfterFunc(time.Microsecond, func() {
			for _, f := range answers {
				a.receive("b", f)
				clear(f.body)
			}
		})
		if got, err := a.Ask(t.Context(), "b", 1, nil); err != nil || !bytes.Equal(got, []byte("now")) {
			t.Errorf("got %q, %v", got, err)
		}
		time.Sleep(time.Second) // virtual: the true answer is late, too
	})
}

// TestNoAnswerIsKnown: a node without Answer drops questions, and one that is none is no reason to ask anybody.
func TestNoAnswerIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := pair(t)
		b.receive("a", frame{class: question, body: make([]byte, 7)})
		b.cfg.Answer = nil
		b.receive("a", numbered(question, 1, 1, nil))
		if got := b.stats.Unknown.Load(); got != 2 {
			t.Errorf("%d are counted as unknown", got)
		}
		if _, err := b.Ask(t.Context(), "b", 1, nil); !errors.Is(err, ErrUnknownNode) {
			t.Errorf("asked itself: %v", err)
		}
		if len(a.replies.waiting)+len(b.replies.waiting) != 0 {
			t.Error("questions wait for ever")
		}
	})
}
