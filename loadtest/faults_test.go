//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// openDir is a directory that PostgreSQL's user may enter too.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "loadtest-test-*")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// play runs a scenario against servers of our own; it must pass.
func play(t *testing.T, spawn, scenario string) *report {
	t.Helper()
	if testing.Short() {
		t.Skip("builds cmd/carillon and runs it")
	}
	dir := openDir(t)
	file := filepath.Join(dir, "faults.yaml")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, notes strings.Builder
	code, err := command(t.Context(), []string{"-scenario", file, "-spawn", spawn, "-data", dir, "-out", filepath.Join(dir, "out")}, &out, &notes)
	t.Log(notes.String(), out.String())
	if err != nil && strings.Contains(err.Error(), "not installed") {
		t.Skip(err)
	}
	if err != nil || code != exitPassed {
		t.Fatalf("exit code %d: %v", code, err)
	}
	r := onlyReport(t, filepath.Join(dir, "out"))
	if left, err := filepath.Glob(filepath.Join(dir, "loadtest-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return r
}

// A node of three is killed under calls and comes back: all calls come out right, and all devices are back.
func TestNodeKilled(t *testing.T) {
	r := play(t, "3", `
users: 60
rate: 25
duration: 4s
ring: 300ms
timeout: 2s
patience: 1m
fault_patience: 2m # a slow machine is no fault of the service's
fault_late: 1m
mix: {answered: 50, rejected: 10, cancelled: 10, timed-out: 20, group: 10}
audit_calls: 100
faults: [{at: 0s, do: kill, node: 2, back: 1s}]
`)
	if r.Calls.Right != 100 || r.Audit.Calls != 100 || r.Faults.Touched != 100 {
		t.Errorf("%+v, %+v", r.Calls, r.Faults)
	}
	if len(r.Moments) != 2 || r.Moments[0].What != "n2 is killed" || r.Moments[1].What != "n2 serves again" {
		t.Errorf("moments %v", r.Moments)
	}
	if r.Faults.Reconnects == 0 || len(r.Faults.Returns) == 0 || r.Faults.Returns[0].Devices == 0 || r.Servers.CPU <= 0 {
		t.Errorf("%+v", r.Faults)
	}
}

// The only server is killed and comes back, and with it all devices.
func TestAllComeBack(t *testing.T) {
	r := play(t, "1", `
users: 60
duration: 1s
faults: [{at: 0s, do: restart-all, back: 100ms}]
`)
	if r.Faults.Reconnects < 60 || r.Calls.Lost != 0 || r.Faults.slowest().Devices < 60 || r.Faults.slowest().Seconds <= 0 {
		t.Errorf("%+v", r.Faults)
	}
}

// A server that somebody else ends is noticed. In a cluster it may be killed; all else, and alone, is an error.
func TestServerEnds(t *testing.T) {
	start := func(nodes int, command ...string) (*target, *server, chan string) {
		t.Helper()
		told := make(chan string, 1)
		s := &server{name: "n1", command: command, env: os.Environ()}
		own := &target{own: []*server{s}}
		for range nodes - 1 {
			own.own = append(own.own, &server{})
		}
		own.onEnd(func(what string) { told <- what })
		if err := own.start(s); err != nil {
			t.Fatal(err)
		}
		return own, s, told
	}
	for nodes, want := range map[int]string{1: "has ended by itself", 2: ""} {
		own, s, told := start(nodes, "sleep", "60")
		if err := syscall.Kill(s.present().pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if what := <-told; what != "n1 has ended (killed)" {
			t.Errorf("told %q", what)
		}
		if err := own.close(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d nodes: error %v, want %q", nodes, err, want)
		}
	}
	own, _, told := start(2, "sh", "-c", "echo panic; exit 2")
	if what := <-told; what != "n1 has ended (exit status 2)" {
		t.Errorf("told %q", what)
	}
	if err := own.close(); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("error %v", err)
	}
	own, s, told := start(1, "sleep", "60")
	own.kill(s)
	if err := own.close(); err != nil || len(told) > 0 {
		t.Errorf("error %v, told %d", err, len(told))
	}
	if own.meter.cpu() != 0 && own.meter.ended == 0 || len(own.meter.pids) != 0 {
		t.Errorf("%v", own.meter.pids)
	}
}

func TestDatabaseLines(t *testing.T) {
	dsn, pid, ok := databaseLines("a word before\ndsn postgres://a:b@127.0.0.1:7/postgres\nprocess 17\n")
	if !ok || dsn != "postgres://a:b@127.0.0.1:7/postgres" || pid != 17 {
		t.Errorf("%q %d %v", dsn, pid, ok)
	}
	for _, out := range []string{"", "dsn x\nprocess 1", "dsn x\n", "process 7\n", "dsn x\nprocess y\n"} {
		if _, _, ok := databaseLines(out); ok {
			t.Errorf("%q says all", out)
		}
	}
}

func TestWeather(t *testing.T) {
	w := &weather{}
	if w.stormy(noon) {
		t.Error("it begins with a storm")
	}
	w.sign(noon)
	w.sign(noon.Add(-time.Hour))
	if !w.stormy(noon.Add(calm-1)) || w.stormy(noon.Add(calm)) || !w.fair().Before(noon) {
		t.Error("a lost connection makes a storm of another length")
	}
	w.fault(noon.Add(time.Minute))
	if !w.stormy(noon.Add(time.Minute)) || !w.fair().Equal(noon.Add(time.Minute+detection)) {
		t.Errorf("fair at %v", w.fair())
	}
	if !(&weather{always: true}).stormy(noon) {
		t.Error("what is not seen is no storm")
	}
}

func TestGrowth(t *testing.T) {
	var all []second
	for i := range 8 {
		all = append(all, second{Memory: int64(100 + 10*i)})
	}
	a := aftermath{}
	a.FirstMem, a.LastMem = quarters(all)
	if a.FirstMem != 105 || a.LastMem != 165 || a.growth() < 57 || a.growth() > 58 {
		t.Errorf("%+v %v", a, a.growth())
	}
	if a.FirstMem, a.LastMem = quarters(all[:3]); a.growth() != 0 {
		t.Errorf("%+v", a)
	}
	r := report{Scenario: scenario{MaxGrowth: 50}, Faults: aftermath{FirstMem: 100, LastMem: 151}}
	if r.judge(); len(r.Verdict) != 1 || !strings.Contains(r.Verdict[0], "max_growth") {
		t.Errorf("%v", r.Verdict)
	}
}
