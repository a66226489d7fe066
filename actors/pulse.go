package actors

import (
	"sync"
	"time"
)

// pulse notices that the process stood still: stopped, swapped out, its machine suspended. Then clients could not be heard,
// and their silence means nothing.
type pulse struct {
	now  func() time.Time
	quit chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex
	beat time.Time // last time that the process was seen running
	back time.Time // when it last went on after a standstill
}

const (
	pulseEvery = 500 * time.Millisecond
	standstill = 3 * time.Second // without a beat; a busy machine is late by less
)

func newPulse(now func() time.Time) *pulse {
	p := &pulse{now: now, quit: make(chan struct{}), beat: now()}
	p.done.Go(p.run)
	return p
}

func (p *pulse) run() {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-tick.C:
			p.resumed()
		}
	}
}

// resumed is when the process last went on after a standstill; zero if it never stood still. Whoever asks first after one
// finds it out.
func (p *pulse) resumed() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Sub(p.beat) > standstill {
		p.back = now
	}
	p.beat = now
	return p.back
}

func (p *pulse) close() {
	close(p.quit)
	p.done.Wait()
}
