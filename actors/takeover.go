package actors

import (
	"context"
	"fmt"
	"sync"
	"time"

	"carillon/actors/call"
)

// takeover looks in the store for the open calls of shards that have come to this node, and has each of them wake in time:
// the overdue ones at once, all others soon, because each has to see whether its caller is still there.
type takeover struct {
	sys  *System
	kick chan struct{}
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	todo shardSet
}

const (
	// recoverRate is how many open calls a second are woken after they were taken up.
	recoverRate = 50_000
	// lookAgain is when a store that could not be read is read again.
	lookAgain = time.Second
)

func newTakeover(s *System) *takeover {
	ctx, stop := context.WithCancel(context.Background())
	t := &takeover{sys: s, kick: make(chan struct{}, 1), stop: stop}
	t.done.Go(func() { t.run(ctx) })
	return t
}

func (t *takeover) close() {
	t.stop()
	t.done.Wait()
}

// look has these shards looked through, soon.
func (t *takeover) look(shards []uint16) {
	t.put(shards)
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *takeover) put(shards []uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, shard := range shards {
		t.todo.add(shard)
	}
}

// take gives what is to be looked through and is still this node's.
func (t *takeover) take() []uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []uint16
	for _, shard := range t.todo.list() {
		if t.sys.owns(shard) {
			out = append(out, shard)
		}
	}
	t.todo = shardSet{}
	return out
}

func (t *takeover) run(ctx context.Context) {
	retry := time.NewTimer(lookAgain)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.kick:
		case <-retry.C:
		}
		shards := t.take()
		if len(shards) == 0 {
			continue
		}
		if err := t.sys.takeUp(ctx, shards); err != nil && ctx.Err() == nil {
			t.sys.cfg.Logger.Warn("calls not taken up, trying again", "shards", len(shards), "error", err)
			t.put(shards)
			retry.Reset(lookAgain)
		}
	}
}

// takeUp sets an alarm for every open call of the shards (nil: all) that this node does not know of yet.
func (s *System) takeUp(ctx context.Context, shards []uint16) error {
	now := s.cfg.Now()
	n := 0
	err := s.cfg.Store.OpenCalls(ctx, shards, func(id call.ID, deadline time.Time) error {
		if !s.owns(id.Shard()) || s.calls.has(id) {
			return nil
		}
		at := now.Add(time.Duration(n) * time.Second / recoverRate)
		if !deadline.IsZero() && deadline.Before(at) {
			at = deadline
		}
		s.calls.alarms.set(id, at)
		n++
		return nil
	})
	if err != nil {
		return fmt.Errorf("open calls cannot be read: %w", err)
	}
	if n > 0 {
		s.cfg.Logger.Info("open calls taken up", "calls", n, "shards", len(shards))
	}
	return nil
}
