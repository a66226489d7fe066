package persistence

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"carillon/actors/call"
)

func TestNothingIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	p := mustOpen(t, Config{Dir: t.TempDir()})
	for id := call.ID(1); id <= 20; id++ {
		if err := playCall(p, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

// TestOnDisk: a real directory, made when missing, for the owner only; what was saved is there after a restart.
func TestOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	p := mustOpen(t, Config{Dir: dir})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	a := ringing(7, 0, "ann", "bob")
	save(t, p, create(a))
	if err := p.Register(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if err := p.Health(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = closing(t, mustOpen(t, Config{Dir: dir}))
	same(t, "after the restart", load(t, p, 7), stored(a))
	known, err := p.Known(t.Context(), []call.UserID{"ann", "bob"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "users after the restart", known, []bool{true, false})
}

// mustNotOpen fails unless Open gives an error that wraps want, if any, and says all the parts.
func mustNotOpen(t *testing.T, c Config, want error, parts ...string) {
	t.Helper()
	c.Logger = quiet
	p, err := Open(c)
	if err == nil {
		_ = p.Close()
		t.Fatal("it opens")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Fatalf("%q doesn't say %q", err, part)
		}
	}
	if want != nil && !errors.Is(err, want) {
		t.Fatalf("%v isn't %v", err, want)
	}
}

func TestInUseHere(t *testing.T) {
	dir := t.TempDir()
	closing(t, mustOpen(t, Config{Dir: dir}))
	mustNotOpen(t, Config{Dir: dir}, nil, dir, "in use by another carillon process")
}

// holdVariable makes TestInUseElsewhere, run in another process, hold the directory that it names.
const holdVariable = "CARILLON_TEST_HOLD"

func TestInUseElsewhere(t *testing.T) {
	if dir := os.Getenv(holdVariable); dir != "" {
		p := mustOpen(t, Config{Dir: dir})
		fmt.Println("held")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		_ = p.Close()
		return
	}
	dir := t.TempDir()
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInUseElsewhere$")
	other.Env = append(os.Environ(), holdVariable+"="+dir)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	mustNotOpen(t, Config{Dir: dir}, nil, dir, "in use by another carillon process")
	if err := errors.Join(in.Close(), other.Wait()); err != nil {
		t.Fatal(err)
	}
	closing(t, mustOpen(t, Config{Dir: dir}))
}

func TestNoDirectory(t *testing.T) {
	mustNotOpen(t, Config{}, nil, "persistence.dir", "directory is needed")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustNotOpen(t, Config{Dir: file}, nil, file)
}

// edit changes a closed store behind Carillon's back.
func edit(t *testing.T, fs vfs.FS, f func(*pebble.DB) error) {
	t.Helper()
	db, err := pebble.Open("data", &pebble.Options{FS: fs, FormatMajorVersion: pebbleFormat, Logger: newAlarm(Config{Logger: quiet})})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f(db), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFormat(t *testing.T) {
	t.Run("newer", func(t *testing.T) {
		fs := vfs.NewMem()
		edit(t, fs, func(db *pebble.DB) error { return writeFormat(db, formatVersion+1) })
		mustNotOpen(t, Config{Dir: "data", FS: fs}, call.ErrNewer, "persistence.dir data", "format 3", "up to 2")
	})
	t.Run("something else", func(t *testing.T) {
		fs := vfs.NewMem()
		edit(t, fs, func(db *pebble.DB) error { return db.Set([]byte("k"), nil, pebble.Sync) })
		mustNotOpen(t, Config{Dir: "data", FS: fs}, nil, "didn't write")
	})
	t.Run("Pebble's own format is pinned", func(t *testing.T) {
		p := closing(t, mustOpen(t, Config{FS: vfs.NewMem()}))
		same(t, "format", p.db.FormatMajorVersion(), pebbleFormat)
	})
}

func TestMigration(t *testing.T) {
	t.Run("format 1 had live calls on the disk", func(t *testing.T) {
		fs := vfs.NewMem()
		p := mustOpen(t, Config{FS: fs})
		save(t, p, create(ringing(7, 0, "ann", "bob")))
		same(t, "closing", p.Close(), error(nil))
		edit(t, fs, func(db *pebble.DB) error {
			row := append([]byte{'p'}, rowKey(nil, "eve", 0, 7)[1:]...)
			return errors.Join(writeFormat(db, 1), db.Set(row, nil, pebble.Sync))
		})
		p = closing(t, mustOpen(t, Config{FS: fs}))
		consistent(t, p)
		same(t, "bob's pending", pendingFor(t, p, "bob"), []call.ID{7})
		same(t, "eve's pending", pendingFor(t, p, "eve"), []call.ID{})
	})
	t.Run("older without a way", func(t *testing.T) {
		fs := vfs.NewMem()
		edit(t, fs, func(db *pebble.DB) error {
			if err := writeFormat(db, 1); err != nil {
				return err
			}
			if err := settle(db, 2, nil); err == nil || !strings.Contains(err.Error(), "format 1") {
				t.Errorf("got %v", err)
			}
			return nil
		})
	})
	t.Run("older, in two steps, the second interrupted once", func(t *testing.T) {
		fs := vfs.NewMem()
		var ran []uint64
		broken := true
		steps := map[uint64]migration{
			1: func(*pebble.DB) error { ran = append(ran, 1); return nil },
			2: func(*pebble.DB) error {
				ran = append(ran, 2)
				if broken {
					broken = false
					return errDisk
				}
				return nil
			},
		}
		edit(t, fs, func(db *pebble.DB) error {
			if err := writeFormat(db, 1); err != nil {
				return err
			}
			if err := settle(db, 3, steps); !errors.Is(err, errDisk) {
				t.Errorf("got %v", err)
			}
			return settle(db, 3, steps)
		})
		same(t, "steps", ran, []uint64{1, 2, 2})
		edit(t, fs, func(db *pebble.DB) error {
			v, err := readFormat(db)
			same(t, "format", v, uint64(3))
			return err
		})
	})
}

// TestFailingOpen: a disk that fails while the store is opened is Open's error, and Fatal's business not at all.
func TestFailingOpen(t *testing.T) {
	for _, f := range []*fault{{"sync", "MANIFEST", syncs, errDisk}, {"sync", ".log", syncs, errDisk}, {"write", "", writes, errDisk}} {
		t.Run(f.name+" "+f.file, func(t *testing.T) {
			d := newDisk()
			d.fail(f)
			fatal := func(err error) { t.Errorf("Fatal is told %v", err) }
			mustNotOpen(t, Config{Dir: "data", FS: d, Fatal: fatal}, nil, "persistence.dir data", errDisk.Error())
		})
	}
}
