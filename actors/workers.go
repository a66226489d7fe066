package actors

import "sync"

// workers runs mailboxes. A goroutine that has run one waits for the next, with the stack that it has grown: a new one for
// every run spends a tenth of the processor on growing stacks. A run may block on the store, so there is no limit on how
// many are under way; admission bounds that. At most keepWorkers wait.
type workers struct {
	jobs chan func() // taken by whoever waits
	quit chan struct{}
	all  sync.WaitGroup

	mu   sync.Mutex
	idle int
}

const keepWorkers = 512

func newWorkers() *workers {
	return &workers{jobs: make(chan func()), quit: make(chan struct{})}
}

// Schedule implements actor.Dispatcher; it never blocks.
func (w *workers) Schedule(run func()) {
	select {
	case w.jobs <- run:
	default:
		w.all.Go(func() { w.work(run) })
	}
}

// Throughput implements actor.Dispatcher; the mailbox does not ask.
func (w *workers) Throughput() int { return 1 }

func (w *workers) work(run func()) {
	for {
		run()
		if !w.mayWait() {
			return
		}
		select {
		case run = <-w.jobs:
			w.waited()
		case <-w.quit:
			w.waited()
			return
		}
	}
}

func (w *workers) mayWait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle >= keepWorkers {
		return false
	}
	w.idle++
	return true
}

func (w *workers) waited() {
	w.mu.Lock()
	w.idle--
	w.mu.Unlock()
}

// close ends those that wait, and waits for the rest.
func (w *workers) close() {
	close(w.quit)
	w.all.Wait()
}
