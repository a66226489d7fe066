package persistence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	account "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL of the tests' own, in a temporary directory.
type server struct {
	dir, bin string
	port     int
	flags    []string
	as       *syscall.Credential // nil: as we are

	guard *exec.Cmd // a shell that ends the server when its input is closed, so also when the tests die
	input io.Closer
}

// shared is the one server of this test binary, started when a test first asks for it.
var shared struct {
	once sync.Once
	s    *server
	why  error // it can't be had

	mu     sync.Mutex // making databases
	models map[bool]string
	made   int
}

func init() { shared.models = make(map[bool]string) }

var errNoPostgres = errors.New("PostgreSQL's server isn't installed: install Debian's package postgresql, or put initdb and postgres on the PATH")

// pgBin finds the server's programs, installing them when that is allowed.
var pgBin = sync.OnceValues(func() (string, error) {
	if dir := installed(); dir != "" {
		return dir, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Getuid() != 0 {
		return "", errNoPostgres
	}
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "postgresql"}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w; apt-get %s: %w: %s", errNoPostgres, args[0], err, out)
		}
	}
	if dir := installed(); dir != "" {
		return dir, nil
	}
	return "", errNoPostgres
})

func installed() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(dirs, func(a, b string) int { return len(a) - len(b) })
	if n := len(dirs); n > 0 {
		return filepath.Dir(dirs[n-1])
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

// newServer makes a server's directory; flags are settings such as fsync=off.
func newServer(flags ...string) (*server, error) {
	bin, err := pgBin()
	if err != nil {
		return nil, err
	}
	s := &server{bin: bin, flags: flags}
	if s.dir, err = os.MkdirTemp("", "carillon"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 { // initdb refuses root
		who, err := account.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(who.Uid)
		gid, _ := strconv.Atoi(who.Gid)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return nil, err
		}
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	initdb := s.command("initdb", "-D", s.dir+"/data", "-A", "trust", "-U", "carillon", "-N", "-E", "UTF8", "--no-locale")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.start(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	return cmd
}

// freePort gives a port below those that the system hands out, so that nobody gets it between now and the server's start.
func freePort() (int, error) {
	for range 50 {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port between 20000 and 32000")
}

// start starts the server and waits until it lets somebody in. After a crash the remains of the last one may be in the way
// for a moment, so it is tried again.
func (s *server) start() error {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = s.startOnce(); err == nil {
			return nil
		}
		s.stop()
	}
	log, _ := os.ReadFile(s.dir + "/log")
	return fmt.Errorf("%w: %s", err, log)
}

func (s *server) startOnce() error {
	locks, _ := filepath.Glob(s.dir + "/.s.PGSQL.*")
	for _, l := range locks { // a crash leaves them, and their process's number may be somebody else's by now
		_ = os.Remove(l)
	}
	flags := append([]string{
		"listen_addresses=127.0.0.1", fmt.Sprint("port=", s.port), "unix_socket_directories=" + s.dir, "max_connections=60", "shared_buffers=64MB",
	}, s.flags...)
	script := fmt.Sprintf("%s/postgres -D %s/data -c %s >>%s/log 2>&1 & p=$!; read -r _; while kill -INT $p 2>/dev/null; do sleep 0.05; done; wait $p", s.bin, s.dir, strings.Join(flags, " -c "), s.dir)
	s.guard = exec.Command("/bin/sh", "-c", script)
	s.guard.Dir = s.dir
	s.guard.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	in, err := s.guard.StdinPipe()
	if err != nil {
		return err
	}
	s.input = in
	began := time.Now()
	if err := s.guard.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.dsn("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if ctx.Err() != nil {
			return err
		}
		if !s.runs() && time.Since(began) > 2*time.Second {
			return err // it has given up
		}
		_ = pause(ctx, 10*time.Millisecond)
	}
}

// pid is the process number of the server's main process, 0 when there is none.
func (s *server) pid() int {
	b, err := os.ReadFile(s.dir + "/data/postmaster.pid")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
}

// runs reports whether there is a main process; a crash leaves its number.
func (s *server) runs() bool {
	pid := s.pid()
	return pid != 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// crash kills the main process; the others notice and end.
func (s *server) crash() error {
	pid := s.pid()
	if pid == 0 {
		return errors.New("the server doesn't run")
	}
	err := syscall.Kill(pid, syscall.SIGKILL)
	s.stop()
	return err
}

// stop ends the server and waits for it.
func (s *server) stop() {
	if s.guard == nil {
		return
	}
	_ = s.input.Close()
	_ = s.guard.Wait()
	s.guard = nil
}

func (s *server) remove() {
	s.stop()
	_ = os.RemoveAll(s.dir)
}

func (s *server) dsn(database string) string {
	return fmt.Sprintf("postgres://carillon@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// through is the connection string for a database by way of a relay.
func (s *server) through(addr, dsn string) string {
	return strings.Replace(dsn, fmt.Sprint("127.0.0.1:", s.port), addr, 1)
}

func (s *server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.dsn("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// sharedServer gives the server of this test binary, or skips the test when there can't be one.
func sharedServer(t testing.TB) *server {
	t.Helper()
	shared.once.Do(func() { shared.s, shared.why = newServer("fsync=off", "autovacuum=off") })
	if errors.Is(shared.why, errNoPostgres) {
		t.Skip(shared.why)
	}
	if shared.why != nil {
		t.Fatal(shared.why)
	}
	return shared.s
}

// database makes a database with the schema, on the shared server.
func database(t testing.TB, plain bool) string {
	t.Helper()
	s := sharedServer(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.models[plain] == "" {
		model := fmt.Sprintf("model_%t", plain)
		if err := s.exec("create database " + model); err != nil {
			t.Fatal(err)
		}
		c := Config{DSN: s.dsn(model), Plain: plain, Logger: quiet}.withDefaults()
		if err := c.migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		shared.models[plain] = model
	}
	shared.made++
	name := fmt.Sprint("t", shared.made)
	if err := s.exec("create database " + name + " template " + shared.models[plain]); err != nil {
		t.Fatal(err)
	}
	return s.dsn(name)
}

// emptyDatabase makes a database without the schema.
func emptyDatabase(t testing.TB) string {
	t.Helper()
	s := sharedServer(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.made++
	name := fmt.Sprint("t", shared.made)
	if err := s.exec("create database " + name); err != nil {
		t.Fatal(err)
	}
	return s.dsn(name)
}
