package actors

import (
	"sync/atomic"
	"time"
)

// throttle bounds the new work that is under way in a node: invitations, joins and lists that are not answered yet. What
// carries on or ends a call is never refused by it, because what was done for that call would be wasted. The bound follows
// what is measured, so nobody has to know what a node can do: it shrinks while work waits for longer than the target, and
// grows while it does not. It does nothing by itself: tick ends a window of measurement.
type throttle struct {
	target time.Duration // for waiting; 0: only most bounds, and nobody calls tick
	most   int64

	limit    atomic.Int64
	underway atomic.Int64
	strained atomic.Uint32 // the strain of the last windows
	excess   atomic.Int64  // what was asked, in sixteenths of what was let in

	// Of the present window.
	peak    atomic.Int64 // of underway
	began   atomic.Int64
	refused atomic.Int64
	answers atomic.Int64
	took    atomic.Int64 // ns, of all answers together

	// Of tick alone.
	late   int   // windows in a row in which work waited for too long
	high   int64 // the peak of these windows and the one before
	recent int   // windows since something was refused
}

// Strain is how hard a node is pressed.
type Strain uint8

// The strains.
const (
	Easy     Strain = iota
	Late            // work waits for longer than it should
	Refusing        // and new work of users who are logged in is refused
)

// Bounds of the throttle.
const (
	throttleWindow = 50 * time.Millisecond
	leastNew       = 16              // new work that is always let in
	patientWindows = 2               // waiting for too long in so many windows in a row is no hiccup
	cut            = 0.5             // of the limit is left after a window in which work waited for too long, at least
	calmWindows    = 20              // without a refusal, until nothing is refused any more
	serviceTargets = 30              // targets that an answer may take: stores may be slow by nature
	leastHint      = time.Second / 2 // of when to come again
	mostHint       = 10 * time.Second
)

func newThrottle(target time.Duration, most int) *throttle {
	t := &throttle{target: target, most: int64(most), recent: calmWindows}
	t.limit.Store(t.most)
	return t
}

// take takes a place for new work; who has asked for more than others do finds only half of the places.
func (t *throttle) take(greedy bool) bool {
	n, limit := t.underway.Add(1), t.limit.Load()
	if n > limit || greedy && limit < t.most && 2*n > limit+1 {
		t.underway.Add(-1)
		t.refused.Add(1)
		return false
	}
	t.began.Add(1)
	if n > t.peak.Load() {
		t.peak.Store(n) // a race loses one at most
	}
	return true
}

// full says, without taking a place, whether there is none.
func (t *throttle) full() bool { return t.underway.Load() >= t.limit.Load() }

func (t *throttle) give(n int64) { t.underway.Add(-n) }

// answered notes how long a request took until it was answered.
func (t *throttle) answered(took time.Duration) {
	t.took.Add(int64(took))
	t.answers.Add(1)
}

// tick ends a window; wait is how long work waited for a processor, as far as it is known. It says whether anything has
// happened in it, or is still to be recovered from.
func (t *throttle) tick(wait time.Duration) bool {
	began, refused := t.began.Swap(0), t.refused.Swap(0)
	answers, took := t.answers.Swap(0), t.took.Swap(0)
	peak := t.peak.Swap(t.underway.Load())
	if t.recent++; refused > 0 {
		t.recent = 0
	}
	t.excess.Store((t.excess.Load()*3 + 16*(began+refused)/max(1, began)) / 4) // smooth, in sixteenths
	pressure := float64(wait) / float64(t.target)
	if answers > 0 {
		pressure = max(pressure, float64(took/answers)/float64(serviceTargets*t.target))
	}
	limit := t.limit.Load()
	switch {
	case pressure <= 1:
		t.late, t.high = 0, peak
		limit += 1 + int64(float64(limit)/4*(1-pressure))
	default:
		t.high = max(t.high, peak) // what is under way in a standstill says nothing
		if t.late++; t.late >= patientWindows {
			limit = int64(float64(min(limit, t.high)) * max(cut, 1/pressure))
		}
	}
	t.limit.Store(max(min(leastNew, t.most), min(limit, t.most)))
	t.strain()
	return began+refused+answers > 0 || t.recent < calmWindows || limit < t.most
}

func (t *throttle) strain() {
	s := Easy
	if t.late >= patientWindows {
		s = Late
	}
	if t.recent < calmWindows {
		s = Refusing
	}
	t.strained.Store(uint32(s))
}

// hint is when to come again: later the more is asked beyond what is let in, and each at another time; seed spreads them.
func (t *throttle) hint(seed uint64) time.Duration {
	seed = (seed ^ seed>>31) * 0x9e3779b97f4a7c15
	base := min(leastHint*time.Duration(t.excess.Load())/16, mostHint/2)
	base = max(base, leastHint)
	return base + time.Duration(float64(base)*float64(seed>>40)/(1<<24))
}
