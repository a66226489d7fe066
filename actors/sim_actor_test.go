package actors

import (
	"iter"
	"time"

	"carillon/actors/call"
)

// simActor is one activation; its logic runs as a coroutine that gives way while it waits for the store.
type simActor struct {
	node    *simNode
	name    string
	call    call.ID
	user    call.UserID
	logic   receiver
	box     []any
	busy    bool // in the middle of a message
	begun   bool // it has had a message
	hurry   bool // patient messages are handled at once
	gone    bool
	resting bool
	retired bool
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
		if a.retired {
			a.node.remove(a)
			a.node.disperse(a)
			return
		}
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
	first := !a.begun
	a.begun = true
	if patient(msg) && !first && !a.hurry && len(a.box) < maxPatient {
		return
	}
	if !a.busy {
		a.msg, a.box = a.box[0], a.box[1:]
		a.busy, a.resting = true, false
		a.step()
	}
}

// Now, WakeAt, Rest and Epoch make it a host.
func (a *simActor) Now() time.Time { return a.node.w.now }
func (a *simActor) Rest()          { a.resting = true }
func (a *simActor) Retire()        { a.retired = true }
func (a *simActor) Resumed() time.Time {
	if a.node.pausedUntil.After(a.node.w.now) {
		return time.Time{}
	}
	return a.node.pausedUntil
}
func (a *simActor) Hurry(on bool) { a.hurry = on }
func (a *simActor) Epoch() uint64 { return a.node.w.rng.Uint64() }

func (a *simActor) WakeAt(t time.Time) {
	w := a.node.w
	a.alarm = w.serial + 1
	if a.call != 0 {
		delete(a.node.alarms, a.call)
	}
	if t.IsZero() {
		return
	}
	if a.call != 0 {
		a.node.alarms[a.call] = true
	}
	serial := a.alarm
	w.at(later(t, w.now), a.node, func() {
		if a.alarm != serial {
			return
		}
		if a.call != 0 {
			delete(a.node.alarms, a.call)
		}
		switch {
		case a.call != 0: // a resting call's alarm outlives its activation
			a.node.ring(a.call, a)
		case !a.gone:
			a.post(wake{})
		}
	})
}
