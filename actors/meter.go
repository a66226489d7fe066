package actors

import (
	"sync"
	"sync/atomic"
	"time"
)

// meter ends the throttle's windows, and the epochs of shares, while new work comes; without any it rests.
type meter struct {
	throttle *throttle
	shares   *shares
	wait     func() time.Duration // how long work waited for a processor since the last call; nil: not known

	running atomic.Bool

	mu      sync.Mutex
	timer   *time.Timer
	windows int // in this epoch
	closed  bool
}

const epochWindows = 20 // a second

// wake is called when new work comes. Where nothing is to be controlled there is nothing to measure.
func (m *meter) wake() {
	if m.throttle.target > 0 && !m.running.Load() {
		m.start()
	}
}

func (m *meter) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed || m.running.Swap(true):
	case m.timer == nil:
		m.timer = time.AfterFunc(throttleWindow, m.tick)
	default:
		m.timer.Reset(throttleWindow)
	}
}

func (m *meter) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	var wait time.Duration
	if m.wait != nil {
		wait = m.wait()
	}
	busy := m.throttle.tick(wait)
	m.windows++
	if m.windows >= epochWindows {
		m.windows = 0
		m.shares.turn()
	}
	if !busy && m.windows == 0 {
		m.running.Store(false)
		return
	}
	m.timer.Reset(throttleWindow)
}

// close ends it; tick does not run any more.
func (m *meter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.timer != nil {
		m.timer.Stop()
	}
}
