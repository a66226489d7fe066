package persistence

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"carillon/actors/call"
)

// twoStores are two nodes on one database.
func twoStores(t *testing.T) (a, b *Postgres) {
	dsn := database(t, false)
	return closing(t, mustOpenPostgres(t, Config{DSN: dsn})), closing(t, mustOpenPostgres(t, Config{DSN: dsn}))
}

// TestStaleOwner: who doesn't know that another node has taken over loses, and none of his rows is written or deleted.
func TestStaleOwner(t *testing.T) {
	old, heir := twoStores(t)
	a := ringing(7, 0, "ann", "bob")
	save(t, old, create(a))
	same(t, "the heir reads", load(t, heir, 7), stored(a))
	b := with(a, became(1, call.Accepted))
	save(t, heir, b)
	for what, stale := range map[string]call.Transition{
		"an update with a newcomer": with(a, func(s *call.State) {
			s.Users = append(s.Users, call.Participant{User: "eve", State: call.Inviting})
		}),
		"an update without bob": with(a, func(s *call.State) { s.Users = s.Users[:1] }),
		"a closing":             with(a, closed),
		"a creation":            create(ringing(7, 0, "ann", "bob", "eve")),
	} {
		if err := old.Save(t.Context(), []call.Transition{stale})[0]; !errors.Is(err, call.ErrConflict) {
			t.Fatalf("%s: %v", what, err)
		}
		consistentTables(t, heir)
	}
	same(t, "the old one reads", load(t, old, 7), stored(b.Next))
	same(t, "bob's pending", pendingFor(t, old, "bob"), []call.ID{7})
	same(t, "eve's list", allCalls(t, old, "eve", 5), []call.ID{})
	c := with(b.Next, closed)
	save(t, heir, c)
	late := with(c.Next, func(s *call.State) { s.Users[1].Told = 9 })
	save(t, old, late)
	if err := heir.Save(t.Context(), []call.Transition{with(c.Next, func(s *call.State) { s.Users[1].Told = 8 })})[0]; !errors.Is(err, call.ErrConflict) {
		t.Fatalf("a stale write after the closing: %v", err)
	}
	same(t, "in the end", load(t, heir, 7), stored(late.Next))
}

// TestOwnersRace: two nodes play the same calls, creations, ends and words after them included: each revision is won once.
func TestOwnersRace(t *testing.T) {
	const owners, steps, calls = 4, 150, 5
	a, b := twoStores(t)
	var won [calls + 1]atomic.Uint64
	var wg sync.WaitGroup
	for _, s := range []*Postgres{a, b} {
		for o := range uint64(owners) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(o, 1))
				for range steps {
					id := call.ID(1 + r.IntN(calls))
					now, err := s.Load(context.Background(), id)
					tr := with(now, func(s *call.State) {
						if len(s.Users) > 0 {
							anyChange(r)(s)
						}
					})
					if errors.Is(err, call.ErrNotFound) {
						tr = create(ringing(id, int(id), "ann", user(r)))
					} else if err != nil {
						t.Error(err)
						return
					}
					tr.Next.ExtendedData = string(rune('a' + r.IntN(26)))
					switch err := s.Save(context.Background(), []call.Transition{tr})[0]; {
					case err == nil:
						won[id].Add(1)
					case !errors.Is(err, call.ErrConflict):
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for id := call.ID(1); id <= calls; id++ {
		if got := load(t, a, id).Revision; got != won[id].Load() {
			t.Fatalf("call %s: revision %d after %d wins", id, got, won[id].Load())
		}
	}
}
