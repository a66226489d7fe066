package persistence

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble is the durable store, on one directory that no other process uses.
type Pebble struct {
	config Config
	lock   *pebble.Lock
	db     *pebble.DB
	alarm  *alarm
	space  *space
	gate   gate // readers, so that Close can wait for them

	front
	users
	live      liveCalls
	closed    closedCalls
	committer *committer
	running   sync.WaitGroup // the committer
	sweeper   *sweeper
}

// Open opens the store in c.Dir, making the directory when it is missing. Errors name the directory: in use by another
// process, written by a newer carillon (call.ErrNewer), not a store, not readable.
func Open(c Config) (*Pebble, error) {
	p, err := openQuiet(c)
	if err != nil {
		return nil, err
	}
	p.running.Go(p.committer.run)
	p.sweeper = startSweeper(p.config, p.surveyClosed, p.tend)
	return p, nil
}

// openQuiet opens a store in which nothing runs yet.
func openQuiet(c Config) (*Pebble, error) {
	c = c.withDefaults()
	p := &Pebble{config: c, alarm: newAlarm(c), live: liveCalls{of: make(lists)}}
	p.ended, p.err = p.alarm.ended, p.alarm.err
	p.users = users{front: &p.front, lookup: p.lookupUsers}
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
	p.queue = p.committer.queue
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
	open, err := p.survey()
	if err != nil {
		return errors.Join(err, p.db.Close())
	}
	p.committer = newCommitter(p, open)
	return nil
}

func (p *Pebble) options() *pebble.Options {
	o := &pebble.Options{
		FS:                    gentle{p.config.FS},
		Lock:                  p.lock,
		Logger:                p.alarm,
		EventListener:         p.alarm.listener(),
		FormatMajorVersion:    pebbleFormat,
		CacheSize:             p.config.CacheBytes,
		MemTableSize:          p.config.MemTableBytes,
		L0CompactionThreshold: 4,
		BytesPerSync:          64 << 10, // a flush must not stand in the way of the log
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // a creation may ask for a record that isn't there
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
	p.queue.stop()
	done := make(chan struct{})
	go func() {
		p.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-p.alarm.ended: // the committer may hang in a Pebble that has failed
		select {
		case <-done:
		case <-time.After(closeTimeout):
		}
	}
	if err := p.alarm.err(); err != nil {
		return err
	}
	return p.alarm.attempt(func() error {
		return errors.Join(p.committer.batch.Close(), p.db.Close(), p.lock.Close())
	})
}
