//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errNoPostgres says what a machine without PostgreSQL needs.
var errNoPostgres = errors.New("PostgreSQL's server is not installed here: apt install postgresql (Debian, Ubuntu), or put its initdb and postgres into PATH")

// How long a private PostgreSQL is waited for.
const (
	postgresStart = 30 * time.Second // a recovery after a crash included
	postgresStop  = 30 * time.Second
)

// PostgresConfig says where a private PostgreSQL lives.
type PostgresConfig struct {
	Dir      string   // holds its data, log and password, and nothing else; made if need be
	Host     string   // that it listens on; empty: 127.0.0.1
	Port     int      // 0: a free one
	Settings []string // name=value, beyond PostgreSQL's own and ours
}

// Postgres is a PostgreSQL server of our own, run from the installed programs. It ends when our process does, however that
// ends. Its methods belong to one goroutine.
type Postgres struct {
	cfg      PostgresConfig
	bin      string
	password string
	as       *syscall.Credential // nil: as ourselves
	process  *guarded
}

// StartPostgres makes the server's data if there are none, and starts it. Errors: errNoPostgres, a port that is in use, or
// what PostgreSQL says.
func StartPostgres(cfg PostgresConfig) (*Postgres, error) {
	p := &Postgres{cfg: cfg}
	if p.cfg.Host == "" {
		p.cfg.Host = "127.0.0.1"
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	p.cfg.Dir = dir
	if p.bin = postgresPrograms(); p.bin == "" {
		return nil, errNoPostgres
	}
	if p.cfg.Port == 0 {
		if p.cfg.Port, err = freePort(p.cfg.Host); err != nil {
			return nil, err
		}
	}
	if err := p.prepare(); err != nil {
		return nil, fmt.Errorf("a private PostgreSQL in %s: %w", dir, err)
	}
	if err := p.Restart(); err != nil {
		return nil, err
	}
	return p, nil
}

// postgresPrograms is the directory with the newest server's programs, empty when there is none.
func postgresPrograms() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) })
	if n := len(found); n > 0 {
		return filepath.Dir(found[n-1])
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return ""
	}
	return filepath.Dir(initdb)
}

// freePort gives a port that is free for TCP and UDP, below those that the system hands out, so that nobody gets it before
// it is used.
func freePort(host string) (int, error) {
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		if portFree("tcp", host, port) == nil && portFree("udp", host, port) == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between 20000 and 32000 on %s", host)
}

// portFree is nil when one can listen there; the error names the port.
func portFree(network, host string, port int) error {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	var l io.Closer
	var err error
	if network == "udp" {
		l, err = net.ListenPacket(network, addr)
	} else {
		l, err = net.Listen(network, addr)
	}
	if err != nil {
		return fmt.Errorf("port %d (%s) on %s is not free: %w", port, strings.ToUpper(network), host, errors.Unwrap(err))
	}
	return l.Close()
}

// prepare makes the data, once. They appear under their name when they are whole.
func (p *Postgres) prepare() error {
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := p.become(); err != nil {
		return err
	}
	password, err := os.ReadFile(p.file("password"))
	if err == nil {
		p.password = string(password)
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p.password = fmt.Sprintf("%x", newSecret())
	if err := p.write("password.new", p.password); err != nil {
		return err
	}
	if err := os.RemoveAll(p.file("data")); err != nil { // of a start that did not get to its end
		return err
	}
	initdb := exec.Command(filepath.Join(p.bin, "initdb"), "-D", p.file("data"), "-U", "carillon", "-A", "scram-sha-256",
		"--pwfile", p.file("password.new"), "-N", "-E", "UTF8", "--no-locale")
	initdb.Dir, initdb.SysProcAttr = p.cfg.Dir, &syscall.SysProcAttr{Credential: p.as}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	if ip := net.ParseIP(p.cfg.Host); ip == nil || !ip.IsLoopback() {
		if err := p.allowNeighbours(); err != nil {
			return err
		}
	}
	return os.Rename(p.file("password.new"), p.file("password"))
}

// become arranges for PostgreSQL to run as another user when we are root, which it refuses to be.
func (p *Postgres) become() error {
	if os.Getuid() != 0 {
		return nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres to run it as: %w", err)
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return err
	}
	p.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for dir := filepath.Dir(p.cfg.Dir); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o001 == 0 {
			return errors.Join(err, fmt.Errorf("PostgreSQL does not run as root but as user postgres, who may not enter %s: take a directory elsewhere, such as /var/tmp/carillon", dir))
		}
	}
	return os.Chown(p.cfg.Dir, int(uid), int(gid))
}

