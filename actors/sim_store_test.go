package actors

import (
	"context"
	"slices"
	"time"

	"carillon/actors/call"
)

// simStore is a store that can be slow, refuse, fail without saying what it did, and be cut off before or after a write.
type simStore struct {
	w       *world
	calls   map[call.ID]call.State
	order   []call.ID // as created
	running *simActor // who is calling
}

// write makes a transition durable if its revision fits.
func (s *simStore) write(t call.Transition) error {
	old, there := s.calls[t.Next.ID]
	fenced := !s.w.bug.is(unfenced)
	if fenced && (old.Revision != t.Prev.Revision || (t.Prev.Revision == 0 && there)) {
		return call.ErrConflict
	}
	next := t.Next
	next.Users = slices.Clone(next.Users)
	if !there {
		s.order = append(s.order, next.ID)
	}
	s.calls[next.ID] = next
	s.w.note("  saved call %s revision %d version %d%s", next.ID, next.Revision, next.Version, map[bool]string{true: " closed"}[next.Closed])
	s.w.check.saved(old, next)
	return nil
}

func (s *simStore) Save(_ context.Context, batch []call.Transition) []error {
	a := s.running
	asked := s.w.now
	out := make([]error, len(batch))
	for i, t := range batch {
		t.Prev.Users, t.Next.Users = slices.Clone(t.Prev.Users), slices.Clone(t.Next.Users) // of the caller nothing is kept
		s.w.check.deadlines(t, asked)
		out[i] = s.save(a, t)
	}
	return out
}

func (s *simStore) save(a *simActor, t call.Transition) error {
	w := s.w
	took := w.between(100*time.Microsecond, 3*time.Millisecond)
	if w.fault(5) {
		took = w.between(time.Millisecond, 3*time.Second)
	}
	if w.bug.is(early) { // acknowledged before it is durable
		w.at(w.now.Add(took), a.node, func() { _ = s.write(t) })
		return nil
	}
	// The write happens somewhere in the middle: a node that dies before it has not written, one that dies after it has.
	before := time.Duration(w.rng.Int64N(int64(took)))
	a.block(before)
	var err error
	switch fails := w.fault(w.check.storeFails); {
	case fails && w.chance(40):
		err = call.ErrUnavailable
	case fails && w.chance(50):
		err = call.ErrUnknown
	case fails:
		if err = s.write(t); err == nil {
			err = call.ErrUnknown
		}
	default:
		err = s.write(t)
	}
	a.block(took - before)
	return err
}

func (s *simStore) read(a *simActor) error {
	took := s.w.between(0, 500*time.Microsecond)
	if s.w.fault(2) {
		took = s.w.between(0, time.Second)
	}
	a.block(took)
	if s.w.fault(s.w.check.storeFails / 2) {
		return call.ErrUnavailable
	}
	return nil
}

func (s *simStore) Load(_ context.Context, id call.ID) (call.State, error) {
	if err := s.read(s.running); err != nil {
		return call.State{}, err
	}
	state, ok := s.calls[id]
	if !ok {
		return call.State{}, call.ErrNotFound
	}
	return state.Resume(), nil
}

func (s *simStore) OpenCalls(_ context.Context, shards []uint16, visit func(call.ID, time.Time) error) error {
	for _, id := range s.order {
		state := s.calls[id]
		if !state.Closed && (shards == nil || slices.Contains(shards, id.Shard())) {
			if err := visit(id, state.Deadline()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *simStore) UserCalls(_ context.Context, user call.UserID, after call.ID, limit int) ([]call.State, call.ID, error) {
	if err := s.read(s.running); err != nil {
		return nil, 0, err
	}
	var out []call.State
	for _, id := range slices.Backward(s.order) {
		state := s.calls[id]
		if after != 0 {
			if id == after {
				after = 0
			}
			continue
		}
		if state.Find(user) != nil {
			if len(out) == limit {
				return out, out[limit-1].ID, nil
			}
			out = append(out, state)
		}
	}
	return out, 0, nil
}

func (s *simStore) PendingFor(_ context.Context, user call.UserID) ([]call.ID, error) {
	if err := s.read(s.running); err != nil {
		return nil, err
	}
	var out []call.ID
	for _, id := range slices.Backward(s.order) {
		if state := s.calls[id]; state.LiveFor(user) {
			out = append(out, id)
		}
	}
	return out, nil
}
