package main

import (
	"context"
	"sync"
	"time"
)

// phase is where a run is.
type phase uint8

// The phases, in their order.
const (
	starting  phase = iota // the servers
	loggingIn              // the users
	warming
	measuring
	auditing
	phases
)

func (p phase) String() string {
	return [...]string{"starting", "logging in", "warm-up", "measuring", "audit", "?"}[min(p, phases)]
}

// progress knows which phase it is, and since when.
type progress struct {
	// gate is asked before each phase after the logins; it returns when the phase may begin. nil: at once.
	gate func(context.Context, phase) error

	mu    sync.Mutex
	phase phase
	since time.Time
}

// enter waits at the gate and begins a phase.
func (p *progress) enter(ctx context.Context, next phase) error {
	if p.gate != nil && next > loggingIn {
		if err := p.gate(ctx, next); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.since = next, time.Now()
	return nil
}

func (p *progress) now() (phase, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return p.phase, 0
	}
	return p.phase, time.Since(p.since)
}

// pulse tells how the run stands, and what happened since it last told.
func (r *run) pulse() pulse {
	if r.crew != nil {
		p := r.crew.pulse()
		p.Phase, p.Elapsed = r.progress.now()
		p.Moments = r.diary.all()
		return p
	}
	p := r.tally.pulse()
	p.Phase, p.Elapsed = r.progress.now()
	p.Online, p.InFlight = int(r.crowd.online.Load()), r.book.open()
	p.LoggedIn = r.crowd.entered()
	p.Moments = r.diary.all()
	return p
}
