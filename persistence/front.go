package persistence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"carillon/actors/call"
)

// front is the callers' side of a store's committer: it brings entries to its queue and the verdicts back.
type front struct {
	queue  *queue
	queued atomic.Int64 // entries waiting or under way
	spare  sync.Pool    // of *entry

	ended <-chan struct{} // closed when the store has failed for good; nil: it never does
	err   func() error    // nil while it hasn't, then wraps call.ErrUnavailable
}

// Save makes each transition durable or refuses it by itself, and blocks until the group commit. The verdicts are in order:
// nil, call.ErrConflict (the stored revision isn't Prev's), call.ErrUnavailable (surely not written), call.ErrUnknown (may or
// may not be written). A cancelled ctx gives call.ErrUnavailable for what was still waiting, call.ErrUnknown for the rest.
// Nothing of batch is kept but its strings.
func (f *front) Save(ctx context.Context, batch []call.Transition) []error {
	verdicts := make([]error, len(batch))
	var few [4]*entry
	entries := few[:0]
	for i := range batch {
		e := f.entry(write)
		err := e.prepare(&batch[i])
		if err == nil {
			err = f.submit(ctx, e)
		}
		if err != nil {
			verdicts[i] = err
			f.recycle(e)
			e = nil
		}
		entries = append(entries, e)
	}
	for i, e := range entries {
		if e != nil {
			verdicts[i] = f.await(ctx, e)
		}
	}
	return verdicts
}

// Queued is how many transitions and registrations wait for a commit or are under way.
func (f *front) Queued() int { return int(f.queued.Load()) }

// entry gives an empty one.
func (f *front) entry(t task) *entry {
	e, ok := f.spare.Get().(*entry)
	if !ok {
		e = &entry{verdict: make(chan error, 1)}
	}
	e.task = t
	return e
}

// submit queues e; after an error e is still the caller's.
func (f *front) submit(ctx context.Context, e *entry) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", call.ErrUnavailable, err)
	}
	if err := f.err(); err != nil {
		return err
	}
	if f.queued.Add(1) > maxQueued {
		f.queued.Add(-1)
		return errFull
	}
	if !f.queue.push(e) {
		f.queued.Add(-1)
		return errClosed
	}
	return nil
}

// await gives the verdict on e, which was submitted; e isn't the caller's any more.
func (f *front) await(ctx context.Context, e *entry) error {
	var why error
	select {
	case err := <-e.verdict:
		f.recycle(e)
		return err
	case <-ctx.Done():
		why = ctx.Err()
	case <-f.ended:
		why = errors.New(f.err().Error()) // which wraps call.ErrUnavailable: more than is known of what is under way
	}
	if f.queue.withdraw(e) {
		return fmt.Errorf("%w: %w", call.ErrUnavailable, why)
	}
	select {
	case err := <-e.verdict:
		f.recycle(e)
		return err
	default: // under way: the committer sends to nobody, and e is garbage after that
		return fmt.Errorf("%w: %w", call.ErrUnknown, why)
	}
}

// drop settles an entry that was withdrawn.
func (f *front) drop(e *entry) {
	f.queued.Add(-1)
	f.recycle(e)
}

// deliver ends the group under way and tells each of its owners the verdict.
func (f *front) deliver(group []*entry) {
	f.queue.land()
	f.queued.Add(-int64(len(group)))
	for i, e := range group {
		group[i] = nil
		e.verdict <- e.err // e is its owner's from here on
	}
}

// recycle keeps e for another use.
func (f *front) recycle(e *entry) {
	if cap(e.record) > keptBuffer {
		return
	}
	clear(e.rows)
	clear(e.people)
	e.change = change{record: e.record[:0], rows: e.rows[:0], people: e.people[:0]}
	e.user, e.expired, e.err, e.taken, e.withdrawn = "", 0, nil, false, false
	f.spare.Put(e)
}

// settled waits until the group under way, if it holds call id (0: any), has landed.
func (f *front) settled(ctx context.Context, id call.ID) error {
	if landed := f.queue.flight(id); landed != nil {
		select {
		case <-landed:
		case <-f.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.err()
}
