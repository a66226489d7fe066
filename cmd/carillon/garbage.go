package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How rarely garbage is collected. A collection marks all that lives, 40 ms of a processor for 1,000 connections, and calls wait
// meanwhile: a small node that works hard should not collect twice a second. Most of what lives is idle connections, which
// are many and never become garbage, so a large or an idle node keeps to gcPercent, which saves memory and costs little.
const (
	gcPercent    = 60        // garbage on top of what lives, at least
	maxGCPercent = 800       // at most, since what lives may have grown since it was last marked
	gcEvery      = 8         // seconds between two collections that are aimed at
	gcSlack      = 256 << 20 // bytes of garbage that this may cost
	gcLook       = time.Second
)

// collection sets GOGC by what lives and how much is allocated.
type collection struct {
	percent   int
	allocated uint64 // bytes since the start, at the last look
	rate      uint64 // bytes a second, smoothed
}

// next takes the bytes that lived after the last collection and those allocated since the start, once a second, and gives
// the percentage that GOGC should have.
func (c *collection) next(live, allocated uint64) int {
	c.rate = (c.rate + allocated - c.allocated) / 2
	c.allocated = allocated
	slack := min(c.rate*gcEvery, gcSlack)
	percent := int(min(max(100*slack/max(live, 1), gcPercent), maxGCPercent))
	if percent != gcPercent && percent*4 > c.percent*3 && percent*3 < c.percent*4 {
		return c.percent // each change stops the world for a moment
	}
	c.percent = percent
	return percent
}

// collect keeps GOGC until ctx ends.
func collect(ctx context.Context) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
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
		if before := c.percent; c.next(samples[0].Value.Uint64(), samples[1].Value.Uint64()) != before {
			debug.SetGCPercent(c.percent)
		}
	}
}
