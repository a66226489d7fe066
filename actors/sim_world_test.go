package actors

import (
	"container/heap"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
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
	bug     *plant // nil: the code as it is
	node    *simNode
	store   *simStore
	devices []*simDevice
	users   []call.UserID
	check   *checker
	failed  string
	// disturbed is when an actor last lost its memory.
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
func (w *world) fault(percent float64) bool { return w.faults && w.chance(percent) }

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

// simNode is one life of the server process.
type simNode struct {
	w           *world
	dead        bool
	started     time.Time
	pausedUntil time.Time
	cfg         Config
	calls       map[call.ID][]*simActor // more than one: a stale second activation is about
	sessions    map[call.UserID]*simActor
	gateways    map[uint64]*Gateway
	lastSent    map[string]time.Time // per pair, so that messages stay in order
}

// simActor is one activation; its logic runs as a coroutine that gives way while it waits for the store.
type simActor struct {
	node    *simNode
	name    string
	call    call.ID
	user    call.UserID
	logic   receiver
	box     []any
	busy    bool // in the middle of a message
	gone    bool
	resting bool
	alarm   uint64 // serial of the alarm that counts
	msg     any
	resume  func() (struct{}, bool)
	stop    func()
	wait    func(struct{}) bool // gives way
}

type killed struct{}

func (n *simNode) spawn(name string, logic func(*simActor) receiver) *simActor {
	a := &simActor{node: n, name: name}
	a.resume, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != (killed{}) {
				panic(r)
			}
		}()
		a.wait = yield
		a.logic = logic(a)
		for yield(struct{}{}) {
			a.logic.Receive(a.msg)
			a.busy = false
		}
	})
	a.resume()
	return a
}

// block suspends the running actor for a while; it returns when the world has come that far.
func (a *simActor) block(d time.Duration) {
	w := a.node.w
	w.at(w.now.Add(d), a.node, a.step)
	if !a.wait(struct{}{}) {
		panic(killed{})
	}
}

// step runs the actor until it waits or has nothing to do.
func (a *simActor) step() {
	if a.gone {
		return
	}
	a.node.w.store.running = a
	a.resume()
	for !a.busy && !a.gone {
		if len(a.box) == 0 {
			if a.resting {
				a.node.remove(a)
			}
			return
		}
		a.resting = false
		a.msg, a.box = a.box[0], a.box[1:]
		a.busy = true
		a.node.w.store.running = a
		a.resume()
	}
}

func (a *simActor) post(msg any) {
	a.box = append(a.box, msg)
	if !a.busy && len(a.box) == 1 {
		a.msg, a.box = a.box[0], nil
		a.busy, a.resting = true, false
		a.step()
	}
}

// Now, WakeAt, Rest and Epoch make it a host.
func (a *simActor) Now() time.Time { return a.node.w.now }
func (a *simActor) Rest()          { a.resting = true }
func (a *simActor) Retire()        { a.resting = true }
func (a *simActor) Resumed() time.Time {
	if a.node.pausedUntil.After(a.node.w.now) {
		return time.Time{}
	}
	return a.node.pausedUntil
}
func (a *simActor) Epoch() uint64 { return a.node.w.rng.Uint64() }
func (a *simActor) WakeAt(t time.Time) {
	w := a.node.w
	a.alarm = w.serial + 1
	if t.IsZero() {
		return
	}
	if t.Before(w.now) {
		t = w.now
	}
	serial := a.alarm
	w.at(t, a.node, func() {
		if a.alarm != serial {
			return
		}
		if a.gone && a.call != 0 { // a resting call's alarm outlives its activation
			a.node.toCall(a.call, wake{})
			return
		}
		if !a.gone {
			a.post(wake{})
		}
	})
}

func (n *simNode) remove(a *simActor) {
	a.gone = true
	a.stop()
	if a.user != "" {
		if n.sessions[a.user] == a {
			delete(n.sessions, a.user)
		}
		return
	}
	var left []*simActor
	for _, other := range n.calls[a.call] {
		if other != a {
			left = append(left, other)
		}
	}
	if n.calls[a.call] = left; len(left) == 0 {
		delete(n.calls, a.call)
	}
}

