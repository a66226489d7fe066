package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is one node of our own. Its process may come and go.
type server struct {
	name         string
	place        place
	command, env []string

	mu      sync.Mutex
	process *process
	died    time.Time // when the last process before it ended
	ours    bool      // what becomes of the process is our doing
}

func (s *server) present() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// expect says beforehand that the process ends by our doing.
func (s *server) expect() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ours = true
	return s.process
}

func (s *server) expected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ours
}

// ready waits until it serves.
func (s *server) ready(ctx context.Context) error {
	if err := s.present().ready(ctx, s.place.admin); err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	return nil
}

// start gives the server a process, and watches over it until it ends.
func (t *target) start(s *server) error {
	p, err := startProcess(s.command, s.env)
	if err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	s.mu.Lock()
	s.process, s.ours = p, false
	s.mu.Unlock()
	t.meter.add(p.pid)
	t.watching.Go(func() {
		<-p.gone
		t.meter.drop(p.pid, p.used)
		s.mu.Lock()
		s.died = time.Now()
		s.mu.Unlock()
		if s.expected() {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.notice != nil {
			t.notice(fmt.Sprintf("%s has ended (%s)", s.name, p.how()))
		}
	})
	return nil
}

// ended is when servers of our own have ended, by their addresses.
func (t *target) ended() map[string]time.Time {
	out := map[string]time.Time{}
	for _, s := range t.own {
		s.mu.Lock()
		out[s.place.client] = s.died
		s.mu.Unlock()
	}
	return out
}

// down reports whether the address is one of a server of ours that has ended.
func (t *target) down(addr string) bool {
	for _, s := range t.own {
		if s.place.client != addr {
			continue
		}
		select {
		case <-s.present().gone:
			return true
		default:
		}
	}
	return false
}

// introduce says which processes the servers are, so that one can be killed.
func (t *target) introduce(say func(format string, args ...any)) {
	for _, s := range t.own {
		say("%s is process %d, at %s", s.name, s.present().pid, s.place.client)
	}
}

// onEnd has say called whenever a server ends that we have not ended. nil: not any more.
func (t *target) onEnd(say func(what string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notice = say
}

// kill is a kill -9.
func (t *target) kill(s *server) {
	p := s.expect()
	_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended just now
	<-p.gone
}

// retire stops a server for good. Had it ended before, that is an error, unless it was our doing; and in a cluster somebody else
// may have killed it.
func (t *target) retire(s *server) error {
	was := s.expected()
	p := s.expect()
	if p == nil {
		return nil
	}
	select {
	case <-p.gone:
		if was || len(t.own) > 1 && p.killed() {
			return nil
		}
	default:
		_ = syscall.Kill(p.pid, syscall.SIGCONT) // it may stand still
	}
	if err := p.stop(stopWithin); err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	return nil
}

// Bounds of a PostgreSQL of our own.
const (
	databaseWithin = time.Minute // its data have to be made
	databaseLook   = 20 * time.Millisecond
)

// errNoPostgres is why servers cannot be started that need one.
var errNoPostgres = errors.New("there is no PostgreSQL for the servers")

// startPostgres starts a private PostgreSQL by way of the servers' program, and gives its DSN.
func (t *target) startPostgres(ctx context.Context, cpus string) (string, error) {
	command := pinned(cpus, []string{t.binary, "postgres", "--dir", filepath.Join(t.dir, "postgres")})
	p, err := startProcess(command, serverEnvironment(t.dir))
	if err != nil {
		return "", err
	}
	t.database = p
	ctx, cancel := context.WithTimeout(ctx, databaseWithin)
	defer cancel()
	for {
		if dsn, pid, ok := databaseLines(p.log.tail()); ok {
			t.meter.add(pid)
			return dsn, nil
		}
		select {
		case <-p.gone:
			t.database = nil
			return "", fmt.Errorf("%w: %s", errNoPostgres, strings.TrimSpace(p.log.tail()))
		case <-ctx.Done():
			return "", errors.New("a PostgreSQL for the servers is not ready: " + p.log.tail())
		case <-time.After(databaseLook):
		}
	}
}

// databaseLines finds in what carillon postgres writes how to reach the server, and its process.
func databaseLines(out string) (dsn string, pid int, ok bool) {
	for line := range strings.Lines(out) {
		if !strings.HasSuffix(line, "\n") {
			continue // it is being written
		}
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name {
		case "dsn":
			dsn = value
		case "process":
			pid, _ = strconv.Atoi(value)
		}
	}
	return dsn, pid, dsn != "" && pid > 0
}
