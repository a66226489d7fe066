package actors

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// town is a table of actors of the test's own, on a System that has nothing else to do.
type town struct {
	*table[int]
	sys   *System
	lives atomic.Int64
}

// testTown makes a table whose actors do as they are told; end stops them.
func testTown(t *testing.T, logic func(key int, h host) receiver) *town {
	t.Helper()
	sys := NewSystem(testConfig(nil))
	w := &town{sys: sys, table: newTable(func(k int) uint64 { return uint64(k) }, time.Now)}
	w.spawn = func(a *activation[int]) {
		w.lives.Add(1)
		spawn(sys, a, "test", func(h host) receiver { return logic(a.key, h) })
	}
	return w
}

func (w *town) end() {
	w.close(w.sys.proto.Root.Stop)
	w.sys.Close()
}

type receiverFunc func(any)

func (f receiverFunc) Receive(msg any) { f(msg) }

// TestMailboxBeforeItIsWired: what comes before the actor is wired up waits for it, system messages first.
func TestMailboxBeforeItIsWired(t *testing.T) {
	m := &mailbox{}
	m.PostUserMessage(1)
	m.PostSystemMessage("system")
	m.PostUserMessage(2)
	var got []any
	r := &recorder{heard: func(msg any) { got = append(got, msg) }}
	m.RegisterHandlers(r, r)
	if len(got) != 0 {
		t.Fatalf("handled %v before it was started", got)
	}
	m.PostSystemMessage("started")
	if fmt.Sprint(got) != "[system started 1 2]" {
		t.Errorf("handled %v", got)
	}
}

// recorder invokes on the poster's own goroutine.
type recorder struct{ heard func(any) }

func (r *recorder) InvokeSystemMessage(msg any)   { r.heard(msg) }
func (r *recorder) InvokeUserMessage(msg any)     { r.heard(msg) }
func (r *recorder) EscalateFailure(reason, _ any) { r.heard(reason) }
func (r *recorder) Schedule(fn func())            { fn() }
func (r *recorder) Throughput() int               { return 1 }

// TestMailboxSuspends: after a failure nothing is handled until the supervisor has decided; then the rest can be had.
func TestMailboxSuspends(t *testing.T) {
	m := &mailbox{}
	var got []any
	failed := false
	r := &recorder{}
	r.heard = func(msg any) {
		got = append(got, msg)
		if msg == 1 && !failed {
			failed = true
			m.PostSystemMessage(&actor.SuspendMailbox{})
		}
	}
	m.PostUserMessage(1)
	m.PostUserMessage(2)
	m.PostUserMessage(3)
	m.RegisterHandlers(r, r)
	m.PostSystemMessage("started")
	if fmt.Sprint(got) != "[started 1]" || m.UserMessageCount() != 2 {
		t.Fatalf("handled %v, %d wait", got, m.UserMessageCount())
	}
	m.PostSystemMessage(&actor.ResumeMailbox{})
	m.PostSystemMessage(&actor.SuspendMailbox{})
	m.PostUserMessage(4)
	if fmt.Sprint(got) != "[started 1 2 3]" || fmt.Sprint(m.rest()) != "[4]" || m.UserMessageCount() != 0 {
		t.Fatalf("handled %v", got)
	}
}

// TestMailboxForgets: a queue that never runs dry must not remember what it has handled.
func TestMailboxForgets(t *testing.T) {
	m := &mailbox{}
	for n := range 10 {
		m.PostUserMessage(n)
	}
	for n := range 100_000 {
		m.PostUserMessage(n + 10)
		if msg, _, ok := m.next(); !ok || msg != n {
			t.Fatalf("message %d is %v", n, msg)
		}
	}
	if m.UserMessageCount() != 10 || cap(m.user) > 100 {
		t.Errorf("%d wait, room for %d", m.UserMessageCount(), cap(m.user))
	}
	left := m.rest()
	if len(left) != 10 || left[0] != 100_000 {
		t.Errorf("left: %v", left)
	}
}

