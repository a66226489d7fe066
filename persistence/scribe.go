package persistence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"carillon/actors/call"
)

// scribe is a committer of Postgres: it writes the entries of the queue, group by group, over one connection. Others write
// the same calls from other nodes, so nothing is remembered between two groups: each statement compares.
type scribe struct {
	*queue
	p     *Postgres
	conn  *pgx.Conn // nil when there is none
	used  time.Time // when it was last known to be good
	lost  time.Time // since when none can be had; zero: it hasn't been tried
	tried time.Time // when one was last asked for
	why   error     // of the last failure to get one
	group []*entry

	lots    [motions]lot
	joining [][]byte // users to be registered
	batch   pgx.Batch
	seen    map[call.ID]struct{}
}

var errOvertaken = errors.New("it wasn't written, and what it builds on is stored all the same")

func newScribe(p *Postgres, q *queue) *scribe {
	return &scribe{queue: q, p: p, seen: make(map[call.ID]struct{})}
}

// run commits until the queue is stopped and empty. A connection comes first: what waits for one can still be withdrawn.
func (s *scribe) run() {
	defer s.hangUp()
	for {
		runtime.Gosched() // on one processor: whoever is ready to save does so before the group is closed
		if !s.wait() {
			return
		}
		err := s.connect()
		s.group = s.grab(s.group, s.p.drop)
		if len(s.group) == 0 {
			continue
		}
		start := time.Now()
		if err == nil {
			s.commit(s.group)
		} else {
			verdict(s.group, unreachable(err))
		}
		n := len(s.group)
		s.p.deliver(s.group)
		s.p.config.Observe(n, time.Since(start))
	}
}

func verdict(group []*entry, err error) {
	for _, e := range group {
		e.err = err
	}
}

// connect returns with a connection, or with an error when the database has not been reachable for reachWait. Then it asks
// only now and again, and answers at once in between.
func (s *scribe) connect() error {
	s.check()
	for wait := retryPause; s.conn == nil; wait = min(2*wait, retryPauseMax) {
		if s.late() && time.Since(s.tried) < retryPauseMax {
			return s.why
		}
		err := s.dial()
		if err == nil {
			return nil
		}
		if s.late() {
			return err
		}
		if perr := pause(s.p.life, wait); perr != nil {
			return err
		}
	}
	return nil
}

// late reports whether the database hasn't been reachable for reachWait.
func (s *scribe) late() bool { return !s.lost.IsZero() && time.Since(s.lost) > reachWait }

// check gives up a connection that died while nobody used it, before anything is sent over it: what is sent and not answered
// may have been written.
func (s *scribe) check() {
	if s.conn == nil || time.Since(s.used) < checkAfter {
		return
	}
	ctx, cancel := context.WithTimeout(s.p.life, dialTimeout)
	defer cancel()
	if s.conn.Ping(ctx) != nil {
		s.hangUp()
	}
}

// dial tries once.
func (s *scribe) dial() error {
	s.tried = time.Now()
	ctx, cancel := context.WithTimeout(s.p.life, 2*dialTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.p.lone)
	if err == nil {
		err = steady(ctx, conn)
	}
	if err != nil {
		if conn != nil {
			_ = conn.Close(ctx)
		}
		s.why = err
		if s.lost.IsZero() {
			s.lost = s.tried
		}
		s.p.pulse.miss(err)
		return err
	}
	s.conn, s.used, s.lost, s.why = conn, time.Now(), time.Time{}, nil
	return nil
}

// hangUp gives the connection up.
func (s *scribe) hangUp() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
	s.conn = nil
}

