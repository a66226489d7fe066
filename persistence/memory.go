package persistence

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"carillon/actors/call"
)

var errMemoryFull = fmt.Errorf("%w: the store's memory is full of open calls", call.ErrUnavailable)

// Memory is the store that forgets: for tests, and for a server that may lose its calls when it stops. It behaves as Pebble
// does, down to the records, so soft fields don't survive it either. It keeps at most Config.MemoryCalls calls: the oldest
// closed ones make room, and when all are open a creation is refused.
type Memory struct {
	config  Config
	sweeper *sweeper

	mu      sync.Mutex
	shut    bool
	calls   map[call.ID]*kept
	open    map[call.ID]*kept
	closed  *list.List // of *kept, in the order of closing
	rows    map[table]lists
	users   map[call.UserID]struct{}
	scratch change
}

// kept is one call's record.
type kept struct {
	id     call.ID
	at     standing
	record []byte
	closed call.Millis   // when it was closed
	aged   *list.Element // in Memory.closed
}

// NewMemory makes an empty store. Only Retention, SweepInterval, MemoryCalls, Logger, Observe and Now of c matter.
func NewMemory(c Config) *Memory {
	m := &Memory{
		config: c.withDefaults(),
		calls:  make(map[call.ID]*kept),
		open:   make(map[call.ID]*kept),
		closed: list.New(),
		rows:   map[table]lists{history: {}, pending: {}},
		users:  make(map[call.UserID]struct{}),
	}
	m.sweeper = startSweeper(m.config, nil, m.sweep)
	return m
}

// Save is Pebble.Save, without a disk: its verdicts are nil, call.ErrConflict and call.ErrUnavailable.
func (m *Memory) Save(ctx context.Context, batch []call.Transition) []error {
	start := time.Now()
	verdicts := make([]error, len(batch))
	m.mu.Lock()
	for i := range batch {
		verdicts[i] = m.save(ctx, &batch[i])
	}
	m.mu.Unlock()
	m.config.Observe(len(batch), time.Since(start))
	return verdicts
}

func (m *Memory) save(ctx context.Context, t *call.Transition) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("%w: %w", call.ErrUnavailable, err)
	}
	c := &m.scratch
	if err := c.prepare(t); err != nil {
		return err
	}
	k := m.calls[c.id]
	var was standing
	if k != nil {
		was = k.at
	}
	if err := c.against(was); err != nil {
		return err
	}
	if k == nil {
		if !m.makeRoom() {
			return errMemoryFull
		}
		k = &kept{id: c.id}
		m.calls[c.id] = k
	}
	m.put(k, c)
	return nil
}

// enter refuses when the store is closed or the asker has gone.
func (m *Memory) enter(ctx context.Context) error {
	if m.shut {
		return errClosed
	}
	return ctx.Err()
}

func (m *Memory) put(k *kept, c *change) {
	k.record = append([]byte(nil), c.record...)
	k.at = standing{c.home(), c.next}
	if !c.closed {
		m.open[c.id] = k
	} else if k.aged == nil {
		delete(m.open, c.id)
		k.closed = call.At(m.config.Now())
		k.aged = m.closed.PushBack(k)
	}
	for _, r := range c.rows {
		m.rows[r.table].set(r.user, line{c.created, c.id}, r.remove)
	}
}

// makeRoom reports whether one more call may be kept.
func (m *Memory) makeRoom() bool {
	if len(m.calls) < m.config.MemoryCalls {
		return true
	}
	oldest := m.closed.Front()
	if oldest == nil {
		return false
	}
	return m.forget(oldest.Value.(*kept)) == nil
}

// forget deletes a closed call with all rows that lead to it.
func (m *Memory) forget(k *kept) error {
	s, err := decode(k.id, k.record)
	if err != nil {
		return err
	}
	for i := range s.Users {
		m.rows[history].set(s.Users[i].User, line{s.Created, s.ID}, true)
	}
	m.closed.Remove(k.aged)
	delete(m.calls, k.id)
	return nil
}

// Sweep is Pebble.Sweep.
func (m *Memory) Sweep(now time.Time) (deleted int, err error) { return m.sweep(m.sweeper.ctx, now) }

func (m *Memory) sweep(ctx context.Context, now time.Time) (deleted int, err error) {
	before := call.At(now.Add(-m.config.Retention))
	for {
		n, more, err := m.sweepSome(ctx, before)
		deleted += n
		if err != nil || !more {
			return deleted, err
		}
	}
}

func (m *Memory) sweepSome(ctx context.Context, before call.Millis) (deleted int, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return 0, false, err
	}
	for deleted < sweepChunk {
		oldest := m.closed.Front()
		if oldest == nil || oldest.Value.(*kept).closed >= before {
			return deleted, false, nil
		}
		if err := m.forget(oldest.Value.(*kept)); err != nil {
			return deleted, false, err
		}
		deleted++
	}
	return deleted, true, nil
}

// Register is Pebble.Register.
func (m *Memory) Register(ctx context.Context, user call.UserID) error {
	if err := checkUser(user); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	if _, ok := m.users[user]; !ok && len(m.users) >= m.config.MemoryCalls {
		return fmt.Errorf("%w: %d users are registered, which is the most this store keeps", call.ErrUnavailable, len(m.users))
	}
	m.users[user] = struct{}{}
	return nil
}

// Known is Pebble.Known.
func (m *Memory) Known(ctx context.Context, users []call.UserID) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	known := make([]bool, len(users))
	for i, u := range users {
		_, known[i] = m.users[u]
	}
	return known, nil
}

// Queued is always 0: nothing waits.
func (m *Memory) Queued() int { return 0 }

// Health is nil until the store is closed.
func (m *Memory) Health() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.enter(context.Background())
}

// Close ends the store; what it held is gone. A second Close does nothing.
func (m *Memory) Close() error {
	m.sweeper.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	return nil
}
