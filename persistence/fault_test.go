package persistence

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"carillon/actors/call"
)

var (
	errDisk = errors.New("the disk is broken")
	exactly = vfs.CrashCloneCfg{} // of what was written, only what was synced
)

// failing opens a store that the test will see fail; its Close says so.
func failing(t *testing.T, c Config) *Pebble {
	p := mustOpen(t, c)
	t.Cleanup(func() {
		if err := p.Close(); !errors.Is(err, call.ErrUnavailable) {
			t.Errorf("Close of a store that has failed: %v", err)
		}
	})
	return p
}

// TestFailingLog: a log that can't be written or synced ends the store: what was under way is unknown, nothing follows it,
// and after a restart all that was acknowledged is there.
func TestFailingLog(t *testing.T) {
	for _, f := range []*fault{
		{"sync fails", ".log", syncs, errDisk},
		{"write fails", ".log", writes, errDisk},
		{"disk full", ".log", writes, syscall.ENOSPC},
	} {
		t.Run(f.name, func(t *testing.T) {
			d := newDisk()
			told := make(chan error, 9)
			p := failing(t, Config{FS: d, Fatal: func(err error) { told <- err }})
			a := ringing(2, 0, "ann", "bob")
			save(t, p, create(a))
			d.fail(f)
			b := with(a, became(1, call.Accepted))
			if err := p.Save(t.Context(), []call.Transition{b})[0]; !errors.Is(err, call.ErrUnknown) {
				t.Fatalf("under way: %v", err)
			}
			d.fail(nil) // a disk that recovers helps nobody: what it dropped is unknown
			for _, id := range []call.ID{2, 3, 4, 5} {
				if err := p.Save(t.Context(), []call.Transition{create(ringing(id, 0, "ann", "bob"))})[0]; !errors.Is(err, call.ErrUnavailable) {
					t.Fatalf("call %s after the failure: %v", id, err)
				}
			}
			if _, err := p.Load(t.Context(), 2); !errors.Is(err, call.ErrUnavailable) {
				t.Fatalf("Load after the failure: %v", err)
			}
			if err := p.Register(t.Context(), "ann"); !errors.Is(err, call.ErrUnavailable) {
				t.Fatalf("Register after the failure: %v", err)
			}
			if err := p.Health(); !errors.Is(err, call.ErrUnavailable) || !strings.Contains(err.Error(), f.err.Error()) {
				t.Fatalf("Health: %v", err)
			}
			if cause := <-told; !strings.Contains(cause.Error(), f.err.Error()) || len(told) != 0 {
				t.Fatalf("Fatal was told %v, and %d times more", cause, len(told))
			}
			again := closing(t, mustOpen(t, Config{FS: d.mem.CrashClone(exactly)}))
			if got := load(t, again, 2); got.Revision != 1 && got.Revision != 2 {
				t.Fatalf("after the restart: revision %d", got.Revision)
			}
		})
	}
}

// TestFailingManifest: Pebble's own goroutine fails, not a commit.
func TestFailingManifest(t *testing.T) {
	d := newDisk()
	fatal := make(chan error, 1)
	p := failing(t, Config{FS: d, MemTableBytes: 256 << 10, Fatal: func(err error) { fatal <- err }})
	d.fail(&fault{"sync", "MANIFEST", syncs, errDisk})
	acked, ended := call.ID(0), false
	for id := call.ID(1); !ended; id++ {
		a := ringing(id, 0, "ann", "bob")
		a.ExtendedData = strings.Repeat("x", 8<<10)
		switch err := p.Save(t.Context(), []call.Transition{create(a)})[0]; {
		case err == nil:
			acked = id
		case errors.Is(err, call.ErrUnavailable), errors.Is(err, call.ErrUnknown):
			ended = true
		default:
			t.Fatal(err)
		}
	}
	if err := <-fatal; !strings.Contains(err.Error(), errDisk.Error()) {
		t.Fatalf("Fatal was told %v", err)
	}
	again := closing(t, mustOpen(t, Config{FS: d.mem.CrashClone(exactly)}))
	if got := len(openCalls(t, again)); got < int(acked) {
		t.Fatalf("%d calls after the restart, %d were acknowledged", got, acked)
	}
}

