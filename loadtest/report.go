package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// report is all that is known of a run. Its JSON is read back by compare, also by later versions: fields are only added.
type report struct {
	Run      string    `json:"run"`
	Began    time.Time `json:"began"`
	Measured time.Time `json:"measured_from"`
	Target   string    `json:"target"`
	Command  []string  `json:"command"`
	Scenario scenario  `json:"scenario"`

	Verdict []string `json:"verdict"` // why the run has failed; empty: it has passed

	Calls     counts               `json:"calls"`
	Outcomes  map[string]*outcomes `json:"outcomes"`
	Codes     map[uint32]int       `json:"refusals_by_code"`
	Latencies []latency            `json:"latencies"`
	Servers   costs                `json:"servers"`
	Audit     audited              `json:"audit"`
	Failures  []failure            `json:"failures"`
	Lost      []string             `json:"lost_connections"`
	Seconds   []second             `json:"seconds"`
	Moments   []moment             `json:"moments"`
	Overload  *pressed             `json:"overload,omitempty"`
	Hostile   *beset               `json:"hostile,omitempty"`
	Faults    aftermath            `json:"faults"`
}

// counts are of the calls that count, unless said.
type counts struct {
	Offered   int     `json:"offered"`
	Skipped   int     `json:"skipped"` // too many were in flight
	Crowded   int     `json:"crowded"` // not begun, because all seats of visitors were taken
	Right     int     `json:"right"`
	Refused   int     `json:"refused"`
	Wrong     int     `json:"wrong"` // those of the warm-up too
	Warmup    int     `json:"warmup"`
	Repeats   int     `json:"repeated_events"` // harmless
	Late      int     `json:"late_events"`     // of calls that were over
	Strange   int     `json:"strange_events"`  // of no call of this run
	Lost      int     `json:"lost_connections"`
	Redirects int     `json:"redirects"`
	PerSecond float64 `json:"right_per_second"` // until the last one was over, less what a call lasts by itself
}

