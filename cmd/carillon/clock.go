package main

import "time"

// steadyClock is the time of day at the start plus what has passed since by the monotonic clock: it never jumps, whatever
// is done to the machine's clock while the node runs.
func steadyClock() func() time.Time {
	start := time.Now()
	wall := start.Round(0)
	return func() time.Time { return wall.Add(time.Since(start)) }
}
