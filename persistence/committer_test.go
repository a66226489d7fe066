package persistence

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"carillon/actors/call"
)

// groups notes the size of every commit.
type groups struct {
	mu    sync.Mutex
	sizes []int
}

func (g *groups) observe(n int, _ time.Duration) {
	g.mu.Lock()
	g.sizes = append(g.sizes, n)
	g.mu.Unlock()
}

func (g *groups) seen() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.sizes)
}

// held opens a store whose committer of the even calls is stuck in the sync of call 2.
func held(t *testing.T) (p *Pebble, d *disk, g *groups, first <-chan error, release func()) {
	d, g = newDisk(), new(groups)
	p = closing(t, mustOpen(t, Config{FS: d, Observe: g.observe, Now: newClock().now}))
	release = d.hold()
	t.Cleanup(release)
	first = saving(t.Context(), p, create(ringing(2, 0, "ann", "bob")))
	d.reached(t)
	return p, d, g, first, release
}

// saving saves in the background.
func saving(ctx context.Context, p *Pebble, tr call.Transition) <-chan error {
	verdict := make(chan error, 1)
	go func() { verdict <- p.Save(ctx, []call.Transition{tr})[0] }()
	return verdict
}

// TestNoLinger: one transition goes at once; what comes during its commit is the next group, at most maxGroup.
func TestNoLinger(t *testing.T) {
	p, _, g, first, release := held(t)
	var batch []call.Transition
	for id := call.ID(4); len(batch) < maxGroup+10; id += 2 {
		batch = append(batch, create(ringing(id, 0, "ann", "bob")))
	}
	rest := make(chan []error, 1)
	go func() { rest <- p.Save(context.Background(), batch) }()
	until(t, func() bool { return p.Queued() == 1+len(batch) })
	release()
	if err := errors.Join(append(<-rest, <-first)...); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(g.seen()) == 3 })
	same(t, "groups", g.seen(), []int{1, maxGroup, 10})
	same(t, "queued", p.Queued(), 0)
}

// TestGroupBytes: a group is bounded by its bytes too.
func TestGroupBytes(t *testing.T) {
	p, _, g, first, release := held(t)
	big := make([]byte, maxGroupBytes/3)
	var batch []call.Transition
	for id := call.ID(4); len(batch) < 4; id += 2 {
		a := ringing(id, 0, "ann", "bob")
		a.ExtendedData = string(big)
		batch = append(batch, create(a))
	}
	rest := make(chan []error, 1)
	go func() { rest <- p.Save(context.Background(), batch) }()
	until(t, func() bool { return p.Queued() == 1+len(batch) })
	release()
	if err := errors.Join(append(<-rest, <-first)...); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(g.seen()) == 3 })
	same(t, "groups", g.seen(), []int{1, 2, 2})
}

func TestRecordTooLarge(t *testing.T) {
	p := closing(t, mustOpen(t, Config{FS: newDisk()}))
	a := ringing(2, 0, "ann", "bob")
	a.ExtendedData = string(make([]byte, maxRecord))
	if err := p.Save(t.Context(), []call.Transition{create(a)})[0]; !errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestQueueFull(t *testing.T) {
	p, _, _, first, release := held(t)
	var batch []call.Transition
	for id := call.ID(4); len(batch) < maxQueued-1; id += 2 {
		batch = append(batch, create(ringing(id, 0, "ann", "bob")))
	}
	rest := make(chan []error, 1)
	go func() { rest <- p.Save(context.Background(), batch) }()
	until(t, func() bool { return p.Queued() == maxQueued })
	beyond := []call.Transition{create(ringing(1_000_000, 0, "ann", "bob")), create(ringing(3, 0, "ann", "bob"))} // of either committer
	for i, err := range p.Save(t.Context(), beyond) {
		if !errors.Is(err, call.ErrUnavailable) {
			t.Fatalf("transition %d beyond the limit: %v", i, err)
		}
	}
	release()
	if err := errors.Join(append(<-rest, <-first)...); err != nil {
		t.Fatal(err)
	}
	same(t, "queued", p.Queued(), 0)
	save(t, p, beyond...)
}

func TestCancelWhileWaiting(t *testing.T) {
	p, _, _, first, release := held(t)
	ctx, cancel := context.WithCancel(t.Context())
	verdict := saving(ctx, p, create(ringing(4, 0, "ann", "bob")))
	until(t, func() bool { return p.Queued() == 2 })
	cancel()
	if err := <-verdict; !errors.Is(err, call.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	release()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return p.Queued() == 0 })
	if _, err := p.Load(t.Context(), 4); !errors.Is(err, call.ErrNotFound) {
		t.Fatalf("it was taken back: %v", err)
	}
}

