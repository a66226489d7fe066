package persistence

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"carillon/actors/call"
)

// reading runs f, which reads, while the store is open; while the connection or the server fails it is repeated, for readWait.
func (p *Postgres) reading(ctx context.Context, f func(context.Context) error) error {
	if err := p.gate.enter(); err != nil {
		return err
	}
	defer p.gate.leave()
	end := time.Now().Add(readWait)
	for wait := retryPause; ; wait = min(2*wait, retryPauseMax) {
		limited, cancel := context.WithTimeout(ctx, answerTimeout)
		err := f(limited)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !passing(err) || time.Now().After(end) {
			return unreachable(err)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// leaf is a row that leads to a record.
type leaf struct {
	id     call.ID
	record []byte
}

const (
	liveSQL   = "select id, record from live where id = any($1::bigint[])"
	closedSQL = "select h.id, h.record from calls c join history h on h.closed = c.closed and h.id = c.id where c.id = any($1::bigint[])"
)

// records reads calls in one round trip. Open ones are looked for first: one may move to the closed ones in between, never
// back.
func (p *Postgres) records(ctx context.Context, ids []call.ID) (map[call.ID][]byte, error) {
	columns := make([]int64, len(ids))
	for i, id := range ids {
		columns[i] = column(id)
	}
	got := make(map[call.ID][]byte, len(ids))
	take := func(rows pgx.Rows) error {
		return each(rows, func(r leaf) { got[r.id] = r.record })
	}
	var b pgx.Batch
	b.Queue(liveSQL, columns).Query(take)
	b.Queue(closedSQL, columns).Query(take)
	return got, p.pool.SendBatch(ctx, &b).Close()
}

func each(rows pgx.Rows, f func(leaf)) error {
	for rows.Next() {
		var v int64
		var r leaf
		if err := rows.Scan(&v, &r.record); err != nil {
			return err
		}
		r.id = idIn(v)
		f(r)
	}
	return rows.Err()
}

// query gives the rows of a statement that selects ID and record.
func (p *Postgres) query(ctx context.Context, sql string, args ...any) (out []leaf, err error) {
	err = p.reading(ctx, func(ctx context.Context) error {
		out = out[:0]
		rows, err := p.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		return each(rows, func(r leaf) { out = append(out, r) })
	})
	return out, err
}

// Load is Pebble.Load.
func (p *Postgres) Load(ctx context.Context, id call.ID) (call.State, error) {
	if err := p.settled(ctx, id); err != nil { // so that a Save that ended in ErrUnknown has come to its end
		return call.State{}, err
	}
	rows, err := p.query(ctx, "select id, record from live where id = $1", column(id))
	if err == nil && len(rows) == 0 {
		rows, err = p.query(ctx, closedSQL, []int64{column(id)})
	}
	if err != nil {
		return call.State{}, err
	}
	if len(rows) == 0 {
		return call.State{}, fmt.Errorf("call %s: %w", id, call.ErrNotFound)
	}
	return p.decode(rows[0])
}

// decode reads a record and reports a damaged one.
func (p *Postgres) decode(r leaf) (call.State, error) {
	s, err := decode(r.id, r.record)
	if errors.Is(err, errCorrupt) {
		p.config.Logger.Error("damaged record", "call", r.id, "error", err)
	}
	return s, err
}

// OpenCalls is Pebble.OpenCalls.
func (p *Postgres) OpenCalls(ctx context.Context, shards []uint16, visit func(id call.ID, deadline time.Time) error) error {
	const page = `select l.id, l.record from unnest($1::bigint[], $2::bigint[]) as s(first, last)
cross join lateral (select id, record from live where id >= s.first and id <= s.last order by id limit $3) l order by l.id limit $3`
	spans := spansOf(shards)
	for len(spans) > 0 {
		part := spans[:min(len(spans), spanChunk)]
		var first, last []int64
		for _, s := range part {
			first, last = append(first, column(s.first)), append(last, column(s.last))
		}
		rows, err := p.query(ctx, page, first, last, scanChunk)
		if err != nil {
			return err
		}
		for _, r := range rows {
			s, err := p.decode(r)
			if err == nil {
				err = visit(s.ID, s.Deadline())
			}
			if err != nil {
				return err
			}
		}
		spans = spans[len(part):]
		if len(rows) == scanChunk {
			spans = append(after(part, rows[len(rows)-1].id), spans...)
		}
	}
	return nil
}

// after is what is left of spans behind id.
func after(spans []span, id call.ID) []span {
	for id > spans[0].last {
		spans = spans[1:]
	}
	return behindID(spans, id)
}

// UserCalls is Pebble.UserCalls.
func (p *Postgres) UserCalls(ctx context.Context, user call.UserID, after call.ID, limit int) ([]call.State, call.ID, error) {
	if len(user) > maxUserID {
		return nil, 0, nil
	}
	created, id := int64(math.MaxInt64), int64(math.MaxInt64)
	if after != 0 {
		cursor, err := p.Load(ctx, after)
		switch {
		case errors.Is(err, call.ErrNotFound):
			return nil, 0, nil
		case err != nil:
			return nil, 0, err
		case cursor.Find(user) == nil:
			return nil, 0, errForeign(after, user)
		}
		created, id = int64(cursor.Created), column(after)
	}
	limit = clampPage(limit)
	ids, next, err := p.list(ctx, "user_calls", user, created, id, limit)
	if err != nil || len(ids) == 0 {
		return nil, 0, err
	}
	var got map[call.ID][]byte
	err = p.reading(ctx, func(ctx context.Context) (err error) {
		got, err = p.records(ctx, ids)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	var calls []call.State
	for _, id := range ids {
		record, ok := got[id]
		if !ok { // retention came between
			continue
		}
		s, err := p.decode(leaf{id, record})
		if err != nil {
			return nil, 0, err
		}
		calls = append(calls, s)
	}
	return calls, next, nil
}

// list gives a page of a user's list and the last ID on it if more follow.
func (p *Postgres) list(ctx context.Context, table string, user call.UserID, created, id int64, limit int) (ids []call.ID, next call.ID, err error) {
	rows, err := p.query(ctx, "select id, null::bytea from "+table+
		" where usr = $1 and (created, id) < ($2, $3) order by created desc, id desc limit $4", []byte(user), created, id, limit+1)
	for _, r := range rows {
		ids = append(ids, r.id)
	}
	if len(ids) > limit {
		ids, next = ids[:limit], ids[limit-1]
	}
	return ids, next, err
}

// PendingFor is Pebble.PendingFor. The rows are of all open calls in the user's list; the records say which are live for him.
func (p *Postgres) PendingFor(ctx context.Context, user call.UserID) ([]call.ID, error) {
	const page = `select l.id, l.record from user_open u join live l on l.id = u.id
where u.usr = $1 and (u.created, u.id) < ($2, $3) order by u.created desc, u.id desc limit $4`
	if len(user) > maxUserID {
		return nil, nil
	}
	var ids []call.ID
	for created, id := int64(math.MaxInt64), int64(math.MaxInt64); ; {
		rows, err := p.query(ctx, page, []byte(user), created, id, maxPending)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			s, err := p.decode(r)
			if err != nil {
				return nil, err
			}
			if s.LiveFor(user) && len(ids) < maxPending {
				ids = append(ids, s.ID)
			}
			created, id = int64(s.Created), column(s.ID)
		}
		if len(rows) < maxPending || len(ids) == maxPending {
			return ids, nil
		}
	}
}

func (p *Postgres) lookupUsers(ctx context.Context, users []call.UserID, known []bool) error {
	asked := make([][]byte, len(users))
	index := make(map[string][]int, len(users))
	for i, u := range users {
		asked[i] = []byte(u)
		index[string(u)] = append(index[string(u)], i)
	}
	return p.reading(ctx, func(ctx context.Context) error {
		rows, err := p.pool.Query(ctx, "select usr from users where usr = any($1::bytea[])", asked)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var u []byte
			if err := rows.Scan(&u); err != nil {
				return err
			}
			for _, i := range index[string(u)] {
				known[i] = true
			}
		}
		return rows.Err()
	})
}
