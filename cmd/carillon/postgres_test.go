//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"carillon/persistence"
)

// postgresHere installs PostgreSQL where that is allowed, once; the error says why it can't be had.
var postgresHere = sync.OnceValue(func() error {
	if postgresPrograms() != "" {
		return nil
	}
	if err := install("postgresql"); err != nil {
		return errors.Join(errNoPostgres, err)
	}
	return nil
})

// install installs a Debian package, as root.
func install(name string) error {
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		return fmt.Errorf("%s can't be installed by the test: it takes root and apt-get", name)
	}
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", name}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// openDir is a directory of the test that other users may enter, as PostgreSQL's must when we are root.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "carillon")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newPostgres starts a server for the test, or skips the test where there can't be one.
func newPostgres(t testing.TB, cfg PostgresConfig) *Postgres {
	t.Helper()
	if err := postgresHere(); err != nil {
		t.Skip(err)
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(openDir(t), "postgres")
	}
	p, err := StartPostgres(hasty(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// hasty: the disk of a test's server need not be waited for, as the machine does not crash.
func hasty(cfg PostgresConfig) PostgresConfig {
	cfg.Settings = append(cfg.Settings, "fsync=off", "autovacuum=off")
	return cfg
}

// shared is the one server of those tests that only want a database.
var shared struct {
	once sync.Once
	dir  string
	s    *Postgres
	why  error
	made atomic.Int64 // databases
}

// testRun ends the shared server after all tests.
type testRun struct{ *testing.M }

// Run is goleak.TestingM's.
func (r testRun) Run() int {
	code := r.M.Run()
	if shared.s != nil {
		if err := shared.s.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	return code
}

// database makes an empty database and gives its connection string; without a server the test is skipped.
func database(t testing.TB) string {
	t.Helper()
	if err := postgresHere(); err != nil {
		t.Skip(err)
	}
	shared.once.Do(func() {
		if shared.dir, shared.why = os.MkdirTemp("", "carillon"); shared.why == nil {
			shared.s, shared.why = StartPostgres(hasty(PostgresConfig{Dir: shared.dir}))
		}
	})
	if shared.why != nil {
		t.Fatal(shared.why)
	}
	s, name := shared.s, fmt.Sprint("t", shared.made.Add(1))
	create := exec.Command(filepath.Join(s.bin, "createdb"), "-h", s.cfg.Host, "-p", strconv.Itoa(s.cfg.Port), "-U", "carillon", name)
	create.Env = append(os.Environ(), "PGPASSWORD="+s.password)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("createdb: %v\n%s", err, out)
	}
	return strings.Replace(s.DSN(), "/postgres?", "/"+name+"?", 1)
}

// onPostgres is a tune that keeps calls in that database.
func onPostgres(dsn string) func(*Config) {
	return func(cfg *Config) { cfg.Persistence.Engine, cfg.Persistence.DSN = "postgres", dsn }
}

func TestPrivatePostgres(t *testing.T) {
	t.Parallel()
	p := newPostgres(t, PostgresConfig{})
	serves := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := persistence.Migrate(ctx, p.DSN()); err != nil {
			t.Fatal(err)
		}
	}
	serves()
	if wrong := strings.Replace(p.DSN(), p.password, "guess", 1); persistence.Migrate(context.Background(), wrong) == nil {
		t.Error("anybody may log in")
	}
	before := p.process.pid
	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	if p.process.pid == before {
		t.Error("it was not started anew")
	}
	serves()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	serves()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	again := newPostgres(t, p.cfg) // the next process, on what is there
	if again.DSN() != p.DSN() {
		t.Errorf("it is %s after a start and was %s", again.DSN(), p.DSN())
	}
}

func TestPrivatePostgresNamesThePort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := postgresHere(); err != nil {
		t.Skip(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_, err = StartPostgres(PostgresConfig{Dir: filepath.Join(openDir(t), "postgres"), Port: port})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint("port ", port)) {
		t.Errorf("started on a port in use: %v", err)
	}
}

// TestGuardedEndsWithItsInput: our death, whatever its manner, ends the shell's input.
func TestGuardedEndsWithItsInput(t *testing.T) {
	t.Parallel()
	g, err := startGuarded("KILL", nil, "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(g.pid, 0); err != nil {
		t.Fatalf("it does not run: %v", err)
	}
	if err := g.input.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.gone:
	case <-time.After(patience):
		t.Error("it runs on")
	}
}

func TestGuardedSaysHowItEnded(t *testing.T) {
	t.Parallel()
	for name, program := range map[string][]string{"terminated": {"sleep", "600"}, "it ended": {"true"}, "exit status 3": {"sh", "-c", "exit 3"}} {
		g, err := startGuarded("KILL", nil, program...)
		if err != nil {
			t.Fatal(err)
		}
		if name == "terminated" {
			g.signal(syscall.SIGTERM)
		}
		select {
		case <-g.gone:
		case <-time.After(patience):
			t.Fatalf("%v does not end", program)
		}
		if g.how() != name {
			t.Errorf("%v: %s, want %s", program, g.how(), name)
		}
	}
}
