package persistence

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"

	"carillon/actors/call"
)

// behindRelay opens a store on a fresh database by way of a relay, and another one directly.
func behindRelay(t *testing.T) (p *Postgres, r *relay, direct *Postgres) {
	t.Helper()
	dsn := database(t, false)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	r = newRelay(t, u.Host)
	direct = closing(t, mustOpenPostgres(t, Config{DSN: dsn}))
	p = mustOpenPostgres(t, Config{DSN: sharedServer(t).through(r.addr(), dsn)})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, r, direct
}

// TestCut: whatever moment a connection dies at, each transition has the verdict that it would have had without.
func TestCut(t *testing.T) {
	for _, where := range []cut{atRequest, inRequest, atAnswer} {
		t.Run(where.String(), func(t *testing.T) {
			p, r, direct := behindRelay(t)
			a, z := ringing(2, 0, "ann", "mark1"), ringing(4, 1, "zoe", "bob")
			save(t, p, create(z), with(z, became(1, call.Accepted)))
			stale := with(z, became(1, call.Rejected))
			b := with(a, func(s *call.State) {
				became(1, call.Accepted)(s)
				s.Users = append(s.Users, call.Participant{User: "mark2", State: call.Inviting})
			})
			c := with(b.Next, closed)
			c.Next.ExtendedData = "mark3"
			d := with(c.Next, func(s *call.State) { s.ExtendedData = "mark4" })
			for i, tr := range []call.Transition{create(a), b, c, d} {
				mark := fmt.Sprint("mark", i+1)
				r.arm(where, mark, nil)
				other := create(ringing(call.ID(10+2*i), 2, "ann", "bob"))
				verdicts := p.Save(t.Context(), []call.Transition{stale, tr, other})
				for j, want := range []error{call.ErrConflict, nil, nil} {
					if !errors.Is(verdicts[j], want) {
						t.Fatalf("%s, transition %d: %v, want %v", mark, j, verdicts[j], want)
					}
				}
				same(t, mark, load(t, direct, 2), stored(tr.Next))
				if r.count() != i+1 {
					t.Fatalf("%s wasn't cut", mark)
				}
			}
			r.arm(where, "newcomer", nil)
			if err := p.Register(t.Context(), "newcomer"); err != nil || r.count() != 5 {
				t.Fatalf("registration: %v, %d cuts", err, r.count())
			}
		})
	}
}

// TestCutAndOvertaken: somebody else writes between the cut and the reading back.
func TestCutAndOvertaken(t *testing.T) {
	a := ringing(2, 0, "ann", "bob")
	ours := with(a, func(s *call.State) { s.ExtendedData = "ours" })
	theirs := with(a, func(s *call.State) { s.ExtendedData = "theirs" })
	for _, tc := range []struct {
		name  string
		where cut
		then  call.Transition
		want  error
	}{
		{"they wrote instead", atRequest, theirs, call.ErrConflict},
		{"they wrote the same", atRequest, ours, nil},
		{"they wrote on", atAnswer, with(ours.Next, closed), call.ErrUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, r, direct := behindRelay(t)
			save(t, p, create(a))
			r.arm(tc.where, "ours", func() {
				if err := direct.Save(context.Background(), []call.Transition{tc.then})[0]; err != nil {
					t.Errorf("the other's: %v", err)
				}
			})
			err := p.Save(t.Context(), []call.Transition{ours})[0]
			if !errors.Is(err, tc.want) || errors.Is(err, call.ErrUnavailable) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			same(t, "stored", load(t, direct, 2), stored(tc.then.Next))
		})
	}
}

// TestCutsUnderLoad: connections are cut at random everywhere, and nobody notices.
func TestCutsUnderLoad(t *testing.T) {
	const owners, callsEach, steps = 6, 8, 60
	p, r, direct := behindRelay(t)
	chance := rand.New(rand.NewPCG(7, 7))
	r.mu.Lock()
	r.every = func() *cut {
		if chance.IntN(25) > 0 {
			return nil
		}
		where := cut(chance.IntN(3))
		return &where
	}
	r.mu.Unlock()
	l := newLedger()
	var wg sync.WaitGroup
	for o := range call.ID(owners) {
		wg.Go(func() {
			var ids []call.ID
			for n := range call.ID(callsEach) {
				ids = append(ids, 1+o+n*owners)
			}
			if err := l.owner(p, rand.New(rand.NewPCG(3, uint64(o))), ids, steps); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if r.count() < 10 {
		t.Fatalf("only %d cuts", r.count())
	}
	for id, revision := range l.acked {
		same(t, fmt.Sprint("call ", id), load(t, direct, id), l.tried[id][revision])
	}
}
