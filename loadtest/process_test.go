//go:build unix

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestProcess(t *testing.T) {
	p, err := startProcess([]string{"sleep", "60"}, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.stop(10 * time.Second); err != nil {
		t.Error(err)
	}
	p, err = startProcess([]string{"sh", "-c", "echo no such luck; exit 3"}, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	<-p.gone
	if err := p.stop(time.Second); err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("error %v", err)
	}
}

func TestMeter(t *testing.T) {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip("there is no /proc")
	}
	m := &meter{pids: []int{os.Getpid()}}
	if m.resident() < 1<<20 {
		t.Errorf("%d bytes", m.resident())
	}
	for end := time.Now().Add(10 * time.Second); m.cpu() == 0; {
		if time.Now().After(end) {
			t.Fatal("no CPU used")
		}
	}
	if gone := (&meter{pids: []int{1 << 30}}); gone.cpu() != 0 || gone.resident() != 0 {
		t.Error("a process that is not there uses something")
	}
}

// A server of our own is built, attacked and stopped; all of its calls go right.
func TestSetup(t *testing.T) {
	if testing.Short() {
		t.Skip("builds cmd/carillon and runs it")
	}
	dir := t.TempDir()
	var out, notes strings.Builder
	code, err := command(t.Context(), []string{
		"-spawn", "1", "-users", "60", "-rate", "50", "-warmup", "500ms", "-duration", "2s", "-data", dir, "-out", filepath.Join(dir, "out"),
	}, &out, &notes)
	t.Log(notes.String(), out.String())
	if err != nil || code != exitPassed {
		t.Fatalf("exit code %d: %v", code, err)
	}
	r := onlyReport(t, filepath.Join(dir, "out"))
	if r.Calls.Offered != 100 || r.Calls.Right != 100 || r.Audit.Calls != 100+12 || r.Servers.CPUPer1000 <= 0 {
		t.Errorf("%+v, audit %+v, servers %+v", r.Calls, r.Audit, r.Servers)
	}
	if l := r.latency(ringMetric.String()); l.Count != 100 || l.P50 <= 0 {
		t.Errorf("ring %+v", l)
	}
	left, err := filepath.Glob(filepath.Join(dir, "loadtest-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Hostile users flood a server of our own; the calls of the others go right or are refused.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("builds cmd/carillon and runs it")
	}
	if runtime.GOOS != "linux" {
		t.Skip("there is no second loopback address")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "besieged.yaml")
	doc := "description: x\nusers: 20\nrate: 20\nduration: 1s\nring: 100ms\npatience: 30s\nmix: {answered: 1}\nmax_refused: 100\nhostile: 1\n"
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, notes strings.Builder
	code, err := command(t.Context(), []string{
		"-spawn", "1", "-scenario", file, "-data", dir, "-out", filepath.Join(dir, "out"),
	}, &out, &notes)
	t.Log(notes.String(), out.String())
	if err != nil || code != exitPassed {
		t.Fatalf("exit code %d: %v", code, err)
	}
	r := onlyReport(t, filepath.Join(dir, "out"))
	h := r.Hostile
	if h == nil || h.Without.Right <= 0 || h.With.Right <= 0 || h.Deeds.Connections < hostileDevices || h.Deeds.Frames < hostileFlood {
		t.Errorf("%+v", h)
	}
}

func TestCPUNumbers(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0,2": 2, "1-3": 3, "": 0, "a": 0, "3-1": 0, "-1": 0, "0-" + strconv.Itoa(maxCPU+1): 0} {
		if got := len(cpuNumbers(list)); got != want {
			t.Errorf("%q: %d processors, want %d", list, got, want)
		}
	}
}

// onlyReport is that of the one run whose reports are in dir.
func onlyReport(t *testing.T, dir string) *report {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("reports %v %v", found, err)
	}
	r, err := loadReport("", found[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}