func TestLowSpace(t *testing.T) {
	c := newClock()
	var free, asked atomic.Uint64
	free.Store(2000)
	p := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Now: c.now, MinFreeBytes: 1000, FreeBytes: func() (uint64, error) {
		asked.Add(1)
		return free.Load(), nil
	}}))
	now := ringing(2, 0, "ann", "bob")
	save(t, p, create(now))
	id := call.ID(100)
	for _, step := range []struct {
		free                        uint64
		creations, updates, healthy bool
	}{
		{1000, true, true, true},
		{999, false, true, false},
		{250, false, true, false},
		{249, false, false, false},
		{0, false, false, false},
		{1000, true, true, true},
	} {
		free.Store(step.free)
		c.add(spaceInterval)
		before := asked.Load()
		id++
		expect(t, "creation", p.Save(t.Context(), []call.Transition{create(ringing(id, 0, "ann", "bob"))})[0], step.creations)
		expect(t, "registration", p.Register(t.Context(), call.UserID(id.String())), step.creations)
		tr := with(now, became(1, call.Received))
		err := p.Save(t.Context(), []call.Transition{tr})[0]
		expect(t, "update", err, step.updates)
		if err == nil {
			now = tr.Next
		}
		if err := p.Health(); (err == nil) != step.healthy {
			t.Fatalf("Health with %d bytes: %v", step.free, err)
		}
		if n := asked.Load() - before; n != 1 {
			t.Fatalf("asked for the free space %d times in one second", n)
		}
	}
	save(t, p, with(now, closed))
	free.Store(0)
	c.add(1000 * time.Hour)
	if n, err := p.Sweep(c.now()); err != nil || n != 1 {
		t.Fatalf("a full disk keeps the sweep from making room: %d, %v", n, err)
	}
}

func expect(t *testing.T, what string, err error, ok bool) {
	t.Helper()
	if ok && err != nil || !ok && !errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("%s: %v, want it to succeed: %v", what, err, ok)
	}
}

// TestSpaceNotKnown: a file system that can't say what is free is written to.
func TestSpaceNotKnown(t *testing.T) {
	p := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), FreeBytes: func() (uint64, error) { return 0, errDisk }}))
	save(t, p, create(ringing(2, 0, "ann", "bob")))
	if err := p.Health(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedRecord: a record that can't be read is an error that names the call, and is neither overwritten nor deleted.
func TestDamagedRecord(t *testing.T) {
	for name, damage := range map[string]struct {
		record []byte
		want   error
	}{
		"damaged": {[]byte{recordVersion, 1, 0xff}, errCorrupt},
		"newer":   {[]byte{recordVersion + 1, 1}, call.ErrNewer},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			p := mustOpen(t, Config{FS: fs})
			a := ringing(77, 0, "ann", "bob")
			save(t, p, create(a))
			if err := p.db.Set(recordKey(nil, among, 77), damage.record, nil); err != nil {
				t.Fatal(err)
			}
			_, loadErr := p.Load(t.Context(), 77)
			_, _, listErr := p.UserCalls(t.Context(), "bob", 0, 5)
			scanErr := p.OpenCalls(t.Context(), nil, func(call.ID, time.Time) error { return nil })
			for what, err := range map[string]error{"Load": loadErr, "UserCalls": listErr, "OpenCalls": scanErr} {
				if !errors.Is(err, damage.want) || !strings.Contains(err.Error(), "call 77") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if n := p.Incidents().Corruptions; (n > 0) != errors.Is(damage.want, errCorrupt) {
				t.Errorf("%d corruptions counted", n)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			p = mustOpen(t, Config{FS: fs})
			for what, tr := range map[string]call.Transition{"creation": create(a), "update": with(a, closed)} {
				if err := p.Save(t.Context(), []call.Transition{tr})[0]; !errors.Is(err, call.ErrConflict) {
					t.Errorf("%s over it: %v", what, err)
				}
			}
			left, err := p.get(recordKey(nil, among, 77))
			if err != nil || !bytes.Equal(left, damage.record) {
				t.Errorf("%x is left of it, %v", left, err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPanickingCommit: whatever goes wrong inside a commit, nobody is told that it went right.
func TestPanickingCommit(t *testing.T) {
	fatal := make(chan error, 1)
	p := failing(t, Config{FS: vfs.NewMem(), Fatal: func(err error) { fatal <- err }, Now: panicking(3)})
	var err error
	for id := call.ID(2); err == nil; id += 2 {
		err = p.Save(context.Background(), []call.Transition{create(ringing(id, 0, "ann", "bob"))})[0]
	}
	if !errors.Is(err, call.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if err := <-fatal; !strings.Contains(err.Error(), "no more time") {
		t.Fatalf("Fatal was told %v", err)
	}
}

// panicking is a clock that breaks after some readings.
func panicking(readings int32) func() time.Time {
	var n atomic.Int32
	return func() time.Time {
		if n.Add(1) > readings {
			panic("no more time")
		}
		return epoch.Add(time.Duration(rand.IntN(1000)) * time.Millisecond)
	}
}
