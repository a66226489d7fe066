package persistence

import (
	"bytes"
	"context"
	"fmt"

	"carillon/actors/call"
)

// found is what the database holds of a call.
type found struct {
	standing
	record []byte
}

// readBackSQL reads open and closed records in one snapshot.
const readBackSQL = `select id, revision, record, false from live where id = any($1::bigint[])
union all
select h.id, h.revision, h.record, true from calls c join history h on h.closed = c.closed and h.id = c.id where c.id = any($1::bigint[])`

// readBack gives a verdict to each entry whose fate the database tells, and returns the others, which are not written so far.
func (s *scribe) readBack(ctx context.Context, open []*entry) ([]*entry, error) {
	var ids []int64
	for _, e := range open {
		if e.task == write {
			ids = append(ids, column(e.id))
		}
	}
	stored := make(map[call.ID]found, len(ids))
	if len(ids) > 0 {
		rows, err := s.conn.Query(ctx, readBackSQL, ids)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var id, revision int64
			var f found
			var closed bool
			if err := rows.Scan(&id, &revision, &f.record, &closed); err != nil {
				return nil, err
			}
			f.standing = standing{among, uint64(revision)}
			if closed {
				f.place = apart
			}
			stored[idIn(id)] = f
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	left := open[:0:0]
	for _, e := range open {
		var settled bool
		if e.task == write {
			settled, e.err = e.fate(stored[e.id])
		}
		if !settled {
			left = append(left, e)
		}
	}
	return left, nil
}

// fate tells what has become of a change that may have been written: it has when the stored record is its own, byte for
// byte. It may still be written when what it builds on is stored: then it is sent again.
func (c *change) fate(f found) (settled bool, verdict error) {
	switch {
	case f.revision == c.next && f.place == c.home() && bytes.Equal(f.record, c.record):
		return true, nil
	case f.revision == c.prev && f.place == c.was:
		return false, nil
	case f.revision > c.next:
		return true, fmt.Errorf("%w: call %s has been written since, up to revision %d", call.ErrUnknown, c.id, f.revision)
	}
	return true, call.ErrConflict
}
