package cluster

import "time"

// watchClock notices when this process has stood still: stopped, swapped out, or its machine suspended. The monotonic
// clock goes on while a process is stopped but not while its machine is; the wall clock goes on in both. A wall clock that
// is set forward looks the same, which costs one needless rejoin.
func (c *Cluster) watchClock() {
	limit := c.cfg.Tuning.PauseLimit
	tick := time.NewTicker(limit / 4)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		if gap := standstill(last, now); gap > limit {
			select {
			case c.pauses <- gap:
			default:
			}
		}
		last = now
	}
}

// standstill is the time between two readings by whichever clock says more.
func standstill(last, now time.Time) time.Duration {
	return max(now.Sub(last), now.Round(0).Sub(last.Round(0)))
}
