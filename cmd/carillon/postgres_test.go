package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	account "os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// pgServer is a PostgreSQL of the tests' own, on loopback, in a temporary directory.
type pgServer struct {
	bin   string
	port  int
	as    *syscall.Credential // nil: as we are
	made  atomic.Int64        // databases
	input io.Closer           // the server ends when it is closed
}

var errNoPostgres = errors.New("PostgreSQL's server isn't installed: install Debian's package postgresql")

// sharedPostgres starts the one server of this test binary.
var sharedPostgres = sync.OnceValues(startPostgres)

// database makes an empty database and gives its connection string; without a server the test is skipped.
func database(t testing.TB) string {
	t.Helper()
	s, err := sharedPostgres()
	if errors.Is(err, errNoPostgres) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprint("t", s.made.Add(1))
	create := s.command("createdb", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "carillon", name)
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("createdb: %v\n%s", err, out)
	}
	return fmt.Sprintf("postgres://carillon@127.0.0.1:%d/%s?sslmode=disable", s.port, name)
}

// onPostgres is a tune that keeps calls in that database.
func onPostgres(dsn string) func(*Config) {
	return func(cfg *Config) { cfg.Persistence.Engine, cfg.Persistence.DSN = "postgres", dsn }
}

func startPostgres() (*pgServer, error) {
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		programs = append(programs, path)
	}
	if len(programs) == 0 {
		return nil, errNoPostgres
	}
	s := &pgServer{bin: filepath.Dir(programs[0])}
	dir, err := os.MkdirTemp("", "carillon-pg")
	if err != nil {
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
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	initdb := s.command("initdb", "-D", dir+"/data", "-A", "trust", "-U", "carillon", "-N", "-E", "UTF8", "--no-locale")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.start(dir); err != nil {
		return nil, err
	}
	return s, nil
}

// start starts the server below a shell that ends it, and removes its directory, when its input is closed: when the tests
// end, however they do.
func (s *pgServer) start(dir string) error {
	settings := fmt.Sprintf("-c listen_addresses=127.0.0.1 -c port=%d -c unix_socket_directories=%s -c fsync=off -c max_connections=200", s.port, dir)
	guard := exec.Command("/bin/sh", "-c", `"$1/pg_ctl" -s -w -t 60 -D "$2/data" -l "$2/log" -o "$3" start && echo up || cat "$2/log"
read -r _; "$1/pg_ctl" -s -m immediate -D "$2/data" stop; rm -rf "$2"`, "guard", s.bin, dir, settings)
	guard.Dir, guard.SysProcAttr = dir, &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	var err error
	if s.input, err = guard.StdinPipe(); err != nil {
		return err
	}
	out, err := guard.StdoutPipe()
	if err != nil {
		return err
	}
	if err := guard.Start(); err != nil {
		return err
	}
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "up\n" {
		return fmt.Errorf("PostgreSQL does not start: %s%w", said, err)
	}
	return nil
}

func (s *pgServer) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = os.TempDir(), &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// freePort gives a port below those that the system hands out, so that nobody gets it between now and the server's start.
func freePort() (int, error) {
	for range 50 {
		port := 20_000 + rand.IntN(12_000)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no free port between 20000 and 32000")
}