// breakDown is a panic: the activation is gone with what only it knew; its queue goes to the next one.
func (n *simNode) breakDown(a *simActor) {
	n.w.note("%s breaks down", a.name)
	n.w.disturbed = n.w.now
	box := a.box
	n.remove(a)
	for _, msg := range box {
		if a.user != "" {
			n.toSession(a.user, msg)
		} else {
			n.toCall(a.call, msg)
		}
	}
	if a.call != 0 {
		n.w.at(n.w.now.Add(time.Second), n, func() { n.toCall(a.call, wake{}) })
	}
}

func (n *simNode) activateCall(id call.ID) *simActor {
	a := n.spawn("call "+id.String(), func(a *simActor) receiver {
		logic := newCall(id, &n.cfg, a, simPeers{n, "call " + id.String()})
		if n.w.bug != nil && n.w.bug.apply != nil {
			logic.apply = n.w.bug.apply
		}
		return logic
	})
	a.call = id
	n.calls[id] = append(n.calls[id], a)
	return a
}

func (n *simNode) toCall(id call.ID, msg any) {
	live := n.calls[id]
	if len(live) == 0 {
		live = []*simActor{n.activateCall(id)}
	}
	live[n.w.rng.IntN(len(live))].post(msg)
}

func (n *simNode) toSession(user call.UserID, msg any) {
	a := n.sessions[user]
	if a == nil {
		a = n.spawn("session "+string(user), func(a *simActor) receiver {
			return newSession(user, &n.cfg, a, simPeers{n, "session " + string(user)})
		})
		a.user = user
		n.sessions[user] = a
	}
	a.post(msg)
}

var quiet = slog.New(slog.DiscardHandler)

// simPeers is the network between actors, as one sender sees it.
type simPeers struct {
	n    *simNode
	from string
}

func (p simPeers) ToCall(id call.ID, msg any) {
	p.send("call "+id.String(), msg, true, func() { p.n.toCall(id, msg) })
}

func (p simPeers) ToSession(user call.UserID, msg any) {
	_, login := msg.(*attach)
	p.send("session "+string(user), msg, !login, func() { p.n.toSession(user, msg) })
}

func (p simPeers) ToGateway(conn session.Conn, msg any) {
	p.send(fmt.Sprint("gateway ", conn.ID), msg, false, func() {
		if g := p.n.gateways[conn.ID]; g != nil {
			g.deliver(msg)
		}
	})
}

// send delays a message; while faults are on it may lose, double or overtake. Between a session and a gateway of its own
// node nothing is lost or doubled.
func (p simPeers) send(to string, msg any, lossy bool, deliver func()) {
	w := p.n.w
	pair := p.from + " > " + to
	at := w.now.Add(w.between(0, 2*time.Millisecond))
	w.note("%s: %s", pair, sketch(msg))
	if lossy && w.fault(w.check.lossy) {
		switch w.rng.IntN(4) {
		case 0:
			w.note("  lost")
			return
		case 1:
			w.at(at.Add(w.between(0, time.Second)), p.n, deliver)
		case 2:
			w.note("  late")
			w.at(at.Add(w.between(0, 3*time.Second)), p.n, deliver) // may be overtaken
			return
		case 3:
			at = at.Add(w.between(0, 500*time.Millisecond))
		}
	}
	if last := p.n.lastSent[pair]; at.Before(last) {
		at = last
	}
	p.n.lastSent[pair] = at
	w.at(at, p.n, deliver)
}

func sketch(msg any) string {
	s := fmt.Sprintf("%T", msg)
	switch m := msg.(type) {
	case *command:
		return fmt.Sprintf("%s by %s/%s %x to %v", m.Op, m.User, m.Device, m.Command.Command[:4], m.Users)
	case session.Tell:
		return fmt.Sprintf("tell %d..%d, %d items, answer %t", m.From, m.Seq, len(m.Items), len(m.Answer) > 0)
	case told, presence, ask, session.Watch, session.Heard, session.Seen, session.Broken:
		return fmt.Sprintf("%T%+v", m, m)
	}
	return s
}