// write makes a file that only the server's user and we can read.
func (p *Postgres) write(name, content string) error {
	if err := os.WriteFile(p.file(name), []byte(content), 0o600); err != nil || p.as == nil {
		return err
	}
	return os.Chown(p.file(name), int(p.as.Uid), int(p.as.Gid))
}

func (p *Postgres) allowNeighbours() error {
	f, err := os.OpenFile(p.file("data/pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("host all all samenet scram-sha-256\n")
	return errors.Join(err, f.Close())
}

func (p *Postgres) file(name string) string { return filepath.Join(p.cfg.Dir, name) }

// DSN is the connection string for the server's database.
func (p *Postgres) DSN() string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("carillon", p.password),
		Host: p.Addr(), Path: "postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Addr is where it listens.
func (p *Postgres) Addr() string { return net.JoinHostPort(p.cfg.Host, strconv.Itoa(p.cfg.Port)) }

// Restart starts the server, after a Stop if it runs, and waits until it lets clients in.
func (p *Postgres) Restart() error {
	if err := p.Stop(); err != nil {
		return err
	}
	if err := portFree("tcp", p.cfg.Host, p.cfg.Port); err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	log, err := os.OpenFile(p.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	program := []string{filepath.Join(p.bin, "postgres"), "-D", p.file("data")}
	for _, s := range append([]string{
		"listen_addresses=" + p.cfg.Host, fmt.Sprint("port=", p.cfg.Port), "unix_socket_directories=", "max_connections=200",
	}, p.cfg.Settings...) {
		program = append(program, "-c", s)
	}
	p.process, err = startGuarded("INT", func(c *exec.Cmd) {
		c.Dir, c.Stdout, c.Stderr, c.SysProcAttr.Credential = p.cfg.Dir, log, log, p.as
	}, program...)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	return p.await()
}

// await waits until the server says in its pid file that it is ready.
func (p *Postgres) await() error {
	late := time.NewTimer(postgresStart)
	defer late.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-p.process.gone:
			return fmt.Errorf("PostgreSQL did not start (%s): %s", p.process.how(), p.lastWords())
		case <-late.C:
			return errors.Join(fmt.Errorf("PostgreSQL was not ready after %v: %s", postgresStart, p.lastWords()), p.Stop())
		case <-look.C:
			if p.ready() {
				return nil
			}
		}
	}
}

func (p *Postgres) ready() bool {
	const pidLine, statusLine = 0, 7 // of postmaster.pid (PostgreSQL's pidfile.h)
	b, err := os.ReadFile(p.file("data/postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	return err == nil && len(lines) > statusLine && lines[pidLine] == strconv.Itoa(p.process.pid) &&
		strings.TrimSpace(lines[statusLine]) == "ready"
}

// lastWords is the end of its log.
func (p *Postgres) lastWords() string {
	log, _ := os.ReadFile(p.file("log"))
	return string(log[max(0, len(log)-2000):])
}

// Stop is a fast shutdown: clients are cut off, what they have committed is kept. A second one does nothing.
func (p *Postgres) Stop() error {
	if p.process == nil {
		return nil
	}
	return p.process.end(syscall.SIGINT, postgresStop)
}

// Kill is a kill -9 of the server's main process; the others notice, and it waits for them.
func (p *Postgres) Kill() error { return p.process.end(syscall.SIGKILL, postgresStop) }
