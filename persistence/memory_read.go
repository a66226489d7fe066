package persistence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"carillon/actors/call"
)

// Load is Pebble.Load.
func (m *Memory) Load(ctx context.Context, id call.ID) (call.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return call.State{}, err
	}
	return m.load(id)
}

func (m *Memory) load(id call.ID) (call.State, error) {
	k := m.calls[id]
	if k == nil {
		return call.State{}, fmt.Errorf("call %s: %w", id, call.ErrNotFound)
	}
	return decode(id, k.record)
}

// OpenCalls is Pebble.OpenCalls.
func (m *Memory) OpenCalls(ctx context.Context, shards []uint16, visit func(id call.ID, deadline time.Time) error) error {
	page, err := m.openCalls(ctx, spansOf(shards))
	if err != nil {
		return err
	}
	for _, d := range page {
		if err := errors.Join(ctx.Err(), visit(d.id, d.deadline)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) openCalls(ctx context.Context, spans []span) ([]due, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	page := make([]due, 0, len(m.open))
	for id, k := range m.open {
		if !slices.ContainsFunc(spans, func(s span) bool { return s.first <= id && id <= s.last }) {
			continue
		}
		s, err := decode(id, k.record)
		if err != nil {
			return nil, err
		}
		page = append(page, due{id, s.Deadline()})
	}
	slices.SortFunc(page, func(a, b due) int { return cmp.Compare(a.id, b.id) })
	return page, nil
}

// UserCalls is Pebble.UserCalls.
func (m *Memory) UserCalls(ctx context.Context, user call.UserID, after call.ID, limit int) ([]call.State, call.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, 0, err
	}
	lines := m.rows[history][user]
	if after != 0 {
		cursor, err := m.load(after)
		if errors.Is(err, call.ErrNotFound) {
			return nil, 0, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if cursor.Find(user) == nil {
			return nil, 0, errForeign(after, user)
		}
		i, _ := slices.BinarySearchFunc(lines, line{cursor.Created, after}, line.compare)
		lines = lines[:i]
	}
	limit = clampPage(limit)
	var calls []call.State
	for i := len(lines) - 1; i >= 0 && len(calls) < limit; i-- {
		s, err := m.load(lines[i].id)
		if err != nil {
			return nil, 0, err
		}
		calls = append(calls, s)
	}
	if len(calls) < len(lines) {
		return calls, calls[len(calls)-1].ID, nil
	}
	return calls, 0, nil
}

// PendingFor is Pebble.PendingFor.
func (m *Memory) PendingFor(ctx context.Context, user call.UserID) ([]call.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	return m.rows[pending].newest(user, maxPending), nil
}
