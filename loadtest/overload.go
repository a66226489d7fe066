package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of the search for a server's capacity.
const (
	maxOverload = 10
	quickStep   = time.Second // on the way up
	longStep    = 4 * time.Second
	stepFactor  = 1.4
	stepTries   = 2 // a machine may be busy with something else
	halvings    = 3 // of what lies between a rate that was kept up with and the next, 40 percent: 4 are left
	maxSteps    = 16
	keepsUp     = 0.98 // of what is offered goes right: a capacity is what is done with hardly a refusal
)

// pressed is what came of an overload.
type pressed struct {
	Steps    []probe `json:"steps"` // of the search
	Capacity float64 `json:"capacity_per_s"`
	Offered  float64 `json:"offered_per_s"`
	Goodput  float64 `json:"goodput_per_s"`
	Ratio    float64 `json:"goodput_of_capacity"`
	Before   int64   `json:"resident_bytes_before"`
	After    int64   `json:"resident_bytes_after"`
	Halfway  int     `json:"refused_later"` // calls that were let in first
	kept     bool    // the server has kept up with a rate
}

// probe is calls offered at one rate.
type probe struct {
	Offered float64 `json:"offered_per_s"`
	Right   float64 `json:"right_per_s"`
	Refused int     `json:"refused"`
	Wrong   int     `json:"wrong"`
	RingP50 float64 `json:"ring_p50_ms"`
	RingP99 float64 `json:"ring_p99_ms"`
	CPU     float64 `json:"server_cpu_s"`
}

// prepare does what a scenario needs to be measured after the warm-up: it finds the capacity, or calls the hostile in.
func (r *run) prepare(ctx context.Context, say func(format string, args ...any)) (err error) {
	switch {
	case r.scenario.Overload > 0:
		r.pressed = &pressed{}
		err = r.pressed.search(r.scenario.Rate, func(rate float64, during time.Duration) (probe, error) {
			a, err := r.try(ctx, rate, during)
			say("%6.0f offered, %6.0f right, %d refused", a.Offered, a.Right, a.Refused)
			return a, err
		})
		if err != nil {
			return err
		}
		r.scenario.Rate = math.Round(r.scenario.Overload * r.pressed.Capacity)
		r.pressed.Before = r.target.meter.resident()
		say("capacity %.0f calls per second, offering %.0f", r.pressed.Capacity, r.scenario.Rate)
	case r.scenario.Hostile > 0:
		r.beset = &beset{}
		say("measuring for %v without hostile users", r.scenario.Duration)
		if r.beset.Without, err = r.try(ctx, r.scenario.Rate, r.scenario.Duration); err != nil {
			return err
		}
		r.intruders, err = intrude(ctx, r)
	}
	return err
}

// trying offers calls at a rate for a while.
type trying func(rate float64, during time.Duration) (probe, error)

// search offers more and more until the server does not keep up, then for longer what it did keep up with, and what lies in between. What went right of the
// most that it has kept up with is its capacity; not the best of all, which is what luck had most of.
func (p *pressed) search(rate float64, try trying) error {
	good, bad, first := 0.0, math.Inf(1), rate
	for step := 0; step < maxSteps && rate <= maxRate && math.IsInf(bad, 1); step++ {
		kept, err := p.keeps(rate, quickStep, try)
		switch {
		case err != nil:
			return err
		case kept:
			good, rate = rate, rate*stepFactor
		default:
			bad = rate
		}
	}
	for long := false; !long && good > 0 && !math.IsInf(bad, 1); { // a second may have been too short to tell
		var err error
		if long, err = p.keeps(good, longStep, try); err != nil {
			return err
		}
		if !long {
			good, bad = good/stepFactor, good
		}
		if good < first*0.99 { // not even the first for long
			return nil
		}
	}
	for n := 0; n < halvings && good > 0 && !math.IsInf(bad, 1); n++ {
		between := math.Sqrt(good * bad)
		kept, err := p.keeps(between, longStep, try)
		switch {
		case err != nil:
			return err
		case kept:
			good = between
		default:
			bad = between
		}
	}
	return nil
}

