package persistence

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// fault says which operations on which files fail, and with what.
type fault struct {
	name string
	file string // part of the path
	ops  []errorfs.OpKind
	err  error
}

var (
	syncs  = []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}
	writes = []errorfs.OpKind{errorfs.OpFileWrite}
)

// disk is a file system in memory whose log can be held up and which can be made to fail.
type disk struct {
	*errorfs.FS
	mem *vfs.MemFS

	mu    sync.Mutex
	fault *fault
	held  chan struct{} // a sync of the log waits until it is closed
	at    chan struct{} // of capacity 1: a sync has come to held
}

func newDisk() *disk {
	d := &disk{mem: vfs.NewCrashableMem(), at: make(chan struct{}, 1)}
	d.FS = errorfs.Wrap(d.mem, errorfs.InjectorFunc(d.operate))
	return d
}

func (d *disk) operate(op errorfs.Op) error {
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if held != nil && oneOf(syncs, op.Kind) && strings.HasSuffix(op.Path, ".log") {
		select {
		case d.at <- struct{}{}:
		default:
		}
		<-held
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.fault; f != nil && oneOf(f.ops, op.Kind) && strings.Contains(op.Path, f.file) {
		return f.err
	}
	return nil
}

func oneOf(kinds []errorfs.OpKind, kind errorfs.OpKind) bool {
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// hold makes the next sync of the log wait; release lets it, and all after it, go on.
func (d *disk) hold() (release func()) {
	held := make(chan struct{})
	d.mu.Lock()
	d.held = held
	d.mu.Unlock()
	return sync.OnceFunc(func() {
		d.mu.Lock()
		d.held = nil
		d.mu.Unlock()
		close(held)
	})
}

// reached waits until a sync is held up.
func (d *disk) reached(t testing.TB) {
	t.Helper()
	select {
	case <-d.at:
	case <-time.After(patience):
		t.Fatal("the log isn't synced")
	}
}

func (d *disk) fail(f *fault) {
	d.mu.Lock()
	d.fault = f
	d.mu.Unlock()
}

// patience is how long a test waits for what must happen before it says that it doesn't.
const patience = 20 * time.Second

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, met func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !met(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the condition isn't met")
		}
	}
}
