//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBenchTable(t *testing.T) {
	f := findings{
		Clean: 2245, Near: []measured{{Right: 2250, CPUPer1000: 0.5}, {Right: 2240, CPUPer1000: 0.3}, {Right: 2245, CPUPer1000: 0.4}},
		Relay: []measured{{CPUPer1000: 0.35}, {CPUPer1000: 0.25}, {CPUPer1000: 0.2}}, RelayBusy: &measured{Right: 4000, CPUPer1000: 0.125}, Half: &measured{RingP50: 2.9, RingP99: 25},
		One: &measured{CPUPer1000: 0.8}, Three: &measured{CPUPer1000: 1.2}, Device: 75_000, Overload: &overrun{Goodput: 0.79, RefusedP99: 99, Growth: 1.1},
		Storm: &exodus{Seconds: 12.34}, Kill: &killed{Live: 1.5, Lost: 1}, NoStore: "none here",
	}
	r := &benchResult{
		Took: 239, Processors: 2, Servers: "0", Load: "1", Go: "go1.26", Rows: f.rows(), Findings: f, Wrong: []string{"r1 (setup): 1 calls went wrong"},
	}
	var b strings.Builder
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "bench.golden", b.String())
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)); n > 81 {
			t.Errorf("%d columns: %s", n-1, line)
		}
	}
	empty := &benchResult{Rows: (&findings{}).rows()}
	b.Reset()
	if err := empty.print(&b); err != nil || strings.ContainsAny(b.String(), "≤≥–") {
		t.Errorf("of nothing: %v\n%s", err, b.String())
	}
}

func TestBenchFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-only sleep": "-only sleep: there are overload, setup", "-repeats 0": "-repeats: 0", "-server-cpus x": "-server-cpus x", "more": `"more" is no flag`,
		"-out /dev/null": "-out: ",
	} {
		var out, notes strings.Builder
		code, err := command(t.Context(), append([]string{"bench"}, strings.Fields(args)...), &out, &notes)
		if code != exitBroken || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d, %v", args, code, err)
		}
	}
}

// What keeps a processor so busy is found where busy-ness grows evenly, and where it never comes so far.
func TestKeepsBusy(t *testing.T) {
	even := func(rate float64) (measured, error) { return measured{Cores: rate / 10_000}, nil }
	if rate, err := keepsBusy(0.85, even); err != nil || rate < 8499 || rate > 8501 {
		t.Errorf("%v, %v", rate, err)
	}
	spent := func(rate float64) (measured, error) { return measured{Cores: 0.5, Failed: int(rate / 3000)}, nil }
	if rate, err := keepsBusy(0.85, spent); err != nil || rate != relayFirst*relayFactor {
		t.Errorf("%v, %v", rate, err)
	}
}

// The relay, as a process of its own, does all that it is offered; a run of a benchmark leaves its report, and its verdict.
func TestBenchRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds cmd/carillon and loadtest, and runs them")
	}
	dir := t.TempDir()
	b := &benchmark{notes: t.Output(), began: time.Now(), self: filepath.Join(dir, "loadtest")}
	if out, err := exec.Command("go", "build", "-o", b.self, "carillon/loadtest").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.spawn, b.sockets, b.out, b.dataDir = 1, 1, filepath.Join(dir, "out"), dir
	relay, err := b.startRelay(t.Context(), 20)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := relay.measure(t.Context(), 100, time.Second); err != nil || m.Failed != 0 || m.Right <= 0 || m.Right > 100 {
		t.Errorf("%+v, %v", m, err)
	}
	if err := relay.close(); err != nil {
		t.Error(err)
	}
	m, err := b.offer(t.Context(), 20, func(o *options) { o.scenario.Users, o.scenario.Warmup, o.scenario.Duration = 20, 0, time.Second })
	if err != nil || m.Failed != 0 || m.Right <= 0 || len(b.runs) != 1 || len(b.wrong) != 0 {
		t.Fatalf("%+v, runs %v, wrong %v, %v", m, b.runs, b.wrong, err)
	}
	if _, err := loadReport(b.out, m.Run); err != nil {
		t.Error(err)
	}
	_, err = b.offer(t.Context(), 50, func(o *options) {
		o.scenario.Users, o.scenario.Warmup, o.scenario.Duration, o.scenario.MaxRefused = 10, 0, time.Second, 0
		o.settings = []string{"CARILLON_LIMITS_REQUESTS_PER_SECOND=1", "CARILLON_LIMITS_REQUESTS_BURST=1"}
	})
	if err != nil || len(b.wrong) == 0 || !strings.Contains(b.wrong[0], "(setup): ") {
		t.Errorf("a run that fails: wrong %v, %v", b.wrong, err)
	}
}

// Where PostgreSQL is not installed the rows that need it say so, and the rest is measured.
func TestBenchWithoutPostgres(t *testing.T) {
	dir := t.TempDir()
	b := &benchmark{notes: t.Output(), began: time.Now(), findings: findings{Capacity: 100}}
	b.binary, b.out, b.dataDir, b.spawn, b.sockets = filepath.Join(dir, "carillon"), dir, dir, 1, 1
	if err := os.WriteFile(b.binary, []byte("#!/bin/sh\necho PostgreSQL is not installed\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, measure := range map[string]func(*benchmark, context.Context) error{"postgres": (*benchmark).measurePostgres, "node-kill": (*benchmark).measureNodeKill} {
		b.findings.NoStore = ""
		if err := measure(b, t.Context()); err != nil || !strings.Contains(b.findings.NoStore, "PostgreSQL is not installed") {
			t.Errorf("%s: %v, %q", name, err, b.findings.NoStore)
		}
	}
	if len(b.wrong) > 0 || b.findings.One != nil || b.findings.Kill != nil {
		t.Errorf("%+v, wrong %v", b.findings, b.wrong)
	}
}