// latency is one metric, in milliseconds.
type latency struct {
	Of    string  `json:"of"`
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`

	// Histogram is all of it, in HdrHistogram's V2 encoding, microseconds: what several runs can be merged from.
	Histogram string `json:"histogram"`
}

// costs are the servers', 0 where they cannot be seen.
type costs struct {
	CPU            float64 `json:"cpu_s"`
	CPUPer1000     float64 `json:"cpu_s_per_1000_calls"`
	LoginsPer1000  float64 `json:"login_cpu_s_per_1000"`
	Generator      float64 `json:"generator_cpu_s"` // this program's
	Resident       int64   `json:"resident_bytes"`
	BytesPerDevice int64   `json:"bytes_per_idle_device"`
}

// audited is an audit's outcome.
type audited struct {
	Calls   int      `json:"calls"`
	Users   int      `json:"users"`
	Wrong   int      `json:"wrong"`
	Reasons []string `json:"reasons,omitempty"`
}

// report puts together what the run has found.
func (r *run) report(u usage, found *audit) *report {
	t := r.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	out := &report{
		Run: r.name, Measured: r.measured, Target: r.target.about, Scenario: r.scenario, Outcomes: t.outcomes, Codes: t.codes, Failures: t.failures, Seconds: t.seconds,
		Calls: counts{Offered: t.offered, Skipped: t.skipped, Crowded: t.crowded, Warmup: t.checked, Repeats: t.repeats, Redirects: r.crowd.redirects, Wrong: t.wrong},
	}
	for _, o := range t.outcomes {
		out.Calls.Right += o.Right
		out.Calls.Refused += o.Refused
	}
	out.Calls.PerSecond = float64(out.Calls.Right) / u.took.Seconds()
	out.Calls.Late, out.Calls.Strange = r.book.stray()
	out.Calls.Lost, out.Lost = r.crowd.lost()
	for m, h := range t.latencies {
		if h.TotalCount() > 0 {
			out.Latencies = append(out.Latencies, newLatency(metric(m).String(), h))
		}
	}
	logins := newHistogram()
	for _, took := range r.crowd.logins {
		put(logins, took)
	}
	out.Latencies = append(out.Latencies, newLatency("login", logins))
	out.Servers = costs{CPU: u.cpu.Seconds(), Generator: u.own.Seconds(), Resident: u.resident, BytesPerDevice: u.device}
	if done := out.Calls.Right; done > 0 {
		out.Servers.CPUPer1000 = u.cpu.Seconds() / float64(done) * 1000
	}
	if n := r.scenario.Users - baselineUsers; n > 0 {
		out.Servers.LoginsPer1000 = u.logins.Seconds() / float64(n) * 1000
	}
	if found != nil {
		out.Audit = audited{Calls: found.Calls, Users: found.Users, Wrong: found.Wrong, Reasons: found.Reasons}
	}
	r.press(out)
	out.Faults = r.aftermath()
	out.Moments = r.diary.all()
	out.judge()
	return out
}

func newLatency(of string, h *hdrhistogram.Histogram) latency {
	return latency{
		Of: of, Count: h.TotalCount(), Histogram: encode(h), P50: quantile(h, 50), P90: quantile(h, 90), P99: quantile(h, 99),
		P999: quantile(h, 99.9), Max: float64(h.Max()) / 1000,
	}
}

// judge writes the verdict.
func (r *report) judge() {
	c := r.Calls
	say := func(bad bool, format string, args ...any) {
		if bad {
			r.Verdict = append(r.Verdict, fmt.Sprintf(format, args...))
		}
	}
	say(c.Wrong > 0, "%d calls went wrong", c.Wrong)
	say(c.Skipped > 0, "%d calls could not be begun, %d were in flight", c.Skipped, maxInFlight)
	say(c.Lost > 0, "%d connections were lost", c.Lost)
	most, grown := r.Scenario.MaxGrowth, r.Faults.growth()
	say(most > 0 && grown > most, "the servers' memory grew by %.0f %% from the first quarter to the last, more than %v %% (max_growth)", grown, most)
	say(c.Strange > 0, "%d events were of no call of this run", c.Strange)
	say(r.Overload != nil && r.Overload.Halfway > 0, "calls that were let in were refused later")
	say(r.Audit.Wrong > 0, "%d entries of the users' lists are not what was acknowledged, or cannot be read", r.Audit.Wrong)
	if c.Offered > 0 {
		percent := 100 * float64(c.Refused) / float64(c.Offered)
		say(percent > r.Scenario.MaxRefused, "%d of %d calls were refused, more than %v %% (max_refused)", c.Refused, c.Offered, r.Scenario.MaxRefused)
		say(c.Right == 0, "no call went right")
	}
}

func (r *report) latency(of string) latency {
	i := slices.IndexFunc(r.Latencies, func(l latency) bool { return l.Of == of })
	if i < 0 {
		return latency{Of: of}
	}
	return r.Latencies[i]
}

// save writes the report as JSON and as a page, and appends its line to runs.csv.
func (r *report) save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, r.Run+".json")
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	page, err := r.savePage(dir)
	return page, errors.Join(err, appendCSV(filepath.Join(dir, "runs.csv"), r))
}

// finish saves the report, prints it and says by the exit code what it says.
func (r *report) finish(dir string, out, notes io.Writer) (int, error) {
	path, err := r.save(dir)
	if err := errors.Join(err, r.print(out)); err != nil {
		return exitBroken, err
	}
	fmt.Fprintln(notes, "the report is", path)
	if len(r.Verdict) > 0 {
		return exitFailed, nil
	}
	return exitPassed, nil
}

// loadReport reads a report by its run's name or its file.
func loadReport(dir, name string) (*report, error) {
	path := name
	if filepath.Ext(path) != ".json" {
		path = filepath.Join(dir, name+".json")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Run == "" {
		return nil, fmt.Errorf("%s: %w", path, errors.New("is no report of a run"))
	}
	return r, nil
}