// commit gives each entry its verdict. A statement can write a call only once, so the group goes in rounds: the second
// transition of a call goes with the second round. Nearly always there is one.
func (s *scribe) commit(group []*entry) {
	for rest := slices.Clone(group); len(rest) > 0; {
		var round, later []*entry
		clear(s.seen)
		for _, e := range rest {
			if _, twice := s.seen[e.id]; twice && e.task == write {
				later = append(later, e)
				continue
			}
			if e.task == write {
				s.seen[e.id] = struct{}{}
			}
			round = append(round, e)
		}
		slices.SortFunc(round, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
		s.settle(round)
		rest = later
	}
}

// settle writes a round and doesn't return before the fate of each entry is known, or settleWait is over. It is idempotent:
// whoever was written already fails the compare-and-set, and is recognized by his record.
func (s *scribe) settle(open []*entry) {
	sent := false // some statement may have been executed
	var last error
	for end, wait := time.Now().Add(settleWait), retryPause; len(open) > 0; wait = min(2*wait, retryPauseMax) {
		if last != nil {
			if time.Now().After(end) || pause(s.p.life, wait) != nil || (!sent && s.connect() != nil) {
				abandon(open, sent, last)
				return
			}
		}
		open, sent, last = s.attempt(open, sent)
		if last != nil && !sent && judge(last) == refused {
			s.p.pulse.refuse(last)
			verdict(open, fmt.Errorf("%w: %w", call.ErrUnavailable, last))
			return
		}
	}
}

func abandon(open []*entry, sent bool, why error) {
	if !sent {
		verdict(open, unreachable(why))
		return
	}
	verdict(open, fmt.Errorf("%w: %w", call.ErrUnknown, why))
}

// attempt gives what it couldn't settle, whether that may have been executed, and why not.
func (s *scribe) attempt(open []*entry, sent bool) ([]*entry, bool, error) {
	if s.conn == nil {
		if err := s.dial(); err != nil {
			return open, sent, err
		}
	}
	ctx, cancel := context.WithTimeout(s.p.life, answerTimeout)
	defer cancel()
	if sent {
		left, err := s.readBack(ctx, open)
		if err != nil {
			s.met(err)
			return open, true, err
		}
		open = left
	}
	if len(open) == 0 {
		return nil, sent, nil
	}
	err := s.send(ctx, open)
	if err != nil {
		s.met(err)
		return open, sent || judge(err) == unsettled, err
	}
	s.used = time.Now()
	s.p.pulse.beat()
	lost := open[:0:0]
	for _, e := range open {
		switch {
		case e.won:
			e.err = nil
		case sent: // perhaps to itself
			lost = append(lost, e)
		default:
			e.err = call.ErrConflict
		}
	}
	if len(lost) > 0 {
		return lost, sent, errOvertaken
	}
	return nil, sent, nil
}

// met decides whether the connection is still good after an error.
func (s *scribe) met(err error) {
	s.p.config.Logger.Warn("commit not confirmed", "error", err)
	if s.conn.IsClosed() || s.conn.PgConn().TxStatus() != 'I' || broken(err) {
		s.hangUp()
	}
}

// send writes the entries in one round trip and one transaction, and notes who won.
func (s *scribe) send(ctx context.Context, open []*entry) error {
	s.sort(open)
	now := call.At(s.p.config.Now())
	s.batch = pgx.Batch{}
	bracket := !s.p.partitioned && s.statements() > 1
	if bracket { // PostgreSQL makes one transaction of a pipeline by itself, others differ about that
		s.batch.Queue("begin")
	}
	for m := range s.lots {
		l := &s.lots[m]
		if len(l.entries) == 0 {
			continue
		}
		sql, args := l.statement(motion(m), now)
		s.batch.Queue(sql, args...).Query(l.winners)
	}
	if len(s.joining) > 0 {
		s.batch.Queue("insert into users (usr) select * from unnest($1::bytea[]) on conflict (usr) do nothing", s.joining)
	}
	if bracket {
		s.batch.Queue("commit")
	}
	err := s.conn.SendBatch(ctx, &s.batch).Close()
	if err != nil && !s.conn.IsClosed() && s.conn.PgConn().TxStatus() != 'I' {
		_, rerr := s.conn.Exec(ctx, "rollback")
		err = errors.Join(err, rerr)
	}
	return err
}

// sort puts the entries into their lots.
func (s *scribe) sort(open []*entry) {
	for m := range s.lots {
		s.lots[m].reset()
	}
	clear(s.joining)
	s.joining = s.joining[:0]
	for _, e := range open {
		e.won = e.task == register
		if e.won {
			s.joining = append(s.joining, []byte(e.user))
		} else {
			s.lots[e.motion()].put(e)
		}
	}
	slices.SortFunc(s.joining, slices.Compare)
}

func (s *scribe) statements() (n int) {
	for m := range s.lots {
		n += min(1, len(s.lots[m].entries))
	}
	return n + min(1, len(s.joining))
}

// winners reads the IDs that a compare-and-set returns.
func (l *lot) winners(rows pgx.Rows) error {
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			return err
		}
		i, found := slices.BinarySearch(l.ids, v)
		if !found {
			return fmt.Errorf("call %s was written, which nobody has asked for", idIn(v))
		}
		l.entries[i].won = true
	}
	return rows.Err()
}