// keeps says whether the server keeps up with a rate, in one of some tries. The capacity is that of the last rate it did;
// without any, the most that went right.
func (p *pressed) keeps(rate float64, during time.Duration, try trying) (bool, error) {
	for range stepTries {
		a, err := try(rate, during)
		if err != nil {
			return false, err
		}
		p.Steps = append(p.Steps, a)
		if a.Right >= keepsUp*a.Offered {
			p.Capacity, p.kept = a.Right, true
			return true, nil
		}
		if !p.kept {
			p.Capacity = max(p.Capacity, a.Right)
		}
	}
	return false, nil
}

// try offers calls that count only for what it gives, and for the verdict.
func (r *run) try(ctx context.Context, rate float64, during time.Duration) (probe, error) {
	one := &trial{rings: newHistogram()}
	r.tally.begin(one)
	began, used := time.Now(), r.target.meter.cpu()
	err := r.offer(ctx, rate, during, false)
	r.tally.begin(nil)
	a := one.probe(rate, began, during)
	a.CPU = (r.target.meter.cpu() - used).Seconds()
	return a, err
}

// trial is what came of some calls, apart from the figures of the run. Guarded by tally.mu.
type trial struct {
	right, refused, wrong int
	rings                 *hdrhistogram.Histogram
	last                  time.Time
}

func (t *tally) begin(one *trial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trial = one
}

func (t *trial) measure(s sample) {
	if t != nil && s.of == ringMetric {
		put(t.rings, s.took)
	}
}

func (t *trial) ended(m *machine, now time.Time) {
	if t == nil {
		return
	}
	switch m.ending {
	case right:
		t.right++
		if end := now.Add(-m.story.lasts(m.timing)); end.After(t.last) {
			t.last = end
		}
	case refused:
		t.refused++
	default:
		t.wrong++
	}
}

// probe is the trial, once it is over, in figures.
func (t *trial) probe(rate float64, began time.Time, during time.Duration) probe {
	took := max(t.last.Sub(began), during)
	return probe{
		Offered: rate, Right: float64(t.right) / took.Seconds(), Refused: t.refused, Wrong: t.wrong,
		RingP50: quantile(t.rings, 50), RingP99: quantile(t.rings, 99),
	}
}

// press adds to the report what overload and hostile users did. r.tally.mu is held.
func (r *run) press(out *report) {
	if p := r.pressed; p != nil {
		p.Offered, p.Goodput, p.After, p.Halfway = r.scenario.Rate, out.Calls.PerSecond, out.Servers.Resident, r.tally.halfway
		if p.Capacity > 0 {
			p.Ratio = p.Goodput / p.Capacity
		}
		out.Overload = p
	}
	if b := r.beset; b != nil {
		ring := out.latency(ringMetric.String())
		b.With = probe{
			Offered: r.scenario.Rate, Right: out.Calls.PerSecond, Refused: out.Calls.Refused, Wrong: out.Calls.Wrong, RingP50: ring.P50, RingP99: ring.P99,
			CPU: out.Servers.CPU,
		}
		b.Deeds = r.intruders.deeds()
		out.Hostile = b
	}
}

func (p *pressed) print(w io.Writer) {
	if p == nil {
		return
	}
	fmt.Fprintf(w, "capacity            %.0f calls per second, after %d steps\n", p.Capacity, len(p.Steps))
	fmt.Fprintf(w, "goodput             %.1f %% of it, with %.1f times as much offered\n", 100*p.Ratio, p.Offered/max(1, p.Capacity))
	fmt.Fprintf(w, "memory              %.1f MB before, %.1f MB after\n", float64(p.Before)/1e6, float64(p.After)/1e6)
}
