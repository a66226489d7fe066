package main

import (
	"fmt"
	"strconv"
)

// goal is one figure of the table. What it should be is said twice: at first, and in the end.
type goal struct {
	Figure  string   `json:"figure"`
	First   *float64 `json:"first,omitempty"` // target; nil: there is none
	Then    *float64 `json:"then,omitempty"`
	AtLeast bool     `json:"at_least,omitempty"` // else at most
	Unit    string   `json:"unit"`
	Result  *float64 `json:"result,omitempty"` // nil: not measured
	Why     string   `json:"why,omitempty"`    // it was not
	digits  int
}

// met says whether the result is what the first target wants.
func (r *goal) met() bool {
	if r.AtLeast {
		return *r.Result >= *r.First
	}
	return *r.Result <= *r.First
}

// cells are the goal as it is printed.
func (r *goal) cells() []string {
	sign := "≤ "
	if r.AtLeast {
		sign = "≥ "
	}
	target := func(v *float64) string {
		if v == nil {
			return ""
		}
		if *v == 0 {
			return "none"
		}
		text := strconv.FormatFloat(*v, 'f', -1, 64)
		if *v >= 1000 {
			text = grouped(int(*v))
		}
		return sign + text + r.Unit
	}
	result, verdict := "", ""
	switch {
	case r.Result == nil:
		result = "–"
	case r.digits == 0:
		result = grouped(int(*r.Result+0.5)) + r.Unit
	default:
		result = strconv.FormatFloat(*r.Result, 'f', r.digits, 64) + r.Unit
	}
	if r.Result != nil && r.First != nil {
		verdict = "ok"
		if !r.met() {
			verdict = "MISSED"
		}
	}
	return []string{r.Figure, target(r.First), target(r.Then), result, verdict}
}

// rows are the table of PERFORMANCE.md: its targets, and what was found.
func (f *findings) rows() []goal {
	out := append(f.setupRows(), f.storeRows()...)
	out = append(out, upTo("memory per idle device, of 10,000", 75, 40, " kB", 1, when(f.Device > 0, func() float64 { return float64(f.Device) / 1e3 })))
	return append(out, f.faultRows()...)
}

func (f *findings) setupRows() []goal {
	near, relay, half := median(f.Near), median(f.Relay), f.Half
	if near != nil && near.CPUPer1000 == 0 { // it is not seen
		near = nil
	}
	both := near != nil && relay != nil
	out := []goal{
		upTo("call set-up, CPU against the bare relay", 1.8, 1, "×", 2, when(both, func() float64 { return near.CPUPer1000 / relay.CPUPer1000 })),
		upTo("  CPU s per 1,000", 0.45, 0.25, "", 3, when(near != nil, func() float64 { return near.CPUPer1000 })),
		beside("  the relay's, at the same rate", "", 3, when(relay != nil, func() float64 { return relay.CPUPer1000 })),
		beside("  the relay's, as busy", "", 3, when(f.RelayBusy != nil, func() float64 { return f.RelayBusy.CPUPer1000 })),
		atLeast("set-ups per second on one core, none failed", 2000, 4000, "", 0, when(f.Clean > 0, func() float64 { return f.Clean })),
		upTo("invite → ring at half load, p50", 3, 1.5, " ms", 2, when(half != nil, func() float64 { return half.RingP50 })),
		upTo("  p99", 20, 10, " ms", 1, when(half != nil, func() float64 { return half.RingP99 })),
	}
	if len(f.Near) > 0 && f.Clean == 0 {
		out[4].Why = "of the set-ups near saturation some failed each time"
	}
	if near != nil {
		out[1].Figure = fmt.Sprintf("  CPU s per 1,000, at %s per second", grouped(int(near.Right)))
	}
	if f.RelayBusy != nil {
		out[3].Figure = fmt.Sprintf("  the relay's, as busy, at %s per second", grouped(int(f.RelayBusy.Right)))
	}
	return out
}

func (f *findings) storeRows() []goal {
	out := []goal{
		upTo("three nodes: CPU per call against one", 1.8, 1.3, "×", 2,
			when(f.Three != nil && f.One.CPUPer1000 > 0, func() float64 { return f.Three.CPUPer1000 / f.One.CPUPer1000 })),
		upTo("durable in PostgreSQL, CPU s per 1,000", 0.65, 0.4, "", 3, when(f.Stored != nil && f.Stored.CPUPer1000 > 0, func() float64 { return f.Stored.CPUPer1000 })),
	}
	for i := range out {
		out[i].Why = f.NoStore
	}
	return out
}

func (f *findings) faultRows() []goal {
	o, k, s := f.Overload, f.Kill, f.Storm
	out := []goal{
		atLeast("twice the capacity: goodput, of capacity", 80, 95, " %", 1, when(o != nil, func() float64 { return 100 * o.Goodput })),
		upTo("  refused after, p99", 100, 0, " ms", 0, when(o != nil, func() float64 { return o.RefusedP99 })),
		upTo("  memory, of what it was before", flatMemory, 0, "×", 2, when(o != nil, func() float64 { return o.Growth })),
		upTo("kill -9 of one of three: calls live again", 5, 2, " s", 1, when(k != nil, func() float64 { return k.Live })),
		upTo("  acknowledged changes lost", 0, 0, "", 0, when(k != nil, func() float64 { return float64(k.Lost) })),
		upTo("10,000 devices reconnect: all back after", 30, 15, " s", 1, when(s != nil, func() float64 { return s.Seconds })),
	}
	out[3].Why, out[4].Why = f.NoStore, f.NoStore
	return out
}

// flatMemory is how much a server may grow while it is offered too much: calls that were let in stay in memory for a minute.
const flatMemory = 1.25

func beside(figure, unit string, digits int, result *float64) goal {
	return goal{Figure: figure, Unit: unit, Result: result, digits: digits}
}

// upTo is a goal whose result should not be above first, later then (0: the same).
func upTo(figure string, first, then float64, unit string, digits int, result *float64) goal {
	r := beside(figure, unit, digits, result)
	r.First = &first
	if then > 0 {
		r.Then = &then
	}
	return r
}

func atLeast(figure string, first, then float64, unit string, digits int, result *float64) goal {
	r := upTo(figure, first, then, unit, digits, result)
	r.AtLeast = true
	return r
}

func when(there bool, of func() float64) *float64 {
	if !there {
		return nil
	}
	v := of()
	return &v
}
