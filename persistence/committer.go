package persistence

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"carillon/actors/call"
)

var (
	errNoRoom  = fmt.Errorf("%w: the disk is nearly full", call.ErrUnavailable)
	errUnknown = fmt.Errorf("%w: the commit failed", call.ErrUnknown)
)

// committer makes the entries of the queue durable, group by group. It is the only writer of the store, so what it reads before
// it writes can't change in between.
type committer struct {
	*queue
	p      *Pebble
	batch  *pebble.Batch
	latest map[call.ID]standing // the open calls as last written, and all that the group under way has written
	key    []byte
	group  []*entry
	ending []call.ID // those that the group closes
}

func newCommitter(p *Pebble, open map[call.ID]standing) *committer {
	return &committer{
		queue:  newQueue(maxGroupBytes, pace{0, maxPace, busyFlow, fullFlow}),
		p:      p,
		batch:  p.db.NewBatch(),
		latest: open,
	}
}

// run commits until the queue is stopped and empty.
func (c *committer) run() {
	for {
		runtime.Gosched() // on one processor: whoever is ready to save does so before the group is closed
		var ok bool
		if c.group, ok = c.take(c.group, c.p.drop); !ok {
			return
		}
		start := time.Now()
		err := c.p.alarm.err()
		if err == nil {
			err = c.p.alarm.attempt(c.commit)
			if err != nil {
				c.p.alarm.end(err)
				c.fail()
			}
		} else {
			c.refuse(err)
		}
		n := len(c.group)
		c.p.deliver(c.group)
		c.p.config.Observe(n, time.Since(start))
	}
}

// fail settles a group whose commit failed: who lost before it stays refused, who was in it may be written or not.
func (c *committer) fail() {
	for _, e := range c.group {
		if e.err == nil {
			e.err = errUnknown
		} else {
			e.err = fmt.Errorf("%w: the commit failed", call.ErrUnavailable) // its judge may never have become durable
		}
	}
}

func (c *committer) refuse(err error) {
	for _, e := range c.group {
		e.err = err
	}
}

// commit gives each entry its verdict, puts the winners into one batch and waits until it is on the disk. An error is fatal.
func (c *committer) commit() error {
	c.batch.Reset()
	room, _ := c.p.space.left()
	for _, e := range c.group {
		switch e.task {
		case write:
			e.err = c.write(e, room)
		case register:
			e.err = c.register(e, room)
		case expire:
			e.err = c.expire(e)
		}
	}
	c.listClosed(call.At(c.p.config.Now()))
	if err := c.batch.Commit(pebble.Sync); err != nil {
		return err
	}
	for _, e := range c.group {
		if e.closed && e.err == nil {
			delete(c.latest, e.id) // the store knows
		}
	}
	return nil
}

func (c *committer) write(e *entry, r room) error {
	if r == roomForNothing || (r == roomForUpdates && e.prev == 0) {
		return errNoRoom
	}
	was, err := c.standing(e.id)
	if err != nil {
		return err
	}
	if err := e.against(was); err != nil {
		return err
	}
	c.set(recordKey(c.key[:0], e.home(), e.id), e.record)
	if was.place != nowhere && was.place != e.home() {
		c.remove(recordKey(c.key[:0], was.place, e.id))
	}
	if e.closed && was.place != apart {
		c.p.closed.add(e.id)
		c.ending = append(c.ending, e.id)
	}
	c.list(e)
	c.latest[e.id] = standing{e.home(), e.next}
	return nil
}

// listClosed writes the retention rows of the group one after another: each then finds its place in the memory table, among all
// others, beside the one before. They come behind the deletions of such rows, too.
func (c *committer) listClosed(now call.Millis) {
	slices.Sort(c.ending)
	for _, id := range c.ending {
		c.set(retentionKey(c.key[:0], now, id), nil)
	}
	c.ending = c.ending[:0]
}

// list writes the rows that come and go.
func (c *committer) list(e *entry) {
	for i := range e.rows {
		r := &e.rows[i]
		if r.table == pending {
			c.p.live.set(r.user, e.created, e.id, r.remove)
			continue
		}
		key := rowKey(c.key[:0], r.user, e.created, e.id)
		if r.remove {
			c.remove(key)
		} else {
			c.set(key, nil)
		}
	}
}

func (c *committer) register(e *entry, r room) error {
	if r != roomForAll {
		return errNoRoom
	}
	c.set(userKey(c.key[:0], e.user), nil)
	return nil
}

// expire forgets a closed call with all rows that lead to it. call.ErrNotFound: it was gone, and so is its retention row now.
func (c *committer) expire(e *entry) error {
	if _, busy := c.latest[e.id]; busy {
		return fmt.Errorf("%w: call %s is being written", call.ErrUnavailable, e.id)
	}
	b, err := c.p.get(recordKey(c.key[:0], apart, e.id))
	switch {
	case errors.Is(err, call.ErrNotFound):
		c.remove(retentionKey(c.key[:0], e.expired, e.id))
		return err
	case err != nil:
		return err
	}
	s, err := decode(e.id, b)
	if err != nil {
		return err
	}
	for i := range s.Users {
		c.remove(rowKey(c.key[:0], s.Users[i].User, s.Created, s.ID))
	}
	c.remove(recordKey(c.key[:0], apart, e.id))
	c.remove(retentionKey(c.key[:0], e.expired, e.id))
	c.latest[e.id] = standing{}
	c.p.closed.lose()
	return nil
}

// standing is what the store holds of a call, the group under way included. Nobody else writes, so what is remembered needs no
// reading; of the closed calls there are too many for that, but most new IDs are known not to be among them.
func (c *committer) standing(id call.ID) (standing, error) {
	if s, ok := c.latest[id]; ok {
		return s, nil
	}
	if !c.p.closed.perhaps(id) {
		return standing{}, nil
	}
	c.key = recordKey(c.key[:0], apart, id)
	b, closer, err := c.p.db.Get(c.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return standing{}, nil
	}
	if err != nil {
		return standing{}, fmt.Errorf("%w: call %s: %w", call.ErrUnavailable, id, err)
	}
	revision, _, err := header(id, b)
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return standing{}, fmt.Errorf("%w: %w", call.ErrUnavailable, err)
	}
	return standing{apart, revision}, nil
}

// set and remove write to the batch, in memory, which can't fail; key keeps its buffer for the next.
func (c *committer) set(key, value []byte) {
	c.key = key
	_ = c.batch.Set(key, value, nil)
}

func (c *committer) remove(key []byte) {
	c.key = key
	_ = c.batch.Delete(key, nil)
}
