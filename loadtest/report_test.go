package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// sampleRun is a run as if it had taken place: eight calls, of which one went wrong and one was refused.
func sampleRun(t *testing.T) *report {
	t.Helper()
	r, _ := bench(t, storyNamed("answered"))
	s, err := loadScenario("setup")
	if err != nil {
		t.Fatal(err)
	}
	s.MaxRefused = 50
	r.scenario, r.name, r.crowd, r.target = s, "r1", &crowd{logins: []time.Duration{9 * time.Millisecond}}, &target{about: "one of our own"}
	for i := range 8 {
		r.tally.began(true, begun)
		p := newPlayer(storyNamed("answered"), uint64(i))
		c := &call{run: r, counts: true, machine: p.m}
		switch i {
		case 6:
			p.m.refuse(tooFrequent, "later", noon)
		case 7:
			p.play(func() bool { return p.m.stage == 1 })
			p.m.expect(p.m.deadline())
		default:
			p.play(never)
		}
		for j, s := range p.m.samples {
			s.took = time.Duration(1+i+j) * time.Millisecond
			r.tally.measure(c.counts, s)
		}
		r.tally.ended(c, noon)
		r.tally.retired(c)
	}
	r.tally.tick(second{At: 1, CPU: 0.5, Memory: 1e6})
	found := &audit{Calls: 6, Users: 12}
	out := r.report(usage{own: 20 * time.Millisecond, took: 5 * time.Second, logins: 95 * time.Millisecond, cpu: 12 * time.Millisecond, resident: 50e6}, found)
	out.Began = noon
	return out
}

func TestReport(t *testing.T) {
	r := sampleRun(t)
	if r.Calls.Right != 6 || r.Calls.Refused != 1 || r.Calls.Wrong != 1 || len(r.Seconds) != 1 || r.Seconds[0].Done != 6 || r.Seconds[0].Failed != 2 {
		t.Errorf("%+v, seconds %+v", r.Calls, r.Seconds)
	}
	if r.Codes[tooFrequent] != 1 || r.Servers.CPUPer1000 != 2 || r.Servers.LoginsPer1000 != 0.1 {
		t.Errorf("codes %v, servers %+v", r.Codes, r.Servers)
	}
	var b strings.Builder
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.golden", b.String())
	h, err := hdrhistogram.Decode([]byte(r.latency("invite to ring").Histogram))
	if err != nil || h.TotalCount() != 7 {
		t.Errorf("histogram: %v, %+v", err, h)
	}
}

func TestSaveAndCompare(t *testing.T) {
	dir := t.TempDir()
	a, b := sampleRun(t), sampleRun(t)
	b.Run, b.Verdict, b.Servers.CPUPer1000 = "r2", nil, 1.5
	for _, r := range []*report{a, b} {
		if _, err := r.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := os.ReadFile(filepath.Join(dir, "runs.csv"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "runs.golden", string(lines))
	var out, notes strings.Builder
	if code, err := command(t.Context(), []string{"compare", "-out", dir, "r1", filepath.Join(dir, "r2.json")}, &out, &notes); err != nil || code != exitPassed {
		t.Fatal(code, err)
	}
	golden(t, "compare.golden", out.String())
	if code, err := command(t.Context(), []string{"compare", "-out", dir, "r1", "r3"}, &out, &notes); err == nil || code != exitBroken {
		t.Errorf("compared with a run that is not there: %d %v", code, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "runs.csv"), []byte("run,speed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.save(dir); err == nil || !strings.Contains(err.Error(), "other columns") {
		t.Errorf("appended to another table: %v", err)
	}
}

func TestVerdict(t *testing.T) {
	for want, spoil := range map[string]func(*report){
		"":                      func(*report) {},
		"1 calls went wrong":    func(r *report) { r.Calls.Wrong = 1 },
		"could not be begun":    func(r *report) { r.Calls.Skipped = 1 },
		"connections were lost": func(r *report) { r.Calls.Lost = 1 },
		"of no call":            func(r *report) { r.Calls.Strange = 1 },
		"users' lists":          func(r *report) { r.Audit.Wrong = 1 },
		"were refused":          func(r *report) { r.Calls.Refused = 1 },
		"no call went right":    func(r *report) { r.Calls.Right = 0 },
	} {
		r := &report{Calls: counts{Offered: 10, Right: 10}}
		spoil(r)
		r.judge()
		if got := strings.Join(r.Verdict, "; "); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("verdict %q, want %q", got, want)
		}
	}
}
