package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// longRun is a run of so many seconds as if it had taken place: a node is killed, one is stopped, and calls are refused then.
func longRun(length int) *report {
	random := rand.New(rand.NewPCG(1, 2))
	s := scenario{
		Name: "node-kill", Description: "a mix of calls while a node is killed", Users: 5000, Rate: 200, Warmup: time.Second,
		Duration: time.Duration(length) * time.Second, Ring: 300 * time.Millisecond, Timeout: 2 * time.Second, Patience: 5 * time.Second,
		Mix: map[string]int{"answered": 55, "rejected": 10},
	}
	r := &report{
		Run: "r1", Began: noon, Target: "3 of our own, postgres", Scenario: s, Codes: map[uint32]int{}, Outcomes: map[string]*outcomes{"answered": {}},
		Command: []string{"-scenario", "node-kill", "-spawn", "3", "-set", "CARILLON_X=a b"},
		Moments: []moment{{float64(length) / 3, "n2 is killed"}, {float64(length)/3 + 4, "n2 is back"}, {float64(length) / 1.05, "n3 is stopped <for a while>"}},
		Servers: costs{CPU: 42, CPUPer1000: 0.66, LoginsPer1000: 0.8, Resident: 400e6, Generator: 12},
	}
	latencies := [metrics]*interval{}
	for i := range latencies {
		latencies[i] = newInterval()
	}
	whole := newHistogram()
	for at := 1; at <= length; at++ {
		i, late := newInterval(), 1.0
		if since := at - length/3; since >= 0 && since < 5 {
			late, i.refused, i.codes[6000005], i.codes[6000007] = 60/float64(1+since), 40-since*8, 30-since*6, 10-since*2
		}
		i.begun, i.done = 200, 200-i.refused
		for range 20 {
			took := time.Duration(1.4e6 * late * math.Exp(random.NormFloat64()*0.5))
			put(i.rings, took)
			put(whole, took)
			for m := range latencies[:at%len(latencies)] {
				put(latencies[m].rings, took*time.Duration(m+1)/2)
			}
		}
		one := second{At: float64(at), InFlight: 150 + int(late*10), Online: 5000 - int(20*(late-1)), CPU: 0.9 + random.Float64()/5, Memory: int64(300e6 + at*1000)}
		i.fill(&one)
		r.Seconds = append(r.Seconds, one)
		r.Calls.Offered, r.Calls.Right, r.Calls.Refused = r.Calls.Offered+200, r.Calls.Right+i.done, r.Calls.Refused+i.refused
		for code, n := range i.codes {
			r.Codes[code] += n
		}
	}
	r.Calls.PerSecond = float64(r.Calls.Right) / float64(length)
	for m := range metrics {
		h := newHistogram()
		h.Merge(latencies[m].rings)
		r.Latencies = append(r.Latencies, newLatency(m.String(), h))
	}
	r.Outcomes["answered"].Right = r.Calls.Right
	r.Failures = []failure{{Story: "answered", Call: 7, Why: "B has not heard <Cancelled>", Cast: []string{"r1-1", "r1-2"}, Trace: []string{"  +0.0 ms  A sends invite", "  +1.5 ms  B hears"}}}
	r.Calls.Wrong = 1
	r.judge()
	return r
}

func written(t *testing.T, r *report) string {
	t.Helper()
	var b strings.Builder
	if err := r.page().Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A page is small and whole however long the run was, and takes nothing from elsewhere.
func TestPage(t *testing.T) {
	for _, length := range []int{1, 60, 3600} {
		text := written(t, longRun(length))
		if len(text) > 2<<20 {
			t.Errorf("%d s: %d bytes", length, len(text))
		}
		for _, foreign := range []string{"<script", "src=", "href=", "url(", "@import", "http:", "https:", "NaN", "Inf"} {
			if strings.Contains(text, foreign) {
				t.Errorf("%d s: the page has %s", length, foreign)
			}
		}
		for _, want := range []string{"FAILED", "n2 is killed", "B has not heard &lt;Cancelled&gt;", "CARILLON_X=a b", "6000007", "&lt;for a while&gt;", "invite to ring"} {
			if !strings.Contains(text, want) {
				t.Errorf("%d s: the page does not have %s", length, want)
			}
		}
		for _, picture := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(text, -1) {
			wellFormed(t, picture)
		}
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in %.300s", err, text)
		}
	}
}

