package actors

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// crew is workers of which each run begins and ends as the test says. It runs in a bubble.
type crew struct {
	*workers
	mu    sync.Mutex
	begun []string
	gates map[string]chan string
}

func newCrew(slots int) *crew {
	c := &crew{workers: newWorkers(), gates: map[string]chan string{}}
	c.slots = slots
	return c
}

func (c *crew) schedule(names ...string) {
	for _, name := range names {
		gate := make(chan string)
		c.gates[name] = gate
		c.Schedule(func() {
			c.mu.Lock()
			c.begun = append(c.begun, name)
			c.mu.Unlock()
			for word := range gate {
				if word == "pause" {
					c.pause()
				} else {
					c.resume()
				}
			}
		})
		synctest.Wait()
	}
}

func (c *crew) say(name, word string) {
	if word == "end" {
		close(c.gates[name])
	} else {
		c.gates[name] <- word
	}
}

// runs checks which runs have begun so far, and how many are busy.
func (c *crew) runs(t *testing.T, want string, busy int) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := fmt.Sprint(c.begun); got != want {
		t.Errorf("begun %s, want %s", got, want)
	}
	c.workers.mu.Lock()
	defer c.workers.mu.Unlock()
	if c.busy != busy {
		t.Errorf("%d busy, want %d", c.busy, busy)
	}
}

// TestWorkersTakeTurns: no more runs than places, in their order; who waits for the store has none.
func TestWorkersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(2)
		c.schedule("a", "b", "c", "d", "e", "f")
		c.runs(t, "[a b]", 2)
		c.say("a", "end")
		c.runs(t, "[a b c]", 2)
		c.say("b", "pause")
		c.runs(t, "[a b c d]", 2)
		c.say("b", "resume") // it need not wait again
		c.runs(t, "[a b c d]", 3)
		c.say("b", "end") // it has the processor, so it goes on with the next
		c.runs(t, "[a b c d e]", 3)
		for _, name := range []string{"c", "d", "e"} {
			c.say(name, "pause")
		}
		c.runs(t, "[a b c d e f]", 1)
		for _, name := range []string{"c", "d", "e"} {
			c.say(name, "resume")
			c.say(name, "end")
		}
		c.say("f", "end")
		c.runs(t, "[a b c d e f]", 0)
		c.schedule("g")
		c.runs(t, "[a b c d e f g]", 1)
		c.say("g", "end")
		c.close()
	})
}

// TestWorkersClose: what is queued is still done.
func TestWorkersClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(1)
		c.schedule("a", "b", "c")
		closed := make(chan struct{})
		go func() {
			c.close()
			close(closed)
		}()
		for _, name := range []string{"a", "b", "c"} {
			synctest.Wait()
			select {
			case <-closed:
				t.Fatalf("closed before %s has run", name)
			default:
			}
			c.say(name, "end")
		}
		<-closed
		c.runs(t, "[a b c]", 0)
	})
}

// TestWorkersForget: a queue that never runs dry must not remember what it has run.
func TestWorkersForget(t *testing.T) {
	w := &workers{}
	for range 10 {
		w.Schedule(func() {})
	}
	for range 100_000 {
		w.Schedule(func() {})
		if w.pop() == nil {
			t.Fatal("nothing is queued")
		}
	}
	if len(w.queue)-w.head != 10 || cap(w.queue) > 100 {
		t.Errorf("%d wait, room for %d", len(w.queue)-w.head, cap(w.queue))
	}
}

// stuck is a store that answers when it is told to.
type stuck struct {
	Store
	begun, let chan struct{}
}

func (s stuck) wait() { s.begun <- struct{}{}; <-s.let }

func (s stuck) Save(context.Context, []call.Transition) []error { s.wait(); return []error{nil} }
func (s stuck) Load(context.Context, call.ID) (call.State, error) {
	s.wait()
	return call.State{}, call.ErrNotFound
}

func (s stuck) UserCalls(context.Context, call.UserID, call.ID, int) ([]call.State, call.ID, error) {
	s.wait()
	return nil, 0, nil
}

func (s stuck) PendingFor(context.Context, call.UserID) ([]call.ID, error) { s.wait(); return nil, nil }
func (s stuck) Register(context.Context, call.UserID) error                { s.wait(); return nil }
func (s stuck) Known(context.Context, []call.UserID) ([]bool, error)       { return nil, nil }

