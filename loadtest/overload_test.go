package main

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// search looks for the capacity of a server that does so much, and less when more is offered; in some steps it only does half.
func search(t *testing.T, first, capacity float64, hiccups ...int) (*pressed, []float64) {
	t.Helper()
	p, offered := &pressed{}, []float64(nil)
	err := p.search(first, func(rate float64, _ time.Duration) (probe, error) {
		offered = append(offered, rate)
		done := min(rate, capacity-0.2*max(0, rate-capacity))
		if slices.Contains(hiccups, len(offered)) {
			done /= 2
		}
		return probe{Offered: rate, Right: done}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, offered
}

func TestSearch(t *testing.T) {
	for _, capacity := range []float64{1000, 1500, 2500, 2700, 9000} {
		p, offered := search(t, 800, capacity)
		if p.Capacity < 0.95*capacity || p.Capacity > capacity || len(p.Steps) != len(offered) {
			t.Errorf("capacity %.0f was found to be %.0f with %.0f", capacity, p.Capacity, offered)
		}
		if most := slices.Max(offered); most < capacity || most > 2*capacity {
			t.Errorf("capacity %.0f: %.0f were offered", capacity, offered)
		}
	}
	if p, offered := search(t, 800, 100); p.Capacity > 100 || len(offered) != stepTries {
		t.Errorf("one that does not even keep up with the first rate: %.0f with %.0f", p.Capacity, offered)
	}
	for hiccup := 1; hiccup <= 12; hiccup++ { // one try fails, wherever it is: the next counts
		if p, offered := search(t, 800, 2500, hiccup); p.Capacity < 0.95*2500 {
			t.Errorf("after hiccup %d: %.0f with %.0f", hiccup, p.Capacity, offered)
		}
	}
	if _, offered := search(t, 800, math.Inf(1)); len(offered) > maxSteps || slices.Max(offered) > maxRate {
		t.Errorf("without an end: %.0f", offered)
	}
	broken := errors.New("broken")
	for after := range 8 { // on the way up, and in between
		steps := 0
		if err := new(pressed).search(800, func(rate float64, _ time.Duration) (probe, error) {
			if steps++; steps > after {
				return probe{}, broken
			}
			return probe{Offered: rate, Right: min(rate, 1500)}, nil
		}); !errors.Is(err, broken) {
			t.Errorf("error %v after %d steps", err, after)
		}
	}
}

// TestSearchIgnoresLuck: a try in which more went right than of what the server keeps up with, though it did not keep up, is
// not its capacity.
func TestSearchIgnoresLuck(t *testing.T) {
	p, long := &pressed{}, 0
	if err := p.search(1000, func(rate float64, during time.Duration) (probe, error) {
		if during == longStep {
			long++
		}
		if rate > 1200 {
			return probe{Offered: rate, Right: min(0.92*rate, 1400)}, nil // more than 1200, and not enough
		}
		return probe{Offered: rate, Right: rate}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if p.Capacity < 1140 || p.Capacity > 1200 {
		t.Errorf("capacity %.0f, of %+v", p.Capacity, p.Steps)
	}
	if long <= halvings || long > (halvings+1)*stepTries {
		t.Errorf("%d long steps", long)
	}
}

// TestSearchDistrustsASecond: what a server keeps up with for a second only is not its capacity.
func TestSearchDistrustsASecond(t *testing.T) {
	p := &pressed{}
	if err := p.search(800, func(rate float64, during time.Duration) (probe, error) {
		capacity := 2500.0
		if during == quickStep {
			capacity = 5000
		}
		return probe{Offered: rate, Right: min(rate, capacity-0.2*max(0, rate-capacity))}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if p.Capacity < 0.95*2500 || p.Capacity > 2500 {
		t.Errorf("capacity %.0f, of %+v", p.Capacity, p.Steps)
	}
}

// TestTrial: a trial has figures of its own, also of calls that count for nothing else.
func TestTrial(t *testing.T) {
	r, _ := bench(t, storyNamed("answered"))
	one := &trial{rings: newHistogram()}
	r.tally.begin(one)
	play := func(n uint64, refuse bool) {
		p := newPlayer(storyNamed("answered"), n)
		c := &call{run: r, machine: p.m}
		if refuse {
			p.m.refuse(tooFrequent, "later", noon)
		} else {
			p.play(never)
		}
		for _, s := range p.m.samples {
			r.tally.measure(false, s)
		}
		r.tally.ended(c, noon.Add(time.Second))
		r.tally.retired(c)
	}
	play(1, false)
	play(2, false)
	play(3, true)
	r.tally.begin(nil)
	play(4, false)
	a := one.probe(5, noon, 2*time.Second)
	if a.Right != 1 || a.Refused != 1 || a.Wrong != 0 || a.Offered != 5 || one.rings.TotalCount() != 2 {
		t.Errorf("%+v, %d rings", a, one.rings.TotalCount())
	}
	if r.tally.offered != 0 || r.tally.checked != 4 || r.tally.latencies[ringMetric].TotalCount() != 0 {
		t.Errorf("%d offered, %d checked", r.tally.offered, r.tally.checked)
	}
}

// TestOverloadReport: what was let in and refused later fails the run; the figures are printed.
func TestOverloadReport(t *testing.T) {
	r, _ := bench(t, storyNamed("answered"))
	r.pressed = &pressed{Capacity: 1000, Before: 90e6, Steps: make([]probe, 3)}
	r.scenario.Rate = 2000
	p := newPlayer(storyNamed("answered"), 1)
	p.play(func() bool { return p.m.stage == 1 })
	p.m.refuse(tooFrequent, "later", noon)
	c := &call{run: r, counts: true, machine: p.m}
	r.tally.ended(c, noon)
	r.tally.retired(c)
	out := &report{}
	out.Calls.PerSecond, out.Servers.Resident = 850, 95e6
	r.press(out)
	out.judge()
	if len(out.Verdict) != 1 || !strings.Contains(out.Verdict[0], "refused later") {
		t.Errorf("verdict %v", out.Verdict)
	}
	var b strings.Builder
	out.Overload.print(&b)
	for _, want := range []string{"1000 calls per second", "85.0 % of it, with 2.0 times", "90.0 MB before, 95.0 MB after"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// TestFloods: what the hostile send is valid; a server has to read it.
func TestFloods(t *testing.T) {
	frames := wire.NewReader(strings.NewReader(string(floods("mallory", 7))), wire.MaxClientFrame)
	for i := range uint64(hostileFlood) {
		b, err := frames.Next()
		f := &wire.ClientFrame{}
		if err != nil || proto.Unmarshal(b, f) != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if f.GetRequestId() != 7+i || len(f.GetCommandId()) != 16 || (f.GetCallInvite() == nil) == (f.GetQueryCallInvitationList() == nil) {
			t.Errorf("frame %d: %v", i, f)
		}
	}
}
