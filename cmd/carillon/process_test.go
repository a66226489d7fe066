package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carillon/transport/wire"
)

// TestProcesses is about the real program, built once, in processes of its own.
func TestProcesses(t *testing.T) {
	t.Parallel()
	p := build(t)
	for name, test := range map[string]func(*testing.T, program){
		"stops gracefully":          stopsGracefully,
		"stops though clients stay": stopsThoughClientsStay,
		"one process per directory": oneProcessPerDirectory,
		"port in use":               portInUse,
		"paused":                    pausedProcess,
		"killed under load":         killedUnderLoad,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// program is the path of the built program.
type program string

// build builds the program. With the race detector on in the tests it is on in the program.
func build(t *testing.T, flags ...string) program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "carillon")
	args := append([]string{"build", "-o", file}, flags...)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return program(file)
}

// server is `carillon serve` in a process of its own.
type server struct {
	t      testing.TB
	cmd    *exec.Cmd
	addr   string
	stderr bytes.Buffer
	out    bytes.Buffer // what it printed after it was up
	read   chan struct{}
	once   sync.Once
	exit   error
}

// serve is the command that serves, with settings in its environment, "NAME=value" without the prefix, and none of ours.
func (p program) serve(dir, listen string, settings ...string) *exec.Cmd {
	cmd := exec.Command(string(p), "serve", "--listen", listen, "--admin", "", "--data", filepath.Join(dir, "data"), "--log-level", "warn")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "CARILLON_PERSISTENCE_MIN_FREE_MIB=1", "CARILLON_LIMITS_TARGET_WAIT=0s"}
	for _, s := range settings {
		cmd.Env = append(cmd.Env, "CARILLON_"+s)
	}
	return cmd
}

var clientsLine = regexp.MustCompile(`clients\s+(\S+)`)

// start runs the program until the end of the test and waits until it serves.
func (p program) start(t testing.TB, dir, listen string, settings ...string) *server {
	t.Helper()
	s := &server{t: t, cmd: p.serve(dir, listen, settings...), read: make(chan struct{})}
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.wait() // killed, or gone before
	})
	lines := bufio.NewScanner(stdout)
	for s.addr == "" {
		if !lines.Scan() {
			close(s.read)
			t.Fatalf("the server did not come up: %v\n%s", s.wait(), &s.stderr)
		}
		if m := clientsLine.FindStringSubmatch(lines.Text()); m != nil {
			s.addr = m[1]
		}
	}
	go func() {
		defer close(s.read)
		for lines.Scan() {
			s.out.WriteString(lines.Text() + "\n")
		}
	}()
	return s
}

// wait waits for the end of the process.
func (s *server) wait() error {
	s.once.Do(func() {
		<-s.read
		s.exit = s.cmd.Wait()
	})
	return s.exit
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%v: %v", sig, err)
	}
}

// people is a cast for a server process.
func (s *server) people(t testing.TB) *cast { return &cast{t: t, on: at(s.addr)} }

func stopsGracefully(t *testing.T, p program) {
	s := p.start(t, t.TempDir(), "127.0.0.1:0")
	k := s.people(t)
	a, b := k.join("a", "a1"), k.join("b", "b1")
	id := a.must(&wire.CallInvite{Invitees: []string{"b"}}).GetCall().GetCallId()
	b.skip(id)
	s.signal(syscall.SIGTERM)
	b.expect(`GoAway`)
	b.must(&wire.CallAccept{CallId: id}) // what is under way is finished
	a.skip(id)
	a.vanish()
	b.vanish()
	if err := s.wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, &s.stderr)
	}
	if !strings.Contains(s.out.String(), "Stopped") {
		t.Errorf("it says no goodbye: %q", s.out.String())
	}
}

func stopsThoughClientsStay(t *testing.T, p program) {
	s := p.start(t, t.TempDir(), "127.0.0.1:0", "DRAIN_TIMEOUT=200ms")
	a := s.people(t).join("a", "a1")
	s.signal(syscall.SIGTERM)
	a.expect(`GoAway`)
	if code := a.ends(); code != wire.CloseGoingAway {
		t.Errorf("closed with %d, want %d", code, wire.CloseGoingAway)
	}
	if err := s.wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, &s.stderr)
	}
}

func oneProcessPerDirectory(t *testing.T, p program) {
	dir := t.TempDir()
	s := p.start(t, dir, "127.0.0.1:0")
	out, err := p.serve(dir, "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "persistence.dir") || !strings.Contains(string(out), filepath.Join(dir, "data")) {
		t.Errorf("a second process on the same directory: %v\n%s", err, out)
	}
	s.people(t).join("a", "a1") // the first one has not suffered
}

func portInUse(t *testing.T, p program) {
	s := p.start(t, t.TempDir(), "127.0.0.1:0")
	out, err := p.serve(t.TempDir(), s.addr).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "transport.listen") || !strings.Contains(string(out), s.addr) {
		t.Errorf("a second process on %s: %v\n%s", s.addr, err, out)
	}
}

// pausedProcess: a process that stood still for longer than the heartbeat timeout has not heard its clients, but they have
// not been silent: the call that rang still rings when they come back.
func pausedProcess(t *testing.T, p program) {
	s := p.start(t, t.TempDir(), "127.0.0.1:0", "HEARTBEAT_TIMEOUT=3s", "HEARTBEAT_INTERVAL=500ms")
	k := s.people(t)
	k.beat = 500 * time.Millisecond
	a, b := k.join("a", "a1"), k.join("b", "b1")
	id := a.must(&wire.CallInvite{Invitees: []string{"b"}}).GetCall().GetCallId()
	b.skip(id)
	a.skip(id)
	s.signal(syscall.SIGSTOP)
	time.Sleep(5 * time.Second)
	s.signal(syscall.SIGCONT)
	a, b = k.join("a", "a1"), k.join("b", "b1") // QUIC has given the old connections up
	b.skip(id)
	b.must(&wire.CallAccept{CallId: id})
	a.skip(id)
	r := a.must(&wire.QueryCallInvitationList{})
	if calls := r.GetList().GetCalls(); len(calls) != 1 || calls[0].GetVersion() != 2 || calls[0].GetEndReason() != wire.Reason_REASON_ALL_ANSWERED {
		t.Errorf("after the standstill: %v", calls)
	}
}
