package main

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of what is kept of a run.
const (
	maxSamples  = 20 // failures and connection errors that are told in full
	maxAudit    = 10_000
	maxSeconds  = 100_000
	histLowest  = 1          // µs
	histHighest = 60_000_000 // µs; longer counts as that
	histDigits  = 3
)

// tally counts and measures. Its lock is the innermost.
type tally struct {
	audit int // calls kept for the audit

	mu        sync.Mutex
	latencies [metrics]*hdrhistogram.Histogram
	offered   int // calls that were due and counted
	skipped   int // calls that were due when too many were in flight
	crowded   int // calls that were due when their visitors had no seat
	outcomes  map[string]*outcomes
	checked   int // calls of the warm-up
	halfway   int // calls that were let in and refused later
	trial     *trial
	codes     map[uint32]int
	repeats   int
	wrong     int // with those of the warm-up
	failures  []failure
	finished  []record
	sampled   int // calls that finished could have taken
	troubled

	now     *interval // the present second
	live    *interval // since the last pulse
	last    time.Time // when the last call that counts was over, less what it lasts by itself
	seconds []second
}

// outcomes of the calls of one story.
type outcomes struct {
	Right   int `json:"right"`
	Refused int `json:"refused"`
	Wrong   int `json:"wrong"`
}

// failure is a call that went wrong.
type failure struct {
	Story string   `json:"story"`
	Call  uint64   `json:"call,string"`
	Why   string   `json:"why"`
	Cast  []string `json:"cast"`
	Trace []string `json:"trace"`
}

// record is a call that went right, for the audit.
type record struct {
	id    uint64
	story *story
	cast  cast
	users []*user // of the cast, without visitors, who have logged out
}

// second is one second of the run.
type second struct {
	At       float64        `json:"at_s"` // its end; the last one may be shorter than a second
	Begun    int            `json:"begun"`
	Done     int            `json:"done"`
	Failed   int            `json:"failed"`  // refused or wrong
	Refused  int            `json:"refused"` // as too frequent
	Codes    map[uint32]int `json:"codes,omitempty"`
	InFlight int            `json:"in_flight"`
	Online   int            `json:"online"` // connections
	RingP50  float64        `json:"ring_p50_ms"`
	RingP90  float64        `json:"ring_p90_ms"`
	RingP99  float64        `json:"ring_p99_ms"`
	RingMax  float64        `json:"ring_max_ms"`
	CPU      float64        `json:"server_cpu_s"` // used in this second
	Memory   int64          `json:"server_resident_bytes"`

	// Rings is the second's histogram of invite to ring, as latency has it, in two digits.
	Rings string `json:"ring_histogram,omitempty"`
}

// moment is something that was done to the servers while they were measured.
type moment struct {
	At   float64 `json:"at_s"` // on the clock of the seconds
	What string  `json:"what"` // such as "n2 is killed"
}

func newTally(audit int) *tally {
	t := &tally{audit: audit, outcomes: map[string]*outcomes{}, codes: map[uint32]int{}, now: newInterval(), live: newInterval()}
	for i := range t.latencies {
		t.latencies[i] = newHistogram()
	}
	return t
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(histLowest, histHighest, histDigits)
}

func put(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), histLowest), histHighest)) // in its range
}

// measure takes a sample; of calls that don't count it takes none.
func (t *tally) measure(counts bool, s sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.of == ringMetric {
		put(t.live.rings, s.took)
	}
	t.trial.measure(s)
	if !counts {
		return
	}
	put(t.latencies[s.of], s.took)
	if s.of == ringMetric {
		put(t.now.rings, s.took)
	}
}

// start is what becomes of a call that is due.
type start uint8

// The starts.
const (
	begun   start = iota
	tooMany       // calls are in flight
	noSeat        // for its visitors
)

// began counts a call that was due.
func (t *tally) began(counts bool, how start) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch how {
	case tooMany:
		t.skipped++
		return
	case noSeat:
		t.crowded++
		return
	case begun:
		t.live.begun++
	}
	if counts {
		t.now.begun++
		t.offered++
	}
}

// ended notes for the present second that a call is over. c.mu is held.
func (t *tally) ended(c *call, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := c.machine
	t.live.ended(m.ending, m.code)
	t.trial.ended(c.machine, now)
	if c.counts {
		t.now.ended(m.ending, m.code)
		if end := now.Add(-m.story.lasts(m.timing)); end.After(t.last) {
			t.last = end
		}
	}
}

// ending is when the last call that counts would have been over had it lasted no time; zero: there was none.
func (t *tally) ending() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// retired takes a call's outcome, for good. c.mu is held.
func (t *tally) retired(c *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := c.machine
	t.repeats += m.repeats
	t.count(m)
	if m.code != 0 {
		t.codes[m.code]++
	}
	if m.ending == refused && m.stage > 0 {
		t.halfway++
	}
	if m.ending == wrong {
		t.wrong++
		if len(t.failures) < maxSamples {
			t.failures = append(t.failures, failure{Story: m.story.name, Call: m.id, Why: m.why, Cast: m.cast, Trace: m.lines()})
		}
	}
	if m.ending == right {
		one := record{id: m.id, story: m.story, cast: m.cast}
		for _, u := range c.devices {
			if u != nil && u.seat == nil {
				one.users = append(one.users, u)
			}
		}
		t.remember(one)
	}
	if !c.counts {
		t.checked++
		return
	}
	o := t.outcomes[m.story.name]
	if o == nil {
		o = &outcomes{}
		t.outcomes[m.story.name] = o
	}
	switch m.ending {
	case right:
		o.Right++
	case refused:
		o.Refused++
	default:
		o.Wrong++
	}
}

// remember keeps a random choice of all calls, each with the same chance. t.mu is held.
func (t *tally) remember(r record) {
	t.sampled++
	if len(t.finished) < t.audit {
		t.finished = append(t.finished, r)
	} else if i := rand.IntN(t.sampled); i < t.audit {
		t.finished[i] = r
	}
}

// tick closes a second.
func (t *tally) tick(s second) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.fill(&s)
	t.now.reset()
	if len(t.seconds) < maxSeconds {
		t.seconds = append(t.seconds, s)
	}
}

// quantile is in milliseconds.
func quantile(h *hdrhistogram.Histogram, percent float64) float64 {
	if h.TotalCount() == 0 {
		return 0
	}
	return float64(h.ValueAtQuantile(percent)) / 1000
}
