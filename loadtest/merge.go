package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// merge is several reports as one, of parts of one run or of runs that belong together: sums, and percentiles of all their
// measurements together. The verdict is on the whole. The first report gives the scenario's name and what it is about.
func merge(parts []*report) (*report, error) {
	first := parts[0]
	out := &report{
		Run: first.Run, Began: first.Began, Measured: first.Measured, Target: first.Target, Command: first.Command, Scenario: first.Scenario,
		Outcomes: map[string]*outcomes{}, Codes: map[uint32]int{},
	}
	out.Scenario.Users, out.Scenario.Rate, out.Scenario.AuditCalls = 0, 0, 0
	for _, p := range parts {
		out.Scenario.Users += p.Scenario.Users
		out.Scenario.Rate += p.Scenario.Rate
		out.Scenario.AuditCalls += p.Scenario.AuditCalls
		addCounts(&out.Calls, p.Calls)
		for name, o := range p.Outcomes {
			if out.Outcomes[name] == nil {
				out.Outcomes[name] = &outcomes{}
			}
			addCounts(out.Outcomes[name], *o)
		}
		for code, n := range p.Codes {
			out.Codes[code] += n
		}
		out.Servers.add(p.Servers)
		out.Audit.Calls, out.Audit.Users, out.Audit.Wrong = out.Audit.Calls+p.Audit.Calls, out.Audit.Users+p.Audit.Users, out.Audit.Wrong+p.Audit.Wrong
		out.Audit.Reasons = atMost(append(out.Audit.Reasons, p.Audit.Reasons...))
		out.Failures = atMost(append(out.Failures, p.Failures...))
		out.Lost = atMost(append(out.Lost, p.Lost...))
		out.Moments = append(out.Moments, p.Moments...)
		out.Faults.add(&p.Faults)
		out.Verdict = append(out.Verdict, p.besides()...)
	}
	if out.Calls.Right > 0 {
		out.Servers.CPUPer1000 = out.Servers.CPU / float64(out.Calls.Right) * 1000
	}
	slices.SortStableFunc(out.Moments, func(a, b moment) int { return cmp.Compare(a.At, b.At) })
	out.Seconds = mergeSeconds(parts)
	out.Faults.FirstMem, out.Faults.LastMem = quarters(out.Seconds)
	var err error
	out.Latencies, err = mergeLatencies(parts)
	out.judge()
	return out, err
}

func atMost[T any](all []T) []T { return all[:min(len(all), maxSamples)] }

// addCounts sums the numbers of a struct, field by field: what a later version adds is not forgotten.
func addCounts[T any](sum *T, more T) {
	to, from := reflect.ValueOf(sum).Elem(), reflect.ValueOf(more)
	for i := range to.NumField() {
		switch f := to.Field(i); f.Kind() {
		case reflect.Int:
			f.SetInt(f.Int() + from.Field(i).Int())
		case reflect.Float64:
			f.SetFloat(f.Float() + from.Field(i).Float())
		}
	}
}

func (s *costs) add(o costs) {
	s.CPU += o.CPU
	s.Generator += o.Generator
	s.Resident += o.Resident
	s.LoginsPer1000 = max(s.LoginsPer1000, o.LoginsPer1000)
	s.BytesPerDevice = max(s.BytesPerDevice, o.BytesPerDevice)
}

// besides is what a verdict has that does not follow from the figures: it stays true of the whole.
func (r *report) besides() []string {
	again := *r
	again.Verdict = nil
	again.judge()
	return slices.DeleteFunc(slices.Clone(r.Verdict), func(v string) bool { return slices.Contains(again.Verdict, v) })
}

func mergeLatencies(parts []*report) (out []latency, err error) {
	for _, p := range parts {
		for _, l := range p.Latencies {
			if slices.ContainsFunc(out, func(o latency) bool { return o.Of == l.Of }) {
				continue
			}
			sum := newHistogram()
			for _, q := range parts {
				one := q.latency(l.Of)
				h, err := decode(one.Histogram, histDigits)
				if err != nil || h.TotalCount() != one.Count {
					return nil, fmt.Errorf("report %s: has no histogram of %s that fits its count: %w", q.Run, l.Of, errors.Join(err, errNoMerge))
				}
				sum.Merge(h)
			}
			out = append(out, newLatency(l.Of, sum))
		}
	}
	return out, nil
}

