package persistence

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"carillon/actors/call"
)

// sweeper runs a sweep at every interval until it is stopped. What a store has to do first, if anything, it does at once.
type sweeper struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

func startSweeper(c Config, first func(ctx context.Context), sweep func(ctx context.Context, now time.Time) (int, error)) *sweeper {
	s := &sweeper{done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(s.done)
		if first != nil {
			first(s.ctx)
		}
		tick := time.NewTicker(c.SweepInterval)
		defer tick.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-tick.C:
			}
			deleted, err := sweep(s.ctx, c.Now())
			switch {
			case err != nil && s.ctx.Err() == nil:
				c.Logger.Error("retention: not all of the calls that are due were deleted", "deleted", deleted, "error", err)
			case deleted > 0:
				c.Logger.Info("retention: calls deleted", "deleted", deleted)
			}
		}
	}()
	return s
}

// stop ends the sweep under way, if any, and waits for it. It may be called again.
func (s *sweeper) stop() {
	s.cancel()
	<-s.done
}

// Sweep deletes the calls that were closed longer than Config.Retention before now, oldest first, with all rows that lead to
// them. A call that is open is never deleted. The store also does this by itself every Config.SweepInterval.
func (p *Pebble) Sweep(now time.Time) (deleted int, err error) { return p.sweep(p.sweeper.ctx, now) }

func (p *Pebble) sweep(ctx context.Context, now time.Time) (deleted int, err error) {
	lower := []byte{keyRetention}
	upper := retentionKey(nil, call.At(now.Add(-p.config.Retention)), 0)
	for {
		var keys [][]byte
		err := p.reading(ctx, 0, func() error {
			return p.scan(lower, upper, func(key, _ []byte) (bool, error) {
				keys = append(keys, append([]byte(nil), key...))
				return len(keys) < sweepChunk, ctx.Err()
			})
		})
		if err != nil {
			return deleted, err
		}
		n, err := p.expire(ctx, keys)
		deleted += n
		if err != nil || len(keys) < sweepChunk {
			return deleted, err
		}
		lower = append(lower[:0], keys[len(keys)-1]...)
		lower = append(lower, 0)
	}
}

// tend is what is due at every interval.
func (p *Pebble) tend(ctx context.Context, now time.Time) (deleted int, err error) {
	deleted, err = p.sweep(ctx, now)
	p.surveyClosed(ctx)
	return deleted, err
}

// expire has the committer delete the calls of some retention rows: it is the only one who writes.
func (p *Pebble) expire(ctx context.Context, keys [][]byte) (deleted int, err error) {
	entries := make([]*entry, 0, len(keys))
	for _, key := range keys {
		e := p.entry(expire)
		e.id, e.closed = idOf(key), true
		e.expired = unordered(binary.BigEndian.Uint64(key[1:]))
		if serr := p.submit(ctx, e); serr != nil {
			p.recycle(e)
			err = serr
			break
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		id := e.id
		switch verdict := p.await(ctx, e); {
		case verdict == nil:
			deleted++
		case !errors.Is(verdict, call.ErrNotFound):
			err = errors.Join(err, fmt.Errorf("call %s: %w", id, verdict))
		}
	}
	return deleted, err
}
