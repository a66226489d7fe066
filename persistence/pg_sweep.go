package persistence

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"carillon/actors/call"
)

// Sweep is Pebble.Sweep. Where the history has partitions, the records of the calls that it deletes go with their day.
// Several nodes may sweep at once; each call is counted by the one that has deleted it.
func (p *Postgres) Sweep(now time.Time) (deleted int, err error) { return p.sweep(p.sweeper.ctx, now) }

func (p *Postgres) sweep(ctx context.Context, now time.Time) (deleted int, err error) {
	before := call.At(now.Add(-p.config.Retention))
	from := overdue{closed: math.MinInt64}
	for {
		due, err := p.overdue(ctx, from, before)
		if err != nil {
			return deleted, err
		}
		n, err := p.forget(ctx, due)
		deleted += n
		if err != nil || len(due) < sweepChunk {
			return deleted, errors.Join(err, p.turnDays(ctx, before))
		}
		from = due[len(due)-1]
	}
}

// overdue is a closed call whose time is over.
type overdue struct {
	closed, id int64
	record     []byte
}

func (p *Postgres) overdue(ctx context.Context, from overdue, before call.Millis) (due []overdue, err error) {
	const page = `select c.closed, c.id, h.record from calls c left join history h on h.closed = c.closed and h.id = c.id
where c.closed < $1 and (c.closed, c.id) > ($2, $3) order by c.closed, c.id limit $4`
	err = p.reading(ctx, func(ctx context.Context) error {
		due = due[:0]
		rows, err := p.pool.Query(ctx, page, int64(before), from.closed, from.id, sweepChunk)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d overdue
			if err := rows.Scan(&d.closed, &d.id, &d.record); err != nil {
				return err
			}
			due = append(due, d)
		}
		return rows.Err()
	})
	return due, err
}

// forgetSQL deletes closed calls with all rows that lead to them; the partitions' records stay until their day is dropped.
const forgetSQL = `with gone as (delete from calls c using unnest($1::bigint[], $2::bigint[]) as n(closed, id)
	where c.id = n.id and c.closed = n.closed returning c.closed, c.id),
records as (delete from %s h using gone where h.closed = gone.closed and h.id = gone.id),
listed as (delete from user_calls u using unnest($3::bytea[], $4::bigint[], $5::bigint[]) as r(usr, created, id), gone
	where gone.id = r.id and u.usr = r.usr and u.created = r.created and u.id = r.id)
select count(*) from gone`

// forget deletes those whose record can be read; the others are reported and stay.
func (p *Postgres) forget(ctx context.Context, due []overdue) (deleted int, err error) {
	var closed, ids []int64
	var rows lines
	for _, d := range due {
		s, derr := decode(idIn(d.id), d.record)
		if derr != nil {
			err = errors.Join(err, derr)
			continue
		}
		closed, ids = append(closed, d.closed), append(ids, d.id)
		for i := range s.Users {
			rows.put(s.Users[i].User, &change{id: s.ID, created: s.Created})
		}
	}
	if len(ids) == 0 {
		return 0, err
	}
	sql := fmt.Sprintf(forgetSQL, "history")
	if p.partitioned {
		sql = fmt.Sprintf(forgetSQL, "history_default")
	}
	derr := p.reading(ctx, func(ctx context.Context) error {
		return p.pool.QueryRow(ctx, sql, closed, ids, rows.users, rows.created, rows.id).Scan(&deleted)
	})
	return deleted, errors.Join(err, derr)
}

const (
	dayPrefix = "history_d"
	dayFormat = "20060102"
	dayLength = 24 * time.Hour
)

// turnDays prepares the days to come and drops those that are over.
func (p *Postgres) turnDays(ctx context.Context, before call.Millis) error {
	if !p.partitioned {
		return nil
	}
	return errors.Join(p.prepareDays(ctx), p.dropDays(ctx, before))
}

// prepareDays makes the partitions from yesterday on. What can't be made now is made with a later sweep; until then the
// default partition takes the records, and keeps those of a day that it has begun.
func (p *Postgres) prepareDays(ctx context.Context) error {
	if !p.partitioned {
		return nil
	}
	have, err := p.days(ctx)
	if err != nil {
		return err
	}
	today := p.config.Now().UTC().Truncate(dayLength)
	for n := -1; n <= daysAhead; n++ {
		day := today.Add(time.Duration(n) * dayLength)
		if have[day] {
			continue
		}
		err := p.exclusively(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, fmt.Sprintf("create table if not exists %s partition of history for values from (%d) to (%d)",
				dayPrefix+day.Format(dayFormat), day.UnixMilli(), day.Add(dayLength).UnixMilli()))
			return err
		})
		if err != nil && !collided(err) {
			p.config.Logger.Warn("retention: the partition of a day isn't made yet", "day", day.Format(time.DateOnly), "error", err)
			if ctx.Err() != nil || passing(err) { // others have waited for this long enough
				return ctx.Err()
			}
		}
	}
	return nil
}

// dropDays drops the days that were over before the given instant and whose calls are deleted.
func (p *Postgres) dropDays(ctx context.Context, before call.Millis) error {
	have, err := p.days(ctx)
	if err != nil {
		return err
	}
	for day := range have {
		first, end := day.UnixMilli(), day.Add(dayLength).UnixMilli()
		if end > int64(before) {
			continue
		}
		var used bool
		const ask = "select exists (select 1 from calls where closed >= $1 and closed < $2)"
		if err := p.pool.QueryRow(ctx, ask, first, end).Scan(&used); err != nil {
			return err
		}
		if used { // by a call that couldn't be read
			continue
		}
		err := p.exclusively(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "lock table history in access exclusive mode"); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, ask, first, end).Scan(&used); err != nil || used {
				return err
			}
			_, err := tx.Exec(ctx, "drop table if exists "+dayPrefix+day.Format(dayFormat))
			return err
		})
		if err != nil {
			p.config.Logger.Warn("retention: a day isn't dropped yet", "day", day.Format(time.DateOnly), "error", err)
			return ctx.Err()
		}
	}
	return nil
}

// exclusively runs a transaction that others wait for, and that gives way when it doesn't get its locks.
func (p *Postgres) exclusively(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local lock_timeout = "+millis(lockTimeout)); err != nil {
			return err
		}
		return f(tx)
	})
}

// days gives the days that have a partition.
func (p *Postgres) days(ctx context.Context) (map[time.Time]bool, error) {
	have := make(map[time.Time]bool)
	rows, err := p.pool.Query(ctx, "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'history'::regclass")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if day, err := time.Parse(dayFormat, strings.TrimPrefix(name, dayPrefix)); err == nil && strings.HasPrefix(name, dayPrefix) {
			have[day] = true
		}
	}
	return have, rows.Err()
}
