package persistence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"carillon/actors/call"
)

// someID is an ID as they are: its shard, one of a few, above a hash.
func someID(r *rand.Rand) call.ID {
	return call.ID(r.Uint64N(16)*97)<<52 | call.ID(r.Uint64N(shardCalls))
}

// TestIDSet: what is in it is never denied, and what isn't is seldom suspected.
func TestIDSet(t *testing.T) {
	for _, size := range []int{64, 1 << 12, 1 << 16, 1 << 20} {
		s := newIDSet(size)
		same(t, "size", s.size(), size)
		r := rand.New(rand.NewPCG(uint64(size), 1))
		in := make(map[call.ID]bool)
		for range size / 16 {
			id := someID(r)
			in[id] = true
			s.set(id)
		}
		for id := range in {
			if !s.perhaps(id) {
				t.Fatalf("%d bits: %s is denied", size, id)
			}
		}
		wrong := 0
		const asked = 10000
		for range asked {
			if id := someID(r); !in[id] && s.perhaps(id) {
				wrong++
			}
		}
		if wrong > asked/8 {
			t.Errorf("%d bits, a sixteenth of them set: %d of %d others are suspected", size, wrong, asked)
		}
	}
	s := newIDSet(128)
	for _, id := range []call.ID{0, 1, 1 << 52, 1<<64 - 1} {
		s.set(id)
		if !s.perhaps(id) {
			t.Errorf("%s is denied", id)
		}
	}
}

func TestIDSetSizes(t *testing.T) {
	for ids, want := range map[int]int{
		-1: minClosedBits, 0: minClosedBits, minClosedBits / 16: minClosedBits, minClosedBits/16 + 1: 2 * minClosedBits,
		50_000_000: maxClosedBits, maxClosedBits: maxClosedBits,
	} {
		same(t, fmt.Sprint("bits for ", ids), bitsFor(ids), want)
	}
}

// TestSetIsRenewed: when half of many are gone or more bits help, not before and not in vain.
func TestSetIsRenewed(t *testing.T) {
	var c closedCalls
	if !c.due() {
		t.Fatal("nothing is known, and nothing is due")
	}
	for _, k := range []struct {
		size, added, gone int
		due               bool
		next              int
	}{
		{minClosedBits, minClosedBits / 4, minClosedBits / 4, false, minClosedBits},
		{minClosedBits, minClosedBits/4 + 1, 0, true, 8 * minClosedBits},
		{minClosedBits, minClosedBits, minClosedBits, true, minClosedBits},
		{maxClosedBits, maxClosedBits / 2, maxClosedBits/4 - 1, false, maxClosedBits},
		{maxClosedBits, maxClosedBits / 2, maxClosedBits / 4, true, maxClosedBits},
		{maxClosedBits, maxClosedBits/4 + 1, maxClosedBits/4 - 1000, true, minClosedBits},
	} {
		c.known = newIDSet(k.size)
		c.known.added, c.known.gone = k.added, k.gone
		same(t, fmt.Sprint("due: ", k), c.due(), k.due)
		same(t, fmt.Sprint("next: ", k), c.begin().size(), k.next)
		c.abandon()
	}
}

// surveyed opens a store and waits until its closed calls are known.
func surveyed(t testing.TB, c Config) *Pebble {
	t.Helper()
	p := mustOpen(t, c)
	until(t, func() bool { return !p.closed.due() })
	return p
}

// unsurveyed opens a store that doesn't read its closed calls by itself.
func unsurveyed(t testing.TB, c Config) *Pebble {
	t.Helper()
	c.Dir = "data"
	if c.Logger == nil {
		c.Logger = quiet
	}
	p, err := openQuiet(c)
	if err != nil {
		t.Fatal(err)
	}
	p.running.Go(p.committer.run)
	p.sweeper = startSweeper(p.config, nil, p.sweep)
	return p
}

// closeMany makes n calls, half of them by a creation alone, and gives their IDs.
func closeMany(t testing.TB, p store, r *rand.Rand, n int) (ids []call.ID) {
	t.Helper()
	var batch []call.Transition
	for range n {
		a := ringing(someID(r), r.IntN(1000), "ann", user(r))
		ids = append(ids, a.ID)
		if r.IntN(2) == 0 {
			closed(&a)
			batch = append(batch, create(a))
		} else {
			batch = append(batch, create(a), with(a, closed))
		}
	}
	for len(batch) > 0 {
		few := min(len(batch), maxGroup)
		save(t, p, batch[:few]...)
		batch = batch[few:]
	}
	return ids
}

// taken fails unless each of the IDs is that of a call that exists.
func taken(t testing.TB, p store, ids []call.ID) {
	t.Helper()
	var batch []call.Transition
	for _, id := range ids {
		batch = append(batch, create(ringing(id, 0, "ann", "bob")))
	}
	for len(batch) > 0 {
		few := min(len(batch), maxGroup)
		for i, err := range p.Save(context.Background(), batch[:few]) {
			if !errors.Is(err, call.ErrConflict) {
				t.Fatalf("call %s is closed, and is created again: %v", batch[i].Next.ID, err)
			}
		}
		batch = batch[few:]
	}
}

// renew builds a set whether it is due or not; amidst runs when those of before have been read.
func renew(t testing.TB, p *Pebble, amidst func()) {
	t.Helper()
	n, err := p.readClosed(context.Background(), p.closed.begin())
	if err != nil {
		t.Fatal(err)
	}
	amidst()
	p.closed.finish(n)
}

