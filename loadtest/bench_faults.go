package main

import (
	"context"
	"errors"
	"time"
)

// The node-kill scenario, shorter.
const (
	killTime  = 24 * time.Second
	killAfter = 6 * time.Second
	killBack  = 8 * time.Second
)

// capacity is the most calls per second that go right on one node.
func (b *benchmark) capacity(ctx context.Context) (float64, error) {
	if b.findings.Capacity == 0 {
		if _, err := b.press(ctx, func(o *options) { o.scenario.Overload, o.scenario.Duration = 1, time.Second }); err != nil {
			return 0, err
		}
	}
	return b.findings.Capacity, nil
}

// press finds the capacity, and offers more.
func (b *benchmark) press(ctx context.Context, change func(*options)) (*report, error) {
	r, err := b.play(ctx, "overload", change)
	if err != nil {
		return nil, err
	}
	if r.Overload == nil || r.Overload.Capacity == 0 {
		return nil, errors.New("no call went right")
	}
	b.findings.Capacity = r.Overload.Capacity
	b.say("  the capacity is %.0f calls per second", r.Overload.Capacity)
	return r, nil
}

func (b *benchmark) measureOverload(ctx context.Context) error {
	r, err := b.press(ctx, asIs)
	if err != nil {
		return err
	}
	o := r.Overload
	found := &overrun{Goodput: o.Ratio, RefusedP99: r.latency(refusedMetric.String()).P99}
	if o.Before > 0 {
		found.Growth = float64(o.After) / float64(o.Before)
	}
	b.findings.Overload = found
	b.say("  %.0f offered: %.0f right, %d refused", o.Offered, o.Goodput, r.Calls.Refused)
	return nil
}

// measurePostgres compares one node with three at a rate that both can do, and then keeps the one nearly as busy as it can be.
func (b *benchmark) measurePostgres(ctx context.Context) error {
	full, err := b.capacity(ctx)
	if err != nil {
		return err
	}
	f := &b.findings
	rate := sharedLoad * full
	one := func(o *options) { o.postgres = true }
	f.One, err = b.offer(ctx, rate, one)
	if errors.Is(err, errNoPostgres) {
		f.NoStore = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	f.Three, err = b.offer(ctx, rate, func(o *options) { o.spawn = 3 })
	if err != nil {
		return err
	}
	f.Stored, err = b.offer(ctx, storedLoad*full, one)
	return err
}

// measureStorm has the servers use two processors.
func (b *benchmark) measureStorm(ctx context.Context) error {
	r, err := b.playOnTwo(ctx, "reconnect-storm", func(o *options) { o.scenario.Users = benchDevices })
	if err != nil {
		return err
	}
	worst := r.Faults.slowest()
	b.findings.Storm = &worst
	b.say("  %d devices were back after %.1f s", worst.Devices, worst.Seconds)
	return nil
}

// stalls are what shows how long a ringing call stood still: all that is due while it does comes late by that, as it counts from
// when it was due, and there are calls enough for something to be due at once.
var stalls = []metric{metric(accept), metric(reject), metric(cancel), toldMetric, lateMetric}

func (b *benchmark) measureNodeKill(ctx context.Context) error {
	r, err := b.playOnTwo(ctx, "node-kill", func(o *options) {
		o.spawn = 3
		s := &o.scenario
		s.Duration = killTime
		for i := range s.Faults {
			s.Faults[i].At, s.Faults[i].Back = killAfter, killBack
		}
	})
	if errors.Is(err, errNoPostgres) {
		b.findings.NoStore = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	live := 0.0
	for _, m := range stalls {
		live = max(live, r.latency(m.String()).Max/1000)
	}
	b.findings.Kill = &killed{Live: live, Lost: r.Audit.Wrong}
	b.say("  calls were live again after %.1f s; %d touched, %d of the lists' entries wrong", live, r.Faults.Touched, r.Audit.Wrong)
	return nil
}

// playOnTwo does a run whose servers may use two processors, and this program the others, or those too if there are no others.
func (b *benchmark) playOnTwo(ctx context.Context, name string, change func(*options)) (r *report, err error) {
	if err := pinSelf(b.otherCPUs); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pinSelf(b.loadCPUs)) }()
	return b.play(ctx, name, func(o *options) {
		o.serverCPUs = b.twoCPUs
		change(o)
	})
}
