package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// What is measured, and for how long.
const (
	benchUsers   = 1000
	benchDevices = 10_000
	benchWarmup  = 2 * time.Second
	benchTime    = 8 * time.Second
	relayTime    = 6 * time.Second
	nearFull     = 0.9  // of the capacity, at which hardly anything is refused
	tooMuch      = 0.9  // what is offered next when something failed, of what was offered
	sharedLoad   = 0.25 // of the capacity on one node, which three nodes on the same processor can do
	storedLoad   = 0.55 // of it: near saturation with PostgreSQL on the same processor
)

// findings are what was measured; nil and none: it was not.
type findings struct {
	Capacity  float64    `json:"capacity_per_s,omitempty"`
	Clean     float64    `json:"none_failed_per_s,omitempty"` // the most set-ups per second of which none failed
	Overload  *overrun   `json:"overload,omitempty"`
	Near      []measured `json:"near_saturation,omitempty"`
	Half      *measured  `json:"half_load,omitempty"`
	Relay     []measured `json:"relay,omitempty"`         // each at the rate of the server before it
	RelayBusy *measured  `json:"relay_as_busy,omitempty"` // as the server was near saturation
	One       *measured  `json:"postgres_one_node,omitempty"`
	Three     *measured  `json:"postgres_three_nodes,omitempty"`
	Stored    *measured  `json:"postgres_near_saturation,omitempty"`
	Device    int64      `json:"bytes_per_idle_device,omitempty"`
	Storm     *exodus    `json:"reconnect_storm,omitempty"`
	Kill      *killed    `json:"node_kill,omitempty"`
	NoStore   string     `json:"no_postgres,omitempty"` // why there is none
}

// measured is set-ups offered at one rate.
type measured struct {
	Run        string  `json:"run,omitempty"`
	Offered    float64 `json:"offered_per_s"`
	Right      float64 `json:"right_per_s"`
	Failed     int     `json:"failed"` // refused included
	CPUPer1000 float64 `json:"cpu_s_per_1000"`
	Cores      float64 `json:"cores"`
	RingP50    float64 `json:"ring_p50_ms,omitempty"`
	RingP99    float64 `json:"ring_p99_ms,omitempty"`
}

// overrun is what became of too much.
type overrun struct {
	Goodput    float64 `json:"goodput_of_capacity"`
	RefusedP99 float64 `json:"refused_p99_ms"`
	Growth     float64 `json:"memory_growth"` // at the end, of what it was before
}

// killed is what became of the calls when a node was killed.
type killed struct {
	Live float64 `json:"live_again_s"` // until the last one was
	Lost int     `json:"acknowledged_lost"`
}

// play does one run on servers of its own, and keeps its report.
func (b *benchmark) play(ctx context.Context, name string, change func(*options)) (*report, error) {
	o := b.options
	var err error
	if o.scenario, err = loadScenario(name); err != nil {
		return nil, err
	}
	change(&o)
	o.scenario.Lenient = o.scenario.Lenient || len(o.scenario.Faults) > 0 || o.spawn > 1
	if err := o.scenario.check(); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	r, err := o.play(ctx, newView(io.Discard, true))
	if err != nil {
		return nil, err
	}
	r.Command = []string{"bench"}
	if _, err := r.save(b.out); err != nil {
		return nil, err
	}
	b.runs = append(b.runs, r.Run)
	for _, why := range r.Verdict {
		b.wrong = append(b.wrong, fmt.Sprintf("%s (%s): %s", r.Run, name, why))
	}
	return r, nil
}

// offer has users set calls up at a rate.
func (b *benchmark) offer(ctx context.Context, rate float64, change func(*options)) (*measured, error) {
	r, err := b.play(ctx, "setup", func(o *options) {
		s := &o.scenario
		s.Users, s.Rate, s.Warmup, s.Duration = benchUsers, rate, benchWarmup, benchTime
		s.MaxRefused = 100 // it is the server's right; the row says what did not fail
		change(o)
	})
	if err != nil {
		return nil, err
	}
	ring := r.latency(ringMetric.String())
	m := &measured{
		Run: r.Run, Offered: rate, Right: r.Calls.PerSecond, Failed: r.Calls.Offered - r.Calls.Right,
		CPUPer1000: r.Servers.CPUPer1000, Cores: r.Servers.CPU / r.Scenario.Duration.Seconds(), RingP50: ring.P50, RingP99: ring.P99,
	}
	b.say("  %5.0f per second: %5.0f right, %d not; %.3f CPU s/1000, ring after %.2f / %.1f ms", rate, m.Right, m.Failed, m.CPUPer1000, m.RingP50, m.RingP99)
	return m, nil
}

func asIs(*options) {}

// measureSetup alternates between the service and the relay, so that both meet the same machine.
func (b *benchmark) measureSetup(ctx context.Context) error {
	full, err := b.capacity(ctx)
	if err != nil {
		return err
	}
	f := &b.findings
	rate := nearFull * full
	for range b.repeats {
		m, err := b.offer(ctx, rate, asIs)
		if err != nil {
			return err
		}
		f.Near = append(f.Near, *m)
		if m.Failed == 0 {
			f.Clean = max(f.Clean, m.Right)
		} else {
			rate *= tooMuch
		}
		if err := b.measureRelay(ctx); err != nil {
			return err
		}
	}
	f.Half, err = b.offer(ctx, cmp.Or(f.Clean, full)/2, asIs)
	return err
}

// measureRelay measures the relay at the server's rate near saturation, and the first time when it is as busy, too.
func (b *benchmark) measureRelay(ctx context.Context) (err error) {
	f := &b.findings
	server := f.Near[len(f.Near)-1]
	if server.Cores == 0 {
		return nil // CPU is not seen here
	}
	r, err := b.startRelay(ctx, benchUsers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	measure := func(rate float64) (measured, error) {
		m, err := r.measure(ctx, rate, relayTime)
		if err == nil {
			b.say("  the relay, %5.0f per second: %.3f CPU s/1000", m.Right, m.CPUPer1000)
		}
		return m, err
	}
	if _, err := r.measure(ctx, server.Offered, benchWarmup); err != nil {
		return err
	}
	m, err := measure(server.Offered)
	if err != nil {
		return err
	}
	f.Relay = append(f.Relay, m)
	if f.RelayBusy != nil {
		return nil
	}
	rate, err := keepsBusy(server.Cores, func(rate float64) (measured, error) { return r.measure(ctx, rate, relayStep) })
	if err != nil {
		return err
	}
	m, err = measure(rate)
	f.RelayBusy = &m
	return err
}

func (b *benchmark) measureIdle(ctx context.Context) error {
	r, err := b.play(ctx, "idle", func(o *options) { o.scenario.Users = benchDevices })
	if err != nil {
		return err
	}
	b.findings.Device = r.Servers.BytesPerDevice
	b.say("  %.1f kB per device", float64(b.findings.Device)/1e3)
	return nil
}

// median is the measurement whose CPU per call is in the middle; nil: there is none.
func median(all []measured) *measured {
	if len(all) == 0 {
		return nil
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(x, y measured) int { return cmp.Compare(x.CPUPer1000, y.CPUPer1000) })
	return &all[len(all)/2]
}
