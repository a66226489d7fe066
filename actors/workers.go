package actors

import (
	"context"
	"runtime"
	"sync"

	"carillon/actors/call"
)

// workers runs mailboxes: as many at once as there are processors, those that wait for the store aside. What is scheduled
// while all are busy is run by the first that is done, without waking anybody: a wake-up costs as much as a message. A
// goroutine that has nothing to do waits for more, with the stack that it has grown; the last to wait is the first to go on,
// since the processor's caches still know it. At most keepWorkers wait.
//
// Each mailbox is queued once at most, so there are no more runs waiting than actors; admission bounds those.
type workers struct {
	slots int
	all   sync.WaitGroup

	mu     sync.Mutex
	busy   int // runs under way that do not wait
	queue  []func()
	head   int // of queue
	idle   []chan func()
	closed bool
}

const (
	keepWorkers = 512
	inARow      = 32 // runs, before others may have the processor
)

func newWorkers() *workers { return &workers{slots: runtime.GOMAXPROCS(0)} }

// Schedule implements actor.Dispatcher; it never blocks.
func (w *workers) Schedule(run func()) {
	w.mu.Lock()
	if w.busy >= w.slots {
		if len(w.queue) == cap(w.queue) && w.head > len(w.queue)/2 { // as in mailbox.post: it may never run dry
			left := copy(w.queue, w.queue[w.head:])
			clear(w.queue[left:])
			w.queue, w.head = w.queue[:left], 0
		}
		w.queue = append(w.queue, run)
		w.mu.Unlock()
		return
	}
	w.start(run)
}

// Throughput implements actor.Dispatcher; the mailbox does not ask.
func (w *workers) Throughput() int { return 1 }

// start has a worker run; it unlocks.
func (w *workers) start(run func()) {
	w.busy++
	if n := len(w.idle); n > 0 {
		next := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		next <- run
		return
	}
	w.mu.Unlock()
	w.all.Go(func() { w.work(run) })
}

func (w *workers) work(run func()) {
	more := make(chan func(), 1)
	for n := 1; run != nil; n++ {
		run()
		if n%inARow == 0 {
			runtime.Gosched()
		}
		run = w.next(more)
	}
}

// next takes what is queued, or waits for more; nil: there will not be any, or enough others wait.
func (w *workers) next(more chan func()) func() {
	w.mu.Lock()
	if run := w.pop(); run != nil {
		w.mu.Unlock()
		return run
	}
	w.busy--
	if w.closed || len(w.idle) >= keepWorkers {
		w.mu.Unlock()
		return nil
	}
	w.idle = append(w.idle, more)
	w.mu.Unlock()
	return <-more
}

// pop takes the run that has waited for longest; nil: there is none. w.mu is held.
func (w *workers) pop() func() {
	if w.head == len(w.queue) {
		return nil
	}
	run := w.queue[w.head]
	w.queue[w.head] = nil
	if w.head++; w.head == len(w.queue) {
		w.queue, w.head = w.queue[:0], 0
	}
	return run
}

// pause says that the caller's run waits for somebody else: another may have its place.
func (w *workers) pause() {
	w.mu.Lock()
	w.busy--
	if w.busy < w.slots {
		if run := w.pop(); run != nil {
			w.start(run)
			return
		}
	}
	w.mu.Unlock()
}

// resume ends a pause. For a while there may be more runs than places: whoever has waited need not wait again.
func (w *workers) resume() {
	w.mu.Lock()
	w.busy++
	w.mu.Unlock()
}

// close ends those that wait, once all that is queued is done.
func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	for _, more := range w.idle {
		more <- nil
	}
	w.idle = nil
	w.mu.Unlock()
	w.all.Wait()
}

// awaited is a Store for those who run on workers: while they wait for it, others run.
type awaited struct {
	Store
	workers *workers
}

func (a awaited) Save(ctx context.Context, batch []call.Transition) []error {
	a.workers.pause()
	defer a.workers.resume()
	return a.Store.Save(ctx, batch)
}

func (a awaited) Load(ctx context.Context, id call.ID) (call.State, error) {
	a.workers.pause()
	defer a.workers.resume()
	return a.Store.Load(ctx, id)
}

func (a awaited) UserCalls(ctx context.Context, user call.UserID, after call.ID, limit int) ([]call.State, call.ID, error) {
	a.workers.pause()
	defer a.workers.resume()
	return a.Store.UserCalls(ctx, user, after, limit)
}

func (a awaited) PendingFor(ctx context.Context, user call.UserID) ([]call.ID, error) {
	a.workers.pause()
	defer a.workers.resume()
	return a.Store.PendingFor(ctx, user)
}

// awaitedUsers is the same of Users.
type awaitedUsers struct {
	Users
	workers *workers
}

func (a awaitedUsers) Register(ctx context.Context, user call.UserID) error {
	a.workers.pause()
	defer a.workers.resume()
	return a.Users.Register(ctx, user)
}

// onWorkers is the Config of those who run on workers.
func (c Config) onWorkers(w *workers) *Config {
	if c.Store != nil {
		c.Store = awaited{c.Store, w}
	}
	if c.Users != nil {
		c.Users = awaitedUsers{c.Users, w}
	}
	c.patience = &patience{}
	return &c
}
