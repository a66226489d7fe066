package main

import (
	"runtime/metrics"
	"time"
)

// lag measures how long goroutines that could run waited for a processor: the honest sign of a machine that has more to do
// than it can, and of nothing else (a slow disk does not show in it). Not safe for concurrent use.
type lag struct {
	sample [1]metrics.Sample
	last   []uint64 // counts by bucket, when last read
}

// lagQuantile is the part of all waits that are shorter than what read gives.
const lagQuantile = 0.9

func newLag() *lag {
	l := &lag{}
	l.sample[0].Name = "/sched/latencies:seconds"
	return l
}

// read gives the wait that a tenth of all exceeded since the last read.
func (l *lag) read() time.Duration {
	metrics.Read(l.sample[:])
	if l.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // a runtime that does not tell
	}
	h := l.sample[0].Value.Float64Histogram()
	if l.last == nil {
		l.last = append(l.last, h.Counts...)
		return 0
	}
	var all uint64
	for i, n := range h.Counts {
		all += n - l.last[i]
	}
	beyond := uint64(float64(all) * (1 - lagQuantile))
	var seen uint64
	wait := time.Duration(0)
	found := false
	for i := len(h.Counts) - 1; i >= 0; i-- {
		if seen += h.Counts[i] - l.last[i]; seen > beyond && !found {
			wait, found = time.Duration(h.Buckets[i]*float64(time.Second)), true
		}
		l.last[i] = h.Counts[i]
	}
	return wait
}
