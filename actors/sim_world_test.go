package actors

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"carillon/actors/call"
)

// The simulator runs the real actors, sessions and gateways on a scheduler of its own: one thread, one seeded source of
// chance, a clock that jumps from event to event. The same seed gives the same run, to the last message.

// world is one run.
type world struct {
	seed    uint64
	rng     *rand.Rand
	now     time.Time
	queue   eventQueue
	serial  uint64
	faults  bool // off in the last part of a run
	trace   *strings.Builder
	bug     *plant         // nil: the code as it is
	nodes   []*simNode     // the last life of each node
	side    map[string]int // of a partition, by node
	orderly bool           // nodes come and go, and nothing goes wrong
	shards  []uint16       // of the users, and so of their calls
	store   *simStore
	devices []*simDevice
	users   []call.UserID
	check   *checker
	failed  string
	// splintered: a node went while others, wrongly, had taken over from it. What it told until then nobody can know, and a
	// device may believe in a call until it logs in again, or until its ring is over (cluster/DESIGN.md).
	splintered bool
	// disturbed is when an actor last lost its memory, a node its place, or a shard its owner.
	disturbed time.Time
	steps     int
}

var simStart = time.UnixMilli(1_700_000_000_000)

// maxSteps is far more than a world needs.
const maxSteps = 100_000

// event is something that happens at an instant. Events of one instant happen in the order in which they were made.
type event struct {
	at     time.Time
	serial uint64
	life   *simNode // the life of the node it belongs to; nil: it happens whatever the node does
	do     func()
}

type eventQueue []*event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].serial < q[j].serial
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (w *world) at(t time.Time, life *simNode, do func()) {
	w.serial++
	heap.Push(&w.queue, &event{at: t, serial: w.serial, life: life, do: do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now.Add(d), nil, do) }

// run plays events until the given instant or the first violation.
func (w *world) run(until time.Time) {
	for len(w.queue) > 0 && w.failed == "" {
		e := w.queue[0]
		if e.at.After(until) {
			break
		}
		heap.Pop(&w.queue)
		if e.life != nil {
			if e.life.dead {
				continue
			}
			if e.at.Before(e.life.pausedUntil) { // frozen: it happens when the node thaws, in the same order
				e.at = e.life.pausedUntil
				heap.Push(&w.queue, e)
				continue
			}
		}
		if e.at.After(w.now) {
			w.now = e.at
		}
		if w.steps++; w.steps > maxSteps {
			w.fail("the world does not come to rest: %d steps", w.steps)
		}
		e.do()
	}
	if w.failed == "" && w.now.Before(until) {
		w.now = until
	}
}

func (w *world) chance(percent float64) bool { return w.rng.Float64()*100 < percent }

// fault is chance while faults are on.
func (w *world) fault(percent float64) bool { return w.faults && !w.orderly && w.chance(percent) }

func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

func (w *world) fail(format string, args ...any) {
	if w.failed == "" {
		w.failed = fmt.Sprintf(format, args...)
		w.note("VIOLATION %s", w.failed)
	}
}

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%8.3f ", w.now.Sub(simStart).Seconds())
		fmt.Fprintf(w.trace, format+"\n", args...)
	}
}
