package persistence

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"carillon/actors/call"
)

// pulse knows whether the database answers: by what those who use it meet, and when nobody does, by asking it.
type pulse struct {
	logger *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	heard time.Time // when it last answered
	lost  error     // why it doesn't; nil: it does

	refused error // what it said when it last refused a commit
	when    time.Time
}

func newPulse(log *slog.Logger) *pulse { return &pulse{logger: log, heard: time.Now()} }

// start asks every second, unless it was heard of meanwhile, until stop.
func (p *pulse) start(ask func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		for pause(ctx, pulseInterval) == nil {
			if p.recent() {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, dialTimeout)
			err := ask(limited)
			cancel()
			switch {
			case err == nil:
				p.beat()
			case ctx.Err() == nil:
				p.miss(err)
			}
		}
	}()
}

func (p *pulse) stop() {
	p.cancel()
	<-p.done
}

func (p *pulse) recent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost == nil && time.Since(p.heard) < pulseInterval
}

// beat notes that the database has answered.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost != nil {
		p.logger.Info("the database answers again", "after", time.Since(p.heard).Round(time.Millisecond))
	}
	p.lost, p.heard = nil, time.Now()
}

// miss notes that it hasn't.
func (p *pulse) miss(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost == nil {
		p.logger.Error("the database doesn't answer", "error", err)
	}
	p.lost = err
}

// refuse notes that it answers, but takes no commits.
func (p *pulse) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused, p.when = err, time.Now()
}

// err is nil while the database answers and hasn't just refused a commit.
func (p *pulse) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.lost != nil:
		return unreachable(p.lost)
	case p.refused != nil && time.Since(p.when) < refusalShown:
		return fmt.Errorf("%w: the database refuses to write: %w", call.ErrUnavailable, p.refused)
	}
	return nil
}