var errNoMerge = errors.New("it cannot be merged")

// mergeSeconds sums what happened in the same second. Seconds are told apart by their number, which leaves half a second for
// clocks and tickers that differ.
func mergeSeconds(parts []*report) []second {
	sums := map[int]*second{}
	for _, p := range parts {
		byNumber := map[int][]second{}
		for _, s := range p.Seconds {
			n := max(1, int(math.Round(s.At)))
			byNumber[n] = append(byNumber[n], s)
		}
		for n, some := range byNumber {
			one := joined(some)
			if sums[n] == nil {
				sums[n] = &one
			} else {
				sums[n].add(one)
			}
		}
	}
	var out []second
	for n, s := range sums {
		s.At = float64(n)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b second) int { return cmp.Compare(a.At, b.At) })
	return out
}

// add sums a second of another part.
func (s *second) add(o second) {
	both := joined([]second{*s, o})
	both.InFlight, both.Online, both.Memory = s.InFlight+o.InFlight, s.Online+o.Online, s.Memory+o.Memory
	*s = both
}

// mergeCommand makes one report of several that were written at the same time, such as by processes on several machines.
func mergeCommand(args []string, out, notes io.Writer) (int, error) {
	set := flag.NewFlagSet("loadtest merge", flag.ContinueOnError)
	set.SetOutput(notes)
	dir := set.String("out", "data/loadtest", "directory of the reports")
	if err := set.Parse(args); err != nil {
		return exitBroken, err
	}
	if set.NArg() < 2 {
		return exitBroken, errors.New("merge takes two runs or more: their names, or their .json files")
	}
	var parts []*report
	for _, name := range set.Args() {
		r, err := loadReport(*dir, name)
		if err != nil {
			return exitBroken, err
		}
		parts = append(parts, r)
	}
	whole, err := mergeRuns(parts)
	if err != nil {
		return exitBroken, err
	}
	return whole.finish(*dir, out, notes)
}

// mergeRuns merges reports of runs that went on at the same time, on one clock.
func mergeRuns(parts []*report) (*report, error) {
	for _, p := range parts {
		if p.Measured.IsZero() {
			return nil, fmt.Errorf("run %s: its report does not say when it was measured; %w", p.Run, errNoMerge)
		}
	}
	first := slices.MinFunc(parts, func(a, b *report) int { return a.Measured.Compare(b.Measured) })
	var names []string
	seen := ""
	for _, p := range parts {
		names = append(names, p.Run)
		switch {
		case slices.Index(names, p.Run) < len(names)-1:
			return nil, fmt.Errorf("run %s is named twice", p.Run)
		case !reflect.DeepEqual(p.Scenario.kind(), first.Scenario.kind()):
			return nil, fmt.Errorf("runs %s and %s are of different scenarios (only users, rate and audit_calls may differ)", first.Run, p.Run)
		case !p.Measured.Before(first.Measured.Add(first.Scenario.Duration)):
			return nil, fmt.Errorf("runs %s and %s were not measured at the same time: %v and %v", first.Run, p.Run, first.Measured.UTC(), p.Measured.UTC())
		case p.Servers.Resident > 0 && seen != "":
			return nil, fmt.Errorf("runs %s and %s both saw the servers, whose CPU must not count twice: let only one have -pids or -spawn", seen, p.Run)
		case p.Servers.Resident > 0:
			seen = p.Run
		}
		p.shift(p.Measured.Sub(first.Measured))
	}
	whole, err := merge(parts)
	if err != nil {
		return nil, err
	}
	whole.Run = "m" + strings.TrimPrefix(first.Run, "r")
	whole.Began, whole.Measured = first.Began, first.Measured
	whole.Command = append([]string{"merge"}, names...)
	return whole, nil
}

// kind is a scenario without what the parts of a run share out among them.
func (s scenario) kind() scenario {
	s.Users, s.Rate, s.AuditCalls = 0, 0, 0
	return s
}

// shift moves all to a clock that began earlier.
func (r *report) shift(by time.Duration) {
	for i := range r.Seconds {
		r.Seconds[i].At += by.Seconds()
	}
	for i := range r.Moments {
		r.Moments[i].At += by.Seconds()
	}
}