// TestNobodyWaitsForTheStoreInAPlace: while one waits for the store, whatever he asks of it, another runs.
func TestNobodyWaitsForTheStoreInAPlace(t *testing.T) {
	for name, ask := range map[string]func(*Config){
		"save":     func(c *Config) { c.Store.Save(t.Context(), nil) },
		"load":     func(c *Config) { _, _ = c.Store.Load(t.Context(), 1) },
		"list":     func(c *Config) { _, _, _ = c.Store.UserCalls(t.Context(), "a", 0, 1) },
		"pending":  func(c *Config) { _, _ = c.Store.PendingFor(t.Context(), "a") },
		"register": func(c *Config) { _ = c.Users.Register(t.Context(), "a") },
	} {
		w := newWorkers()
		w.slots = 1
		store := stuck{begun: make(chan struct{}), let: make(chan struct{})}
		c := Config{Store: store, Users: store}.onWorkers(w)
		other := make(chan struct{})
		w.Schedule(func() { ask(c) })
		<-store.begun
		w.Schedule(func() { close(other) })
		select {
		case <-other:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: nobody else runs", name)
		}
		store.let <- struct{}{}
		w.close()
		if w.busy != 0 {
			t.Errorf("%s: %d busy in the end", name, w.busy)
		}
	}
}

// TestMailboxPatience: what nobody waits for comes with what somebody waits for, before it, unless there is much of it or its
// receiver is in a hurry.
func TestMailboxPatience(t *testing.T) {
	m := &mailbox{}
	var got []any
	r := &recorder{heard: func(msg any) { got = append(got, msg) }}
	m.RegisterHandlers(r, r)
	handled := func(want string) {
		t.Helper()
		var seqs []any
		for _, msg := range got {
			switch msg := msg.(type) {
			case told:
				seqs = append(seqs, msg.Seq)
			case session.Seen:
				seqs = append(seqs, "seen")
			default:
				seqs = append(seqs, msg)
			}
		}
		if s := fmt.Sprint(seqs...); s != want {
			t.Errorf("handled %q, want %q", s, want)
		}
		got = nil
	}
	m.PostUserMessage(told{Seq: 1})
	m.PostUserMessage(session.Seen{At: time.Now()})
	m.PostUserMessage(told{Seq: 2})
	handled("")
	m.PostUserMessage("wake")
	handled("1seen2wake")
	m.PostUserMessage(session.Seen{}) // a device that may have to be recalled
	handled("seen")
	for n := range uint64(maxPatient) {
		m.PostUserMessage(told{Seq: n % 10})
	}
	handled("0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5")
	m.hurry.Store(true)
	m.PostUserMessage(told{Seq: 3})
	handled("3")
	m.hurry.Store(false)
	m.PostUserMessage(told{Seq: 4})
	m.post(told{Seq: 5}, true) // the first of a life
	handled("4 5")
}

// TestMailboxGivesWay: a mailbox that never runs dry lets others run.
func TestMailboxGivesWay(t *testing.T) {
	m := &mailbox{}
	var scheduled, handled int
	var next func()
	r := &recorder{heard: func(any) { handled++ }}
	m.invoker, m.work = r, m.run
	m.threads = dispatcher(func(run func()) { scheduled, next = scheduled+1, run })
	for range inARow + 1 {
		m.PostUserMessage("x")
	}
	for range 2 {
		next()
	}
	if scheduled != 2 || handled != inARow+1 {
		t.Errorf("%d messages in %d runs", handled, scheduled)
	}
}

type dispatcher func(run func())

func (d dispatcher) Schedule(run func()) { d(run) }
func (d dispatcher) Throughput() int     { return 1 }

// TestSharedPatience: who begins to wait at about the same time shares a context, which ends after saveTimeout or a little
// later; who has one of his own keeps it.
func TestSharedPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patience{}
		first, end := p.limit(context.Background(), time.Now())
		end() // for himself only
		time.Sleep(sharedFor - time.Millisecond)
		second, _ := p.limit(context.Background(), time.Now())
		time.Sleep(time.Millisecond)
		third, _ := p.limit(context.Background(), time.Now())
		if first != second || second == third {
			t.Errorf("shared %v, %v; want true, false", first == second, second == third)
		}
		time.Sleep(saveTimeout + time.Millisecond)
		if first.Err() == nil || third.Err() != nil {
			t.Errorf("after saveTimeout: %v, %v", first.Err(), third.Err())
		}
		time.Sleep(sharedFor + time.Millisecond)
		if third.Err() != context.DeadlineExceeded {
			t.Errorf("in the end: %v", third.Err())
		}
		own, stop := context.WithCancel(context.Background())
		got, end := p.limit(own, time.Now())
		stop()
		if got.Err() != context.Canceled {
			t.Errorf("one's own: %v", got.Err())
		}
		end()
	})
}