// TestCancelUnderWay: the outcome is unknown, and a Load after that knows it.
func TestCancelUnderWay(t *testing.T) {
	d := newDisk()
	p := closing(t, mustOpen(t, Config{FS: d}))
	release := d.hold()
	t.Cleanup(release)
	ctx, cancel := context.WithCancel(t.Context())
	verdict := saving(ctx, p, create(ringing(2, 0, "ann", "bob")))
	d.reached(t)
	cancel()
	if err := <-verdict; !errors.Is(err, call.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if _, err := p.Load(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Fatalf("a Load with a cancelled context: %v", err)
	}
	release()
	same(t, "written", load(t, p, 2).Revision, uint64(1))
}

// TestReadsWaitForTheDisk: what is not durable is not shown, and if it never becomes durable it never is.
func TestReadsWaitForTheDisk(t *testing.T) {
	for name, read := range map[string]func(*Pebble) error{
		"Load":       func(p *Pebble) error { _, err := p.Load(context.Background(), 2); return err },
		"UserCalls":  func(p *Pebble) error { _, _, err := p.UserCalls(context.Background(), "bob", 0, 5); return err },
		"PendingFor": func(p *Pebble) error { _, err := p.PendingFor(context.Background(), "bob"); return err },
		"OpenCalls": func(p *Pebble) error {
			return p.OpenCalls(context.Background(), nil, func(id call.ID, _ time.Time) error {
				t.Errorf("visits call %s", id)
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			p := failing(t, Config{FS: d})
			release := d.hold()
			t.Cleanup(release)
			verdict := saving(t.Context(), p, create(ringing(2, 0, "ann", "bob")))
			d.reached(t)
			got := make(chan error, 1)
			go func() { got <- read(p) }()
			d.fail(&fault{"sync", ".log", syncs, errDisk})
			release()
			if err := <-verdict; !errors.Is(err, call.ErrUnknown) {
				t.Fatalf("Save: %v", err)
			}
			if err := <-got; !errors.Is(err, call.ErrUnavailable) {
				t.Fatalf("%s shows what was never durable: %v", name, err)
			}
		})
	}
}

// TestCloseCommitsWhatWaits: Close refuses what comes after it and finishes what came before.
func TestCloseCommitsWhatWaits(t *testing.T) {
	d := newDisk()
	p := mustOpen(t, Config{FS: d})
	release := d.hold()
	first := saving(t.Context(), p, create(ringing(2, 0, "ann", "bob")))
	d.reached(t)
	second := saving(t.Context(), p, create(ringing(4, 0, "ann", "bob")))
	until(t, func() bool { return p.Queued() == 2 })
	done := make(chan error, 1)
	go func() { done <- p.Close() }()
	until(t, func() bool { return p.Health() != nil })
	release()
	if err := errors.Join(<-first, <-second, <-done); err != nil {
		t.Fatal(err)
	}
	again := closing(t, mustOpen(t, Config{FS: d.mem.CrashClone(exactly)}))
	same(t, "both", len(openCalls(t, again)), 2)
}

// TestClosedAgainInOneGroup: a call is deleted, and one with its ID is closed in the same group and at the same instant. Its
// retention row stays.
func TestClosedAgainInOneGroup(t *testing.T) {
	p, _, g, first, release := held(t)
	now := p.config.Now()
	release()
	a := ringing(4, 0, "ann", "bob")
	closed(&a)
	if err := errors.Join(<-first, p.Save(t.Context(), []call.Transition{create(a)})[0]); err != nil {
		t.Fatal(err)
	}
	d := p.config.FS.(*disk)
	release = d.hold()
	t.Cleanup(release)
	stuck := saving(t.Context(), p, create(ringing(6, 0, "ann", "bob")))
	d.reached(t)
	deleted := make(chan error, 1)
	go func() {
		n, err := p.expire(context.Background(), [][]byte{retentionKey(nil, call.At(now), 4)})
		if err == nil && n != 1 {
			err = errors.New("it isn't deleted")
		}
		deleted <- err
	}()
	until(t, func() bool { return p.Queued() == 2 })
	again := saving(t.Context(), p, create(a))
	until(t, func() bool { return p.Queued() == 3 })
	release()
	if err := errors.Join(<-stuck, <-deleted, <-again); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(g.seen()) == 4 })
	same(t, "groups", g.seen(), []int{1, 1, 1, 2})
	consistent(t, p)
}
