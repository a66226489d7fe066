package main

import (
	"fmt"
	"io"
)

// troubled counts what faults have done to the calls.
type troubled struct {
	retries   int
	touched   int
	overtaken int
	alone     int
}

// aftermath is what a run with faults shows besides.
type aftermath struct {
	Reconnects int      `json:"reconnects"`      // connections that were lost and replaced
	Retries    int      `json:"requests_again"`  // requests that were sent again
	Touched    int      `json:"calls_touched"`   // calls that went on while a fault might touch them
	Overtaken  int      `json:"calls_overtaken"` // of those, whose time was over before their next deed got through
	Alone      int      `json:"rings_own_clock"` // rings that a device's own clock has ended
	Returns    []exodus `json:"returns"`         // of devices, after each fault
	FirstMem   int64    `json:"resident_first"`  // bytes, mean of the first quarter of the seconds
	LastMem    int64    `json:"resident_last"`   // of the last quarter
}

// retried counts a request that is sent again.
func (t *tally) retried() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retries++
}

// disturbed counts a call that a fault may touch.
func (t *tally) disturbed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touched++
}

// count takes what a fault has made of a call. t.mu is held.
func (t *tally) count(m *machine) {
	t.alone += m.alone
	if m.overtaken {
		t.overtaken++
	}
}

// aftermath puts together what the faults have done. t.mu is held.
func (r *run) aftermath() aftermath {
	t := r.tally
	out := aftermath{Retries: t.retries, Touched: t.touched, Overtaken: t.overtaken, Alone: t.alone}
	if r.crowd.returns != nil {
		out.Reconnects = r.crowd.returns.total()
	}
	r.diary.mu.Lock()
	defer r.diary.mu.Unlock()
	for _, e := range r.diary.leaving {
		if e.Devices > 0 {
			out.Returns = append(out.Returns, *e)
		}
	}
	out.FirstMem, out.LastMem = quarters(t.seconds)
	return out
}

// quarters is the mean memory in the first and the last quarter of the seconds.
func quarters(seconds []second) (first, last int64) {
	n := len(seconds) / 4
	if n == 0 {
		return 0, 0
	}
	for i := range n {
		first += seconds[i].Memory
		last += seconds[len(seconds)-1-i].Memory
	}
	return first / int64(n), last / int64(n)
}

// slowest is the fault after which it took longest until all devices were back; zero: none was away.
func (a *aftermath) slowest() (worst exodus) {
	for _, e := range a.Returns {
		if e.Seconds > worst.Seconds {
			worst = e
		}
	}
	return worst
}

// add takes in what another process of the run has seen, but for memory.
func (a *aftermath) add(b *aftermath) {
	a.Reconnects += b.Reconnects
	a.Retries += b.Retries
	a.Touched += b.Touched
	a.Overtaken += b.Overtaken
	a.Alone += b.Alone
	a.Returns = append(a.Returns, b.Returns...)
}

// growth is by how many percent the servers' memory has grown from the first quarter to the last.
func (a *aftermath) growth() float64 {
	if a.FirstMem == 0 {
		return 0
	}
	return 100 * (float64(a.LastMem)/float64(a.FirstMem) - 1)
}

// printAftermath tells what was done to the servers, and what came of it.
func (r *report) printAftermath(w io.Writer) {
	for _, m := range r.Moments {
		fmt.Fprintf(w, "after %8.3f s    %s\n", m.At, m.What)
	}
	a := r.Faults
	if a.Reconnects+a.Retries+a.Touched == 0 {
		return
	}
	fmt.Fprintf(w, "faults              %d calls touched, %d of them overtaken by their time-outs; %d requests sent again; %d rings ended by a device's own clock\n",
		a.Touched, a.Overtaken, a.Retries, a.Alone)
	fmt.Fprintf(w, "reconnects          %d\n", a.Reconnects)
	for _, e := range a.Returns {
		fmt.Fprintf(w, "  %s: %d devices were back after %.2f s", e.After, e.Devices, e.Seconds)
		if e.Up > 0 {
			fmt.Fprintf(w, ", %.2f s after the servers were", e.Up)
		}
		if r.Scenario.Rate == 0 { // else it is not of the logins alone
			fmt.Fprintf(w, "; %.3f s of CPU per 1,000", e.CPUPer1000)
		}
		fmt.Fprintln(w)
	}
	for _, m := range []metric{faultLateMetric, faultToldMetric} {
		if l := r.latency(m.String()); l.Count > 0 {
			fmt.Fprintf(w, "  %s: at worst %.0f ms, of %d\n", l.Of, l.Max, l.Count)
		}
	}
}
