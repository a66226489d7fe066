package persistence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"carillon/actors/call"
)

// reading runs f, which reads, while the store is open. What f has read is told only when it is durable: Pebble shows a write
// before it is on the disk, so reading waits for the groups under way that f may have seen (call 0: any group).
func (p *Pebble) reading(ctx context.Context, id call.ID, f func() error) error {
	if err := p.gate.enter(); err != nil {
		return err
	}
	defer p.gate.leave()
	if err := p.alarm.err(); err != nil {
		return err
	}
	if err := p.alarm.attempt(f); err != nil {
		return err
	}
	return p.settled(ctx, id)
}

// get gives a copy of what lies under a key, or call.ErrNotFound.
func (p *Pebble) get(key []byte) ([]byte, error) {
	b, closer, err := p.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, call.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", call.ErrUnavailable, err)
	}
	return append([]byte(nil), b...), closer.Close()
}

// record reads a call, open or closed. An open record is looked for first: it may move to the closed ones in between, never
// back.
func (p *Pebble) record(id call.ID) (call.State, error) {
	var key [9]byte
	b, err := p.get(recordKey(key[:0], among, id))
	if errors.Is(err, call.ErrNotFound) {
		b, err = p.get(recordKey(key[:0], apart, id))
	}
	if errors.Is(err, call.ErrNotFound) {
		return call.State{}, fmt.Errorf("call %s: %w", id, call.ErrNotFound)
	}
	if err != nil {
		return call.State{}, fmt.Errorf("call %s: %w", id, err)
	}
	return p.alarm.read(id, b)
}

// Load gives a call, open or closed, as it is durable now. Errors: call.ErrNotFound, call.ErrNewer, call.ErrUnavailable, a
// damaged record, ctx.
func (p *Pebble) Load(ctx context.Context, id call.ID) (call.State, error) {
	var s call.State
	if err := p.settled(ctx, id); err != nil { // so that a Save that ended in ErrUnknown has come to its end
		return s, err
	}
	err := p.reading(ctx, id, func() (err error) {
		s, err = p.record(id)
		return err
	})
	return s, err
}

// due is one open call and its next deadline.
type due struct {
	id       call.ID
	deadline time.Time
}

// OpenCalls visits every call of these shards (nil: of all) whose record isn't Closed, in order of ID, with the instant at
// which it next does something by itself (zero: never). An error of visit ends the walk and is returned. Calls that are
// created meanwhile may be missed. No iterator is open during a visit.
func (p *Pebble) OpenCalls(ctx context.Context, shards []uint16, visit func(id call.ID, deadline time.Time) error) error {
	spans := spansOf(shards)
	for len(spans) > 0 {
		var page []due
		err := p.reading(ctx, 0, func() (err error) {
			page, err = p.openPage(ctx, spans[0])
			return err
		})
		if err != nil {
			return err
		}
		for _, d := range page {
			if err := visit(d.id, d.deadline); err != nil {
				return err
			}
		}
		if len(page) == scanChunk {
			spans = behindID(spans, page[len(page)-1].id)
		} else {
			spans = spans[1:]
		}
	}
	return nil
}

// openPage decodes whole records: the deadline is a function of the State as it is loaded (which differs from the one that
// was saved in its soft fields) and of the code that runs now, so a stored one could be wrong.
func (p *Pebble) openPage(ctx context.Context, s span) (page []due, err error) {
	upper := append(recordKey(nil, among, s.last), 0)
	err = p.scan(recordKey(nil, among, s.first), upper, func(key, value []byte) (bool, error) {
		s, err := p.alarm.read(idOf(key), value)
		if err != nil {
			return false, err
		}
		page = append(page, due{s.ID, s.Deadline()})
		return len(page) < scanChunk, ctx.Err()
	})
	return page, err
}

// scan gives each key of a range until f says false.
func (p *Pebble) scan(lower, upper []byte, f func(key, value []byte) (bool, error)) error {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("%w: %w", call.ErrUnavailable, err)
	}
	err = walk(it, f)
	if cerr := it.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("%w: %w", call.ErrUnavailable, cerr)
	}
	return err
}

func walk(it *pebble.Iterator, f func(key, value []byte) (bool, error)) error {
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("%w: %w", call.ErrUnavailable, err)
		}
		if more, err := f(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return nil
}

// UserCalls gives the user's calls, newest creation first: those after the call `after`, which was the last of the previous
// page (0: from the start), at most limit of them (1..100). The returned ID is the next page's `after`, 0 when finished. A
// cursor whose call retention has deleted ends the list; a cursor that is another user's call is call.ErrNotFound (SPEC 1).
func (p *Pebble) UserCalls(ctx context.Context, user call.UserID, after call.ID, limit int) ([]call.State, call.ID, error) {
	if len(user) > maxUserID {
		return nil, 0, nil
	}
	var calls []call.State
	var next call.ID
	err := p.reading(ctx, 0, func() error {
		lower := rowPrefix(nil, user)
		if after != 0 {
			cursor, err := p.record(after)
			if errors.Is(err, call.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			if cursor.Find(user) == nil {
				return errForeign(after, user)
			}
			lower = append(rowKey(nil, user, cursor.Created, after), 0)
		}
		var err error
		calls, next, err = p.page(user, lower, clampPage(limit))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return calls, next, nil
}

func (p *Pebble) page(user call.UserID, lower []byte, limit int) (calls []call.State, next call.ID, err error) {
	ids, err := p.rows(user, lower, limit+1)
	if err != nil {
		return nil, 0, err
	}
	if len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	for _, id := range ids {
		s, err := p.record(id)
		if errors.Is(err, call.ErrNotFound) { // retention came between
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		calls = append(calls, s)
	}
	return calls, next, nil
}

// rows gives the calls in a user's list, from lower on, newest first.
func (p *Pebble) rows(user call.UserID, lower []byte, limit int) (ids []call.ID, err error) {
	err = p.scan(lower, behind(rowPrefix(nil, user)), func(key, _ []byte) (bool, error) {
		_, id := rowOf(key)
		ids = append(ids, id)
		return len(ids) < limit, nil
	})
	return ids, err
}

// PendingFor gives the calls that are live for the user (call.State.LiveFor), newest first, at most 256.
func (p *Pebble) PendingFor(ctx context.Context, user call.UserID) ([]call.ID, error) {
	if len(user) > maxUserID {
		return nil, nil
	}
	var ids []call.ID
	err := p.reading(ctx, 0, func() error {
		ids = p.live.newest(user)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// read decodes a record and counts a damaged one.
func (a *alarm) read(id call.ID, b []byte) (call.State, error) {
	s, err := decode(id, b)
	if errors.Is(err, errCorrupt) {
		a.corrupt.Add(1)
		a.logger.Error("damaged record", "call", id, "error", err)
	}
	return s, err
}

func clampPage(limit int) int { return max(1, min(limit, maxPage)) }

func errForeign(id call.ID, user call.UserID) error {
	return fmt.Errorf("call %s in the list of user %s: %w", id, user, call.ErrNotFound)
}
