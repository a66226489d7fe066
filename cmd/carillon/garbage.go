package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How rarely garbage is collected. A collection marks all that lives, 40 ms of a processor for 1,000 connections, and calls wait
// meanwhile: a node that works hard should not collect twice a second. A node at rest has mostly idle connections, which
// are many and never become garbage, and then memory is what counts.
const (
	gcPercent    = 25        // garbage on top of what lives, at least
	maxGCPercent = 800       // at most, since what lives may have grown since it was last marked
	gcEvery      = 12        // seconds between two collections that are aimed at
	gcSlack      = 384 << 20 // bytes of garbage that this may cost, or gcShare
	gcGrowth     = 64 << 20  // the same while devices come in: garbage among what stays leaves holes
	gcShare      = 40        // percent of what lives
	gcKept       = 16        // one byte in so many stays, at least, while devices come in; of calls it is one in thirty
	gcLook       = time.Second
	restAfter    = 2  // looks with little to do, after which memory is given back
	restAgain    = 30 // looks until it is given back once more
)

// collection sets GOGC by what lives and how much is allocated.
type collection struct {
	percent   int
	live      uint64 // bytes after the last collection
	growing   bool   // that was more than after the one before, and much of what was allocated in between
	marked    uint64 // allocated, when that was first seen
	allocated uint64 // bytes since the start, at the last look
	rate      uint64 // bytes a second, smoothed
	resting   int    // looks
}

// next takes the bytes that lived after the last collection and those allocated since the start, once a second, and gives
// the percentage that GOGC should have.
func (c *collection) next(live, allocated uint64) int {
	c.rate = (c.rate + 3*(allocated-c.allocated)) / 4
	c.allocated = allocated
	if live != c.live {
		kept := live - min(live, c.live)
		c.growing = kept > c.live/8 && kept > (allocated-c.marked)/gcKept
		c.live, c.marked = live, allocated
	}
	most := uint64(gcSlack)
	if c.growing {
		most = gcGrowth
	}
	slack := min(c.rate*gcEvery, max(most, live/100*gcShare))
	percent := int(min(max(100*slack/max(live, 1), gcPercent), maxGCPercent))
	if percent != gcPercent && percent*4 > c.percent*3 && percent*3 < c.percent*4 {
		return c.percent // each change stops the world for a moment
	}
	c.percent = percent
	return percent
}

// rest reports whether memory should be given back: for some seconds there was little to do, and some of what is held is
// not used.
func (c *collection) rest(live, free uint64) bool {
	if c.rate*gcEvery > live/8 || free < live/16 {
		c.resting = min(c.resting, 0)
		return false
	}
	if c.resting++; c.resting < restAfter {
		return false
	}
	c.resting = -restAgain
	return true
}

// collect keeps GOGC until ctx ends.
func collect(ctx context.Context) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
	}
	c := &collection{percent: gcPercent}
	debug.SetGCPercent(c.percent)
	tick := time.NewTicker(gcLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		live, allocated := samples[0].Value.Uint64(), samples[1].Value.Uint64()
		if before := c.percent; c.next(live, allocated) != before {
			debug.SetGCPercent(c.percent)
		}
		free, garbage := samples[2].Value.Uint64(), samples[3].Value.Uint64()-min(live, samples[3].Value.Uint64())
		if c.rest(live, free+garbage) {
			debug.FreeOSMemory() // after a collection
		}
	}
}
