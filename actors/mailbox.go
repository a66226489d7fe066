package actors

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"carillon/actors/session"
)

// mailbox is one activation's queue. It differs from protoactor's own in what a lookup table of activations needs:
// messages may come before the actor is wired up, an actor may stop only when the queue is empty, and what a broken
// actor left behind is handed back. It is unbounded by itself: admission at the gateway bounds what comes in.
type mailbox struct {
	mu        sync.Mutex
	user, sys []any
	head      int // of user
	running   bool
	suspended bool // after a failure, until the supervisor has decided
	invoker   actor.MessageInvoker
	threads   actor.Dispatcher
	work      func() // run, made once

	hurry atomic.Bool // patient messages are handled at once

	onPanic func(reason any, stack []byte)
}

const (
	keepCap    = 16 // slots of a drained queue that are kept
	maxPatient = 16 // messages that may wait for one that does not
)

// patient tells whether nobody waits for a message. Its receiver handles it together with the next one that somebody waits
// for, or when it wakes by itself: a call does before it tells again what was not acknowledged, a session before it takes a
// device for silent. A receiver in a hurry handles it at once.
func patient(msg any) bool {
	switch m := msg.(type) {
	case told:
		return true
	case session.Seen:
		return !m.At.IsZero()
	}
	return false
}

// PostUserMessage implements actor.Mailbox. A patient message waits for the next one that is not.
func (m *mailbox) PostUserMessage(msg any) {
	m.post(msg, !patient(msg))
}

func (m *mailbox) post(msg any, urgent bool) {
	m.mu.Lock()
	if len(m.user) == cap(m.user) && m.head > len(m.user)/2 { // reuse what is handled: a busy queue may never run dry
		left := copy(m.user, m.user[m.head:])
		clear(m.user[left:])
		m.user, m.head = m.user[:left], 0
	}
	m.user = append(m.user, msg)
	if !urgent && !m.hurry.Load() && len(m.user)-m.head < maxPatient {
		m.mu.Unlock()
		return
	}
	m.kick()
}

func (m *mailbox) PostSystemMessage(msg any) {
	m.mu.Lock()
	m.sys = append(m.sys, msg)
	m.kick()
}

// kick starts a run if none is under way; it unlocks.
func (m *mailbox) kick() {
	start := !m.running && m.threads != nil
	m.running = m.running || start
	m.mu.Unlock()
	if start {
		m.threads.Schedule(m.work)
	}
}

func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, threads actor.Dispatcher) {
	m.mu.Lock()
	m.invoker, m.threads, m.work = invoker, threads, m.run
	m.mu.Unlock()
}

func (m *mailbox) Start() {}

func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.user) - m.head
}

// rest hands back what nobody has handled.
func (m *mailbox) rest() []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := m.user[m.head:]
	m.user, m.head = nil, 0
	return left
}

// run handles what there is, but not for ever.
func (m *mailbox) run() {
	for range inARow {
		msg, system, ok := m.next()
		if !ok {
			return
		}
		m.invoke(msg, system)
	}
	m.threads.Schedule(m.work)
}

// next takes the next message, system messages first; without one the run is over.
func (m *mailbox) next() (msg any, system, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.sys) > 0 {
		msg, m.sys = m.sys[0], m.sys[1:]
		switch msg.(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
		case *actor.ResumeMailbox:
			m.suspended = false
		default:
			return msg, true, true
		}
	}
	m.sys = nil
	if m.suspended || m.head == len(m.user) {
		m.running = false
		return nil, false, false
	}
	msg, m.user[m.head] = m.user[m.head], nil
	if m.head++; m.head == len(m.user) {
		m.user, m.head = m.user[:0], 0
		if cap(m.user) > keepCap {
			m.user = nil
		}
	}
	return msg, false, true
}

func (m *mailbox) invoke(msg any, system bool) {
	defer func() {
		if reason := recover(); reason != nil {
			m.onPanic(reason, debug.Stack())
			m.invoker.EscalateFailure(reason, msg)
		}
	}()
	if system {
		m.invoker.InvokeSystemMessage(msg)
	} else {
		m.invoker.InvokeUserMessage(msg)
	}
}
