package persistence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"carillon/actors/call"
)

// ownServer starts a server for one test, with flags.
func ownServer(t *testing.T, flags ...string) *server {
	t.Helper()
	sharedServer(t) // skips when there can't be one
	s, err := newServer(flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

// stubborn plays calls at random as an actor does: what isn't written is tried again, what is unknown is read again.
func (l *ledger) stubborn(ctx context.Context, p store, r *rand.Rand, ids []call.ID) error {
	now := make(map[call.ID]call.State)
	for ctx.Err() == nil {
		id := ids[r.IntN(len(ids))]
		s, exists := now[id]
		tr := create(ringing(id, int(id), "ann", user(r), "zoe"))
		if exists {
			tr = with(s, anyChange(r))
		}
		l.try(tr.Next)
		switch err := p.Save(context.Background(), []call.Transition{tr})[0]; {
		case err == nil:
			l.ack(tr.Next)
			now[id] = tr.Next
		case errors.Is(err, call.ErrUnavailable):
		case errors.Is(err, call.ErrUnknown):
			if err := l.reload(ctx, p, now, id); err != nil {
				return err
			}
		default:
			return fmt.Errorf("call %s, revision %d: %w", id, tr.Next.Revision, err)
		}
	}
	return nil
}

func (l *ledger) reload(ctx context.Context, p store, now map[call.ID]call.State, id call.ID) error {
	for ctx.Err() == nil {
		s, err := p.Load(context.Background(), id)
		switch {
		case err == nil:
			now[id] = s
			return nil
		case errors.Is(err, call.ErrNotFound):
			delete(now, id)
			return nil
		case !errors.Is(err, call.ErrUnavailable):
			return err
		}
	}
	return nil
}

// snapshot is what is acknowledged now.
func (l *ledger) snapshot() map[call.ID]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked := make(map[call.ID]uint64, len(l.acked))
	for id, revision := range l.acked {
		acked[id] = revision
	}
	return acked
}

// TestServerCrash: the server is killed under load, and started again: all that was acknowledged is there, and the store
// goes on by itself.
func TestServerCrash(t *testing.T) {
	const owners, callsEach, crashes = 6, 8, 3
	s := ownServer(t)
	p := closing(t, mustOpenPostgres(t, Config{DSN: s.dsn("postgres")}))
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for o := range call.ID(owners) {
		wg.Go(func() {
			var ids []call.ID
			for n := range call.ID(callsEach) {
				ids = append(ids, 1+o+n*owners)
			}
			if err := l.stubborn(ctx, p, rand.New(rand.NewPCG(11, uint64(o))), ids); err != nil {
				t.Error(err)
			}
		})
	}
	for range crashes {
		before := l.writes()
		until(t, func() bool { return l.writes() > before+300 })
		if err := s.crash(); err != nil {
			t.Fatal(err)
		}
		acked := l.snapshot()
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		for id, revision := range acked {
			if got := load(t, p, id); got.Revision < revision {
				t.Fatalf("call %s: revision %d was acknowledged, %d is there", id, revision, got.Revision)
			}
		}
	}
	before := l.writes()
	until(t, func() bool { return l.writes() > before+100 })
	cancel()
	wg.Wait()
	for id, revision := range l.snapshot() {
		got := load(t, p, id)
		if got.Revision < revision {
			t.Fatalf("call %s: revision %d was acknowledged, %d is there", id, revision, got.Revision)
		}
		same(t, fmt.Sprint("call ", id), got, l.tried[id][got.Revision])
	}
}

// TestServerAway: while the server is down, writes are refused cleanly, Health says so, and all is well again afterwards.
func TestServerAway(t *testing.T) {
	t.Parallel() // it mostly waits
	s := ownServer(t, "fsync=off")
	p := closing(t, mustOpenPostgres(t, Config{DSN: s.dsn("postgres")}))
	a := ringing(2, 0, "ann", "bob")
	save(t, p, create(a))
	s.stop()
	until(t, func() bool { return p.Health() != nil })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Save(ctx, []call.Transition{create(ringing(4, 0, "ann", "bob"))})[0]; !errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("with a short patience: %v", err)
	}
	reading, registration := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := p.PendingFor(context.Background(), "ann")
		reading <- err
	}()
	go func() { // of a user who isn't looked up before
		e := p.entry(register)
		e.user = "ann"
		err := p.submit(context.Background(), e)
		if err == nil {
			err = p.await(context.Background(), e)
		}
		registration <- err
	}()
	for what, err := range map[string]error{
		"the first waits": <-background(t.Context(), p, with(a, closed)),
		"the second":      <-background(t.Context(), p, with(a, closed)),
		"registration":    <-registration,
		"reading":         <-reading,
	} {
		if !errors.Is(err, call.ErrUnavailable) || errors.Is(err, call.ErrUnknown) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	same(t, "queued", p.Queued(), 0)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return p.Health() == nil })
	b := with(a, closed)
	until(t, func() bool { return p.Save(t.Context(), []call.Transition{b})[0] == nil })
	same(t, "afterwards", load(t, p, 2), stored(b.Next))
}

// TestServerRestart: a transition that comes while the server restarts waits for it.
func TestServerRestart(t *testing.T) {
	t.Parallel() // it mostly waits
	s := ownServer(t, "fsync=off")
	p := closing(t, mustOpenPostgres(t, Config{DSN: s.dsn("postgres")}))
	a := ringing(2, 0, "ann", "bob")
	save(t, p, create(a))
	s.stop()
	until(t, func() bool { return p.Health() != nil })
	verdict := make(chan error, 1)
	go func() { verdict <- p.Save(context.Background(), []call.Transition{with(a, closed)})[0] }()
	until(t, func() bool { return p.Queued() == 1 })
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	if err := <-verdict; err != nil {
		t.Fatal(err)
	}
}
