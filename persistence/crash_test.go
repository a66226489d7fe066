package persistence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"carillon/actors/call"
)

// ledger is what the owners of the calls know: each state that they have tried to save, and the last one acknowledged.
type ledger struct {
	mu    sync.Mutex
	tried map[call.ID]map[uint64]call.State
	acked map[call.ID]uint64
	users map[call.UserID]bool // registered and acknowledged
}

func newLedger() *ledger {
	return &ledger{tried: make(map[call.ID]map[uint64]call.State), acked: make(map[call.ID]uint64), users: make(map[call.UserID]bool)}
}

func (l *ledger) try(s call.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tried[s.ID] == nil {
		l.tried[s.ID] = make(map[uint64]call.State)
	}
	l.tried[s.ID][s.Revision] = stored(s)
}

func (l *ledger) ack(s call.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[s.ID] = s.Revision
}

// crash is a copy of the disk, taken while others write, with what had been acknowledged before it.
type crash struct {
	fs    *vfs.MemFS
	acked map[call.ID]uint64
	users map[call.UserID]bool
}

func (l *ledger) crash(mem *vfs.MemFS, r *rand.Rand) crash {
	l.mu.Lock()
	acked, users := maps.Clone(l.acked), maps.Clone(l.users)
	l.mu.Unlock()
	return crash{mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(3) * 50, RNG: r}), acked, users}
}

// owner plays calls at random: users ring, answer, quit, come later; calls end and are closed.
func (l *ledger) owner(p store, r *rand.Rand, ids []call.ID, steps int) error {
	now := make(map[call.ID]call.State)
	for range steps {
		id := ids[r.IntN(len(ids))]
		s, exists := now[id]
		tr := create(ringing(id, int(id), "ann", user(r), "zoe"))
		if exists {
			tr = with(s, anyChange(r))
		}
		l.try(tr.Next)
		if err := p.Save(context.Background(), []call.Transition{tr})[0]; err != nil {
			return fmt.Errorf("call %s, revision %d: %w", id, tr.Next.Revision, err)
		}
		l.ack(tr.Next)
		now[id] = tr.Next
		if u := user(r); r.IntN(10) == 0 {
			if err := p.Register(context.Background(), u); err != nil {
				return err
			}
			l.mu.Lock()
			l.users[u] = true
			l.mu.Unlock()
		}
	}
	return nil
}

func user(r *rand.Rand) call.UserID { return call.UserID(fmt.Sprint("bob", r.IntN(20))) }

// anyChange is something that may happen to a call; to a closed one only what is recorded after its end.
func anyChange(r *rand.Rand) func(*call.State) {
	return func(s *call.State) {
		i := r.IntN(len(s.Users))
		switch n := r.IntN(10); {
		case s.Closed:
			s.Users[i].Told = s.Seq
		case n < 5:
			became(i, call.UserState(1+r.IntN(9)))(s)
		case n < 7:
			if u := user(r); s.Find(u) == nil && len(s.Users) < 10 {
				s.Users = append(s.Users, call.Participant{User: u, State: call.Inviting, InviteData: string(make([]byte, r.IntN(2000)))})
			}
		case n < 9:
			ended(s)
		default:
			closed(s)
		}
	}
}

// survived opens a copy and compares it with what was acknowledged before it was taken.
func (c crash) survived(t *testing.T, l *ledger) {
	t.Helper()
	p := mustOpen(t, Config{FS: c.fs, Dir: "a/b/data"})
	defer p.Close()
	consistent(t, p)
	for id, revision := range c.acked {
		got := load(t, p, id)
		if got.Revision < revision {
			t.Fatalf("call %s: revision %d was acknowledged, %d is there", id, revision, got.Revision)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, tried := range l.tried {
		got, err := p.Load(context.Background(), id)
		if errors.Is(err, call.ErrNotFound) && c.acked[id] == 0 {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprint("call ", id), got, tried[got.Revision])
	}
	for u := range c.users {
		if known, err := p.Known(context.Background(), []call.UserID{u}); err != nil || !known[0] {
			t.Fatalf("user %s was registered: %v", u, err)
		}
	}
}

// TestCrash: whenever the power goes, with whatever part of the unsynced data, all that was acknowledged is there and nothing
// is there by halves. Seeds differ; each runs owners in parallel, so a seed alone doesn't replay a failure.
func TestCrash(t *testing.T) {
	const owners, callsEach, steps, copies = 6, 8, 120, 12
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			p := closing(t, mustOpen(t, Config{FS: mem, Dir: "a/b/data", MemTableBytes: 256 << 10}))
			l := newLedger()
			failed := make(chan error, owners)
			var wg sync.WaitGroup
			for o := range call.ID(owners) {
				wg.Go(func() {
					var ids []call.ID
					for n := range call.ID(callsEach) {
						ids = append(ids, 1+o+n*owners)
					}
					failed <- l.owner(p, rand.New(rand.NewPCG(seed, uint64(o))), ids, steps)
				})
			}
			r := rand.New(rand.NewPCG(seed, 99))
			var taken []crash
			for n := range copies {
				until(t, func() bool { return l.writes() >= n*owners*steps/copies || len(failed) > 0 })
				taken = append(taken, l.crash(mem, r))
			}
			wg.Wait()
			for range owners {
				if err := <-failed; err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range append(taken, l.crash(mem, r)) {
				c.survived(t, l)
			}
		})
	}
}

// writes counts the acknowledged transitions.
func (l *ledger) writes() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, revision := range l.acked {
		n += int(revision)
	}
	return n
}

// TestCrashWhileSweeping: a call is deleted with all its rows or not at all.
func TestCrashWhileSweeping(t *testing.T) {
	mem := vfs.NewCrashableMem()
	c := newClock()
	p := closing(t, mustOpen(t, Config{FS: mem, Now: c.now}))
	var batch []call.Transition
	for id := call.ID(1); id <= 3*sweepChunk; id++ {
		a := ringing(id, int(id), "ann", "bob", user(rand.New(rand.NewPCG(1, uint64(id)))))
		batch = append(batch, create(a), with(a, closed))
	}
	save(t, p, batch...)
	done := make(chan error, 1)
	go func() {
		_, err := p.Sweep(epoch.Add(1000 * time.Hour))
		done <- err
	}()
	r := rand.New(rand.NewPCG(5, 5))
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		again := mustOpen(t, Config{FS: mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: r}), Now: c.now})
		consistent(t, again)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
