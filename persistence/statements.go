package persistence

import (
	"fmt"
	"strings"

	"carillon/actors/call"
)

// motion is where a change takes a record from and to. There is one statement for each, whatever the number of calls.
type motion uint8

const (
	appear    motion = iota // nowhere -> the open calls
	bury                    // nowhere -> the closed calls
	update                  // within the open calls
	finish                  // the open calls -> the closed calls
	afterword               // within the closed calls
	motions
)

func (c *change) motion() motion {
	switch {
	case c.was == nowhere && c.closed:
		return bury
	case c.was == nowhere:
		return appear
	case c.was == apart:
		return afterword
	case c.closed:
		return finish
	}
	return update
}

// cas is the compare-and-set of each motion: "won" has the calls whose stored revision was the expected one. All else that
// the statement writes is joined to it, so who loses writes nothing.
var cas = [motions]string{
	appear: `won as (insert into calls (id) select id from n on conflict (id) do nothing returning id),
kept as (insert into live (id, revision, record) select n.id, n.revision, n.record from n join won on won.id = n.id)`,

	bury: `won as (insert into calls (id, closed) select id, $5::bigint from n on conflict (id) do nothing returning id),
kept as (insert into history (closed, id, revision, record) select $5::bigint, n.id, n.revision, n.record from n join won on won.id = n.id
	on conflict (closed, id) do update set revision = excluded.revision, record = excluded.record)`,

	update: `won as (update live l set revision = n.revision, record = n.record from n where l.id = n.id and l.revision = n.prev returning l.id)`,

	finish: `won as (delete from live l using n where l.id = n.id and l.revision = n.prev returning l.id),
moved as (update calls c set closed = $5::bigint from won where c.id = won.id),
kept as (insert into history (closed, id, revision, record) select $5::bigint, n.id, n.revision, n.record from n join won on won.id = n.id
	on conflict (closed, id) do update set revision = excluded.revision, record = excluded.record)`,

	afterword: `won as (update history h set revision = n.revision, record = n.record from n join calls c on c.id = n.id
	where h.closed = c.closed and h.id = n.id and h.revision = n.prev returning h.id)`,
}

// has says which rows go with the calls of a statement.
type has uint8

const (
	added   has = 1 << iota // to users' lists
	dropped                 // from users' lists
	left                    // from the lists of open calls, because the call is closed
	shapes  = 1 << 3
)

// statements holds the text for each motion and each kind of rows. The parameters are the calls ($1 to $4), the instant ($5)
// where a call is closed, then for each kind of rows users, creations and IDs.
var statements = compose()

func compose() (texts [motions][shapes]string) {
	for m := range motions {
		for rows := range has(shapes) {
			texts[m][rows] = compose1(m, rows)
		}
	}
	return texts
}

func compose1(m motion, rows has) string {
	var b strings.Builder
	b.WriteString("with n as (select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[]) as n(id, prev, revision, record)),\n")
	b.WriteString(cas[m])
	next := 5
	if m.closes() {
		next = 6
	}
	list := func(kind has, write func(rows string)) {
		if rows&kind == 0 {
			return
		}
		write(fmt.Sprintf("unnest($%d::bytea[], $%d::bigint[], $%d::bigint[]) as r(usr, created, id)", next, next+1, next+2))
		next += 3
	}
	open := m == appear || m == update
	list(added, func(rows string) {
		again := " on conflict (usr, created, id) do nothing"
		if m == appear {
			again = "" // a new ID has no rows
		}
		const insert = ",\n%[1]s_added as (insert into %[1]s (usr, created, id) select r.usr, r.created, r.id from %[2]s join won on won.id = r.id%[3]s)"
		fmt.Fprintf(&b, insert, "user_calls", rows, again)
		if open {
			fmt.Fprintf(&b, insert, "user_open", rows, again)
		}
	})
	const remove = ",\n%[1]s_%[3]s as (delete from %[1]s u using %[2]s, won where won.id = r.id and u.usr = r.usr and u.created = r.created and u.id = r.id)"
	list(dropped, func(rows string) {
		fmt.Fprintf(&b, remove, "user_calls", rows, "dropped")
		if open {
			fmt.Fprintf(&b, remove, "user_open", rows, "dropped")
		}
	})
	list(left, func(rows string) { fmt.Fprintf(&b, remove, "user_open", rows, "left") })
	b.WriteString("\nselect id from won")
	return b.String()
}

// closes reports whether the motion takes the record to the closed calls.
func (m motion) closes() bool { return m == bury || m == finish }

// lot is the changes of one motion in a group, as columns.
type lot struct {
	entries               []*entry // in order of ID, so that two stores lock in the same order
	ids, prevs, revisions []int64
	records               [][]byte
	added, dropped, left  lines
}

// lines is rows of users' lists, as columns.
type lines struct {
	users       [][]byte
	created, id []int64
}

func (l *lines) put(user call.UserID, c *change) {
	l.users = append(l.users, []byte(user))
	l.created = append(l.created, int64(c.created))
	l.id = append(l.id, column(c.id))
}

func (l *lines) reset() {
	clear(l.users)
	*l = lines{l.users[:0], l.created[:0], l.id[:0]}
}

func (l *lot) reset() {
	clear(l.entries)
	clear(l.records)
	l.entries, l.ids, l.prevs, l.revisions, l.records = l.entries[:0], l.ids[:0], l.prevs[:0], l.revisions[:0], l.records[:0]
	l.added.reset()
	l.dropped.reset()
	l.left.reset()
}

func (l *lot) put(e *entry) {
	l.entries = append(l.entries, e)
	l.ids = append(l.ids, column(e.id))
	l.prevs = append(l.prevs, int64(e.prev))
	l.revisions = append(l.revisions, int64(e.next))
	l.records = append(l.records, e.record)
	for _, r := range e.rows {
		switch {
		case r.table != history:
		case r.remove:
			l.dropped.put(r.user, &e.change)
		default:
			l.added.put(r.user, &e.change)
		}
	}
	for _, u := range e.people {
		l.left.put(u, &e.change)
	}
}

// statement gives the text and the arguments for the lot.
func (l *lot) statement(m motion, now call.Millis) (string, []any) {
	args := []any{l.ids, l.prevs, l.revisions, l.records}
	if m.closes() {
		args = append(args, int64(now))
	}
	var rows has
	for _, kind := range [...]struct {
		has  has
		rows *lines
	}{{added, &l.added}, {dropped, &l.dropped}, {left, &l.left}} {
		if len(kind.rows.id) > 0 {
			rows |= kind.has
			args = append(args, kind.rows.users, kind.rows.created, kind.rows.id)
		}
	}
	return statements[m][rows], args
}

// column maps an ID to a signed number that sorts as it does; idIn maps it back.
func column(id call.ID) int64 { return int64(uint64(id) ^ 1<<63) }
func idIn(v int64) call.ID    { return call.ID(uint64(v) ^ 1<<63) }