// Seconds that are joined have the percentiles of all their calls, and lose no event.
func TestThinned(t *testing.T) {
	r := longRun(900)
	out, each := thinned(r.Seconds)
	if each != 3 || len(out) != 300 || out[299].At != 900 || out[1].from != 3 {
		t.Fatalf("%d of %d seconds, %+v", len(out), each, out[1])
	}
	done, refusals, coded := 0, 0, 0
	for _, s := range out {
		done, refusals, coded = done+s.Done, refusals+s.Refused, coded+s.Codes[6000005]
	}
	if done != r.Calls.Right || refusals != r.Calls.Refused || coded != r.Codes[6000005] {
		t.Errorf("%d done, %d refused, %d with a code, the run had %+v %v", done, refusals, coded, r.Calls, r.Codes)
	}
	a, b := newInterval(), newInterval()
	for i := range 100 {
		put(a.rings, time.Duration(1+i)*time.Millisecond)
		put(b.rings, time.Duration(101+i)*time.Millisecond)
	}
	two := make([]second, 2)
	a.fill(&two[0])
	b.fill(&two[1])
	if both := joined(two); math.Abs(both.RingP50-100) > 2 || math.Abs(both.RingMax-200) > 3 {
		t.Errorf("p50 %v, max %v of 1..200 ms", both.RingP50, both.RingMax)
	}
	end, _ := thinned([]second{{At: 1, Done: 5, CPU: 0.5}, {At: 1.01, Done: 1, CPU: 0.01}})
	if len(end) != 1 || end[0].Done != 6 || end[0].At != 1.01 || end[0].from != 0 {
		t.Errorf("a hundredth of a second is a point of its own: %+v", end)
	}
	day := make([]second, 86_400)
	for i := range day {
		day[i].At = float64(i + 1)
	}
	if out, each := thinned(day); len(out) != maxPoints || each != 288 {
		t.Errorf("a day has %d points of %d s", len(out), each)
	}
	two[0].Rings, two[1].Rings = "", ""
	if both := joined(two); both.RingP99 != two[1].RingP99 {
		t.Errorf("without histograms p99 is %v, the worst second's is %v", both.RingP99, two[1].RingP99)
	}
}

// A report of an earlier version, and one of nothing, have a page too.
func TestPagesOfLittle(t *testing.T) {
	old := longRun(60)
	for i := range old.Seconds {
		s := &old.Seconds[i]
		s.Rings, s.RingP90, s.RingMax, s.Codes, s.Online, s.Refused = "", 0, 0, nil, 0, 0
	}
	for i := range old.Latencies {
		old.Latencies[i].Histogram = ""
	}
	idle := longRun(3)
	idle.Scenario.Rate, idle.Calls, idle.Outcomes, idle.Latencies, idle.Failures, idle.Verdict = 0, counts{}, nil, nil, nil, nil
	for name, r := range map[string]*report{"old": old, "idle": idle, "nothing": {Run: "r2"}} {
		if text := written(t, r); strings.Contains(text, "NaN") || !strings.Contains(text, r.Run) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if text := written(t, idle); !strings.Contains(text, ">PASSED<") || !strings.Contains(text, "Server memory") {
		t.Error("the page of an idle run lacks something")
	}
}

func TestPageCommand(t *testing.T) {
	dir := t.TempDir()
	r := longRun(5)
	if _, err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "r1.html")
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"page", "-out", dir, "r1"}, {"page", filepath.Join(dir, "r1.json")}} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		var out, notes strings.Builder
		if code, err := command(t.Context(), args, &out, &notes); err != nil || code != exitPassed || strings.TrimSpace(out.String()) != path {
			t.Fatalf("%v: %d %v %s", args, code, err, out.String())
		}
		if again, err := os.ReadFile(path); err != nil || string(again) != string(first) {
			t.Errorf("%v: the page from the file differs from the run's: %v", args, err)
		}
	}
	for _, args := range [][]string{{"page"}, {"page", "a", "b"}, {"page", "-out", dir, "none"}} {
		if code, err := command(t.Context(), args, io.Discard, io.Discard); err == nil || code != exitBroken {
			t.Errorf("%v: %d %v", args, code, err)
		}
	}
}