// TestNoMessageIsLost: actors that rest after every message, many senders: each message is handled once, each sender's in
// their order, and never two at a time in one actor.
func TestNoMessageIsLost(t *testing.T) {
	const keys, senders, each = 4, 8, 3000
	type letter struct{ sender, n int }
	var (
		last [keys][senders]int
		busy [keys]atomic.Bool
		got  atomic.Int64
	)
	w := testTown(t, func(key int, h host) receiver {
		return receiverFunc(func(msg any) {
			if !busy[key].CompareAndSwap(false, true) {
				t.Errorf("two activations of %d at once", key)
			}
			m := msg.(letter)
			if last[key][m.sender] != m.n-1 {
				t.Errorf("key %d: %d of sender %d after %d", key, m.n, m.sender, last[key][m.sender])
			}
			last[key][m.sender] = m.n
			got.Add(1)
			h.Rest()
			busy[key].Store(false)
		})
	})
	var work sync.WaitGroup
	for s := range senders {
		work.Go(func() {
			for n := range each {
				for key := range keys {
					w.send(key, letter{s, n + 1})
				}
			}
		})
	}
	work.Wait()
	settle(t, func() bool { return got.Load() == keys*senders*each && w.count() == 0 })
	for key := range keys { // all have rested by now
		w.send(key, letter{0, each + 1})
	}
	settle(t, func() bool { return got.Load() == keys*senders*each+keys && w.count() == 0 })
	w.end()
	if w.lives.Load() < 2*keys {
		t.Errorf("%d lives for %d keys: nobody ever rested", w.lives.Load(), keys)
	}
}

// settle waits for a condition that other goroutines bring about.
func settle(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("it does not settle")
		}
	}
}

// TestBreakDown: a message that breaks the actor is gone, the rest goes to its successor in order, and it is woken.
func TestBreakDown(t *testing.T) {
	const each = 400
	var mu sync.Mutex
	var got []int
	var woken atomic.Int64
	hold := make(chan struct{})
	w := testTown(t, func(int, host) receiver {
		broken := false
		return receiverFunc(func(msg any) {
			if broken {
				t.Error("a broken actor goes on")
			}
			switch n := msg.(type) {
			case wake:
				woken.Add(1)
			case int:
				if n == 0 {
					<-hold
				}
				if n%100 == 50 {
					broken = true
					panic(fmt.Sprint("message ", n))
				}
				mu.Lock()
				got = append(got, n)
				mu.Unlock()
			}
		})
	})
	for n := range each {
		w.send(7, n)
	}
	close(hold)
	settle(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == each-4 && woken.Load() > 0
	})
	w.end()
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Fatalf("%d after %d", got[i], got[i-1])
		}
	}
	if lives := w.lives.Load(); lives != 5 {
		t.Errorf("%d lives, want 5", lives)
	}
}

// TestBreakDownAmongSenders: the same while others keep sending; nothing is lost but what broke it, and each sender's
// messages stay in order over the break-downs.
func TestBreakDownAmongSenders(t *testing.T) {
	const senders, each = 6, 1000
	type letter struct{ sender, n int }
	var last [senders]int
	var got, broke atomic.Int64
	w := testTown(t, func(int, host) receiver {
		return receiverFunc(func(msg any) {
			m, ok := msg.(letter)
			if !ok {
				return // woken
			}
			if last[m.sender] != m.n-1 {
				t.Errorf("%d of sender %d after %d", m.n, m.sender, last[m.sender])
			}
			last[m.sender] = m.n
			if m.n%250 == 0 {
				broke.Add(1)
				panic("again")
			}
			got.Add(1)
		})
	})
	var work sync.WaitGroup
	for s := range senders {
		work.Go(func() {
			for n := range each {
				w.send(1, letter{s, n + 1})
			}
		})
	}
	work.Wait()
	settle(t, func() bool { return got.Load()+broke.Load() == senders*each })
	w.end()
	if broke.Load() != senders*4 {
		t.Errorf("%d break-downs, want %d", broke.Load(), senders*4)
	}
}

// TestCloseWaits: when close returns no actor runs, and what is sent afterwards goes nowhere.
func TestCloseWaits(t *testing.T) {
	var running, handled atomic.Int64
	begun, let := make(chan struct{}, 64), make(chan struct{})
	w := testTown(t, func(int, host) receiver {
		return receiverFunc(func(any) {
			running.Add(1)
			begun <- struct{}{}
			<-let
			handled.Add(1)
			running.Add(-1)
		})
	})
	w.sys.workers.slots = 20
	for key := range 20 {
		w.send(key, "one")
		w.send(key, "two")
	}
	for range 20 {
		<-begun
	}
	closed := make(chan struct{})
	go func() {
		w.end()
		close(closed)
	}()
	settle(t, func() bool {
		s := w.shard(19)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.closed
	})
	select {
	case <-closed:
		t.Fatal("closed while actors run")
	default:
	}
	close(let)
	<-closed
	if running.Load() != 0 || handled.Load() != 20 || w.count() != 0 {
		t.Errorf("%d run, %d were handled, %d live", running.Load(), handled.Load(), w.count())
	}
	w.send(3, "three")
	if w.count() != 0 {
		t.Error("a message after the end brought an actor to life")
	}
}
