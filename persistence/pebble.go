package persistence

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"carillon/actors/call"
)

// Pebble is the durable store, on one directory that no other process uses.
type Pebble struct {
	config Config
	lock   *pebble.Lock
	db     *pebble.DB
	alarm  *alarm
	space  *space
	gate   gate // readers, so that Close can wait for them

	committers [committers]*committer
	running    sync.WaitGroup // the committers
	queued     atomic.Int64   // entries waiting or under way
	spare      sync.Pool      // of *entry
	known      knownUsers
	sweeper    *sweeper
}

// Open opens the store in c.Dir, making the directory when it is missing. Errors name the directory: in use by another
// process, written by a newer carillon (call.ErrNewer), not a store, not readable.
func Open(c Config) (*Pebble, error) {
	c = c.withDefaults()
	p := &Pebble{config: c, alarm: newAlarm(c)}
	p.spare.New = func() any { return &entry{verdict: make(chan error, 1)} }
	p.space = &space{least: c.MinFreeBytes, free: c.FreeBytes, now: c.Now, logger: p.alarm.logger}
	err := p.alarm.attempt(p.open)
	if err == nil {
		err = p.alarm.arm()
	}
	if err != nil {
		if p.lock != nil && p.alarm.err() == nil {
			_ = p.lock.Close()
		}
		return nil, fmt.Errorf("persistence.dir %s: %w", c.Dir, err)
	}
	for i := range p.committers {
		p.committers[i] = newCommitter(p)
		p.running.Go(p.committers[i].run)
	}
	p.sweeper = startSweeper(c, p.sweep)
	return p, nil
}

func (p *Pebble) open() error {
	c := p.config
	if c.Dir == "" {
		return errors.New("it is empty: a directory is needed")
	}
	if err := makeDir(c.FS, c.Dir); err != nil {
		return err
	}
	var err error
	if p.lock, err = pebble.LockDirectory(c.Dir, c.FS); err != nil {
		if inUse(err) {
			return errors.New("it is in use by another carillon process")
		}
		return err
	}
	if p.db, err = pebble.Open(c.Dir, p.options()); err != nil {
		return err
	}
	if err = settle(p.db, formatVersion, migrations); err != nil {
		return errors.Join(err, p.db.Close())
	}
	return nil
}

func (p *Pebble) options() *pebble.Options {
	o := &pebble.Options{
		FS:                    p.config.FS,
		Lock:                  p.lock,
		Logger:                p.alarm,
		EventListener:         p.alarm.listener(),
		FormatMajorVersion:    pebbleFormat,
		CacheSize:             p.config.CacheBytes,
		MemTableSize:          p.config.MemTableBytes,
		L0CompactionThreshold: 4,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // a creation asks twice for a record that isn't there
	}
	o.WithFSDefaults() // watches for slow operations
	return o
}

// makeDir makes dir and its missing parents, for the owner only, and makes their names durable.
func makeDir(fs vfs.FS, dir string) error {
	var parents []string // of all that is missing
	for path := dir; path != fs.PathDir(path); path = fs.PathDir(path) {
		if _, err := fs.Stat(path); err == nil {
			break
		}
		parents = append(parents, fs.PathDir(path))
	}
	if len(parents) == 0 {
		return nil
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, path := range parents {
		d, err := fs.OpenDir(path)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}

// inUse reports whether the error of a lock says that somebody holds it, be it in this process.
func inUse(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held by current process")
}

// Save makes each transition durable or refuses it by itself, and blocks until the group commit. The verdicts are in order:
// nil, call.ErrConflict (the stored revision isn't Prev's), call.ErrUnavailable (surely not written), call.ErrUnknown (may or
// may not be written). A cancelled ctx gives call.ErrUnavailable for what was still waiting, call.ErrUnknown for the rest.
// Nothing of batch is kept but its strings.
func (p *Pebble) Save(ctx context.Context, batch []call.Transition) []error {
	verdicts := make([]error, len(batch))
	var few [4]*entry
	entries := few[:0]
	for i := range batch {
		e := p.spare.Get().(*entry)
		e.task = write
		err := e.prepare(&batch[i])
		if err == nil {
			err = p.submit(ctx, e, p.committer(e.id))
		}
		if err != nil {
			verdicts[i] = err
			p.recycle(e)
			e = nil
		}
		entries = append(entries, e)
	}
	for i, e := range entries {
		if e != nil {
			verdicts[i] = p.await(ctx, e, p.committer(e.id))
		}
	}
	return verdicts
}

// committer is the one that writes this call. IDs are hashes in their lower bits.
func (p *Pebble) committer(id call.ID) *committer { return p.committers[uint64(id)%committers] }

// submit queues e; after an error e is still the caller's.
func (p *Pebble) submit(ctx context.Context, e *entry, c *committer) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", call.ErrUnavailable, err)
	}
	if err := p.alarm.err(); err != nil {
		return err
	}
	if p.queued.Add(1) > maxQueued {
		p.queued.Add(-1)
		return errFull
	}
	if !c.push(e) {
		p.queued.Add(-1)
		return errClosed
	}
	return nil
}

// await gives the verdict on e, which was submitted to c; e isn't the caller's any more.
func (p *Pebble) await(ctx context.Context, e *entry, c *committer) error {
	var why error
	select {
	case err := <-e.verdict:
		p.recycle(e)
		return err
	case <-ctx.Done():
		why = ctx.Err()
	case <-p.alarm.ended:
		why = p.alarm.cause
	}
	if c.withdraw(e) {
		return fmt.Errorf("%w: %w", call.ErrUnavailable, why)
	}
	select {
	case err := <-e.verdict:
		p.recycle(e)
		return err
	default: // under way: the committer sends to nobody, and e is garbage after that
		return fmt.Errorf("%w: %w", call.ErrUnknown, why)
	}
}

// recycle keeps e for another use.
func (p *Pebble) recycle(e *entry) {
	if cap(e.record) > keptBuffer {
		return
	}
	clear(e.rows)
	e.user, e.err, e.taken, e.withdrawn = "", nil, false, false
	p.spare.Put(e)
}

// Queued is how many transitions and registrations wait for a commit or are under way.
func (p *Pebble) Queued() int { return int(p.queued.Load()) }

// Incidents counts what went wrong since Open.
func (p *Pebble) Incidents() Incidents { return p.alarm.incidents() }

// Health is nil when the store can write; else it says, for people, why it can't.
func (p *Pebble) Health() error {
	if err := errors.Join(p.gate.err(), p.alarm.err()); err != nil {
		return err
	}
	return p.space.err()
}

// Close refuses what comes, commits what waits, waits for readers and closes the directory. A store that has failed isn't
// touched any more: its directory stays locked until the process ends. A second Close does nothing.
// Close must not be called from within a visit of OpenCalls.
func (p *Pebble) Close() error {
	p.sweeper.stop()
	if !p.gate.close() {
		return nil
	}
	for _, c := range p.committers {
		c.stop()
	}
	done := make(chan struct{})
	go func() {
		p.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-p.alarm.ended: // a committer may hang in a Pebble that has failed
		select {
		case <-done:
		case <-time.After(closeTimeout):
		}
	}
	if err := p.alarm.err(); err != nil {
		return err
	}
	return p.alarm.attempt(func() error {
		for _, c := range p.committers {
			_ = c.batch.Close()
		}
		return errors.Join(p.db.Close(), p.lock.Close())
	})
}
