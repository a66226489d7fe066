package cluster

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Urgent is the bit of a kind that makes a message go in front of what else is held for its shard: what the old owner
// hands over comes before what is news to the new one.
const Urgent uint8 = 1 << 7

// holds keeps messages that cannot be delivered yet: to shards that this node owns but may not use before their hand-off
// is over, and early ones, to shards that it does not own although the sender, by a view that this node has not seen yet,
// thinks so. One queue per shard, in order of arrival.
type holds struct {
	limit int          // bytes of all that waits
	any   atomic.Int32 // queues; 0 lets deliveries pass without the lock

	mu     sync.Mutex
	queues map[uint16]*queue
	bytes  int
}

type queue struct {
	frames []frame
	closed bool // its shard is this node's and waits to be opened; else the frames are early
}

func newHolds(limit int) *holds { return &holds{limit: limit, queues: make(map[uint16]*queue)} }

// close holds the shards from now on. Early frames for them stay, in front.
func (h *holds) close(shards []uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, shard := range shards {
		h.queue(shard).closed = true
	}
}

func (h *holds) queue(shard uint16) *queue {
	q := h.queues[shard]
	if q == nil {
		q = &queue{}
		h.queues[shard] = q
		h.any.Store(int32(len(h.queues)))
	}
	return q
}

// keep queues a frame for a shard of this node, if it is held. Where there is no room it fails with ErrOverflow.
func (h *holds) keep(f frame) (held bool, err error) {
	if h.any.Load() == 0 {
		return false, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.queues[f.shard]
	if q == nil || !q.closed {
		return false, nil
	}
	f.hops = 0 // it has come to its owner; should he change, a new way begins
	return true, h.push(q, f)
}

// holding reports whether keep would keep a frame for the shard.
func (h *holds) holding(shard uint16) bool {
	if h.any.Load() == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.queues[shard]
	return q != nil && q.closed
}

// wait queues an early frame, which is tired at the given time unless it has waited before.
func (h *holds) wait(f frame, until time.Time) error {
	if f.until.IsZero() {
		f.until = until
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.push(h.queue(f.shard), f)
}

// frameOverhead is what a waiting frame costs beside its body, in bytes.
const frameOverhead = 64

func (h *holds) push(q *queue, f frame) error {
	size := len(f.body) + frameOverhead
	if h.bytes+size > h.limit {
		return ErrOverflow
	}
	h.bytes += size
	f.body = bytes.Clone(f.body) // it may be a small part of a long parcel
	at := len(q.frames)
	if f.kind&Urgent != 0 {
		if i := slices.IndexFunc(q.frames, func(f frame) bool { return f.kind&Urgent == 0 }); i >= 0 {
			at = i
		}
	}
	q.frames = slices.Insert(q.frames, at, f)
	return nil
}

// take empties the queue.
func (h *holds) take(q *queue) []frame {
	frames := q.frames
	q.frames = nil
	for _, f := range frames {
		h.bytes -= len(f.body) + frameOverhead
	}
	return frames
}

func (h *holds) drop(shard uint16) {
	delete(h.queues, shard)
	h.any.Store(int32(len(h.queues)))
}

// open delivers what the shard has held, and then lets deliveries pass. Frames that come meanwhile keep their order.
func (h *holds) open(shard uint16, deliver func(frame)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.queues[shard]
	if q == nil {
		return
	}
	for len(q.frames) > 0 {
		frames := h.take(q)
		h.mu.Unlock()
		for _, f := range frames {
			deliver(f)
		}
		h.mu.Lock()
	}
	h.drop(shard)
}

// strays removes all that waits for shards which the view does not give to this node.
func (h *holds) strays(v *View) []frame {
	return h.remove(func(shard uint16, _ *queue) bool { return !v.Local(shard) })
}

// tired removes the early frames of each shard of which one has waited long enough.
func (h *holds) tired(now time.Time) []frame {
	return h.remove(func(_ uint16, q *queue) bool {
		late := func(f frame) bool { return !now.Before(f.until) }
		return !q.closed && (len(q.frames) == 0 || slices.ContainsFunc(q.frames, late))
	})
}

func (h *holds) remove(which func(uint16, *queue) bool) []frame {
	if h.any.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var frames []frame
	for shard, q := range h.queues {
		if which(shard, q) {
			frames = append(frames, h.take(q)...)
			h.drop(shard)
		}
	}
	return frames
}