// TestClosedIsTaken: the ID of a closed call is taken, whenever it was closed and whatever is known, until the call is deleted.
func TestClosedIsTaken(t *testing.T) {
	fs, c, r := vfs.NewMem(), newClock(), rand.New(rand.NewPCG(3, 4))
	config := Config{FS: fs, Now: c.now}
	p := surveyed(t, config)
	var ids []call.ID
	more := func() {
		t.Helper()
		ids = append(ids, closeMany(t, p, r, 5)...)
		c.add(time.Millisecond)
		taken(t, p, ids)
	}
	for len(ids) < 2*scanChunk+7 { // at many instants
		ids = append(ids, closeMany(t, p, r, 1+r.IntN(20))...)
		c.add(time.Duration(r.IntN(2)) * time.Millisecond)
	}
	more()
	same(t, "closing", p.Close(), error(nil))

	p = unsurveyed(t, config)
	more()
	renew(t, p, more) // the first: until its end nothing is known
	more()
	same(t, "counted", p.closed.known.added, len(ids)) // once each: what was read, and what was closed since
	renew(t, p, more)
	more()
	same(t, "closing", p.Close(), error(nil))

	p = closing(t, surveyed(t, config))
	more()
	if free := someID(r); p.closed.perhaps(free) {
		t.Fatalf("%s of 32 million others is suspected", free)
	}
	c.add(1000 * time.Hour)
	n, err := p.Sweep(c.now())
	if n != len(ids) || err != nil {
		t.Fatalf("%d of %d deleted, %v", n, len(ids), err)
	}
	same(t, "gone", p.closed.known.gone, n)
	for _, id := range ids[:20] {
		save(t, p, create(ringing(id, 0, "ann", "bob")))
	}
	taken(t, p, ids[:20])
	ids = ids[:0]
	more()
}

// TestClosedWhileReading: calls are closed and deleted while sets are built.
func TestClosedWhileReading(t *testing.T) {
	c := newClock()
	p := closing(t, unsurveyed(t, Config{FS: vfs.NewMem(), Now: c.now, Retention: time.Hour}))
	old := closeMany(t, p, rand.New(rand.NewPCG(0, 0)), 3*sweepChunk)
	c.add(2 * time.Hour)
	var wg sync.WaitGroup
	ids := make([][]call.ID, 4)
	for i := range ids {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(i)))
			for range 60 {
				ids[i] = append(ids[i], closeMany(t, p, r, 8)...)
				c.add(time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		if n, err := p.Sweep(c.now()); n != len(old) || err != nil {
			t.Errorf("%d of %d deleted, %v", n, len(old), err)
		}
	})
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	for building := true; building; {
		renew(t, p, func() {})
		select {
		case <-done:
			building = false
		default:
		}
	}
	for _, some := range ids {
		taken(t, p, some)
	}
}

// midway opens a store, in a bubble, whose committer is between the closing of call 7 and its commit while the closed calls
// are read. The test plays the committer.
func midway(t *testing.T) *Pebble {
	p, err := openQuiet(Config{Dir: "data", FS: vfs.NewMem(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	e := p.entry(write)
	a := ringing(7, 0, "ann", "bob")
	closed(&a)
	tr := create(a)
	if err := errors.Join(e.prepare(&tr), p.submit(t.Context(), e)); err != nil {
		t.Fatal(err)
	}
	c := p.committer
	c.group, _ = c.take(c.group, p.drop)
	if err := c.write(e, roomForAll); err != nil {
		t.Fatal(err)
	}
	c.listClosed(0)
	p.sweeper = startSweeper(p.config, p.surveyClosed, p.tend)
	synctest.Wait()
	if !p.closed.due() {
		t.Fatal("the closed calls are known before the group has landed")
	}
	return p
}

// TestReadingWaitsForTheGroup: what a group closes that was under way before the set was there is found by reading.
func TestReadingWaitsForTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := midway(t)
		c := p.committer
		if err := c.batch.Commit(nil); err != nil {
			t.Fatal(err)
		}
		p.deliver(c.group)
		synctest.Wait()
		if p.closed.due() || !p.closed.perhaps(7) {
			t.Fatal("call 7 is closed, and isn't known")
		}
		p.running.Go(c.run)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCloseWhileReading: Close ends the building of a set and waits for it (TestMain: nothing is left).
func TestCloseWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := midway(t)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if p.closed.fresh != nil || !p.closed.due() {
			t.Fatal("the set of a half-read store is kept")
		}
	})
}

// TestClosedCantBeRead: then every creation looks on the disk, the log says so once, and a later sweep succeeds.
func TestClosedCantBeRead(t *testing.T) {
	d, c, log := newDisk(), newClock(), new(journal)
	config := Config{FS: d, Now: c.now, CacheBytes: 1, Logger: slog.New(slog.NewTextHandler(log, nil))}
	p := unsurveyed(t, config)
	ids := closeMany(t, p, rand.New(rand.NewPCG(1, 1)), 4*scanChunk)
	same(t, "closing", p.Close(), error(nil))

	p = closing(t, unsurveyed(t, config)) // which moves what the log holds into tables
	d.fail(&fault{"read fails", ".sst", []errorfs.OpKind{errorfs.OpFileReadAt}, errDisk})
	for range 3 {
		p.surveyClosed(t.Context())
		if !p.closed.due() || p.closed.fresh != nil {
			t.Fatal("a set that wasn't read is kept")
		}
	}
	d.fail(nil)
	same(t, "complaints", log.count("closed calls can't be read"), 1)
	taken(t, p, ids[:10])
	if _, err := p.tend(t.Context(), c.now()); err != nil {
		t.Fatal(err)
	}
	same(t, "due", p.closed.due(), false)
	same(t, "counted", p.closed.known.added, len(ids))
	taken(t, p, ids)
}

// journal is a log that is searched.
type journal struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *journal) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *journal) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), part)
}
