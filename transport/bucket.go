package transport

import "time"

// bucket is a token bucket: rate per second, filled up to burst. The zero value is full. It is not safe for concurrent use.
type bucket struct {
	spent float64 // tokens missing from a full bucket; above burst: in debt
	last  time.Time
}

func (b *bucket) refill(now time.Time, rate float64) {
	b.spent = max(0, b.spent-now.Sub(b.last).Seconds()*rate)
	b.last = now
}

// take takes one token if there is one.
func (b *bucket) take(now time.Time, rate, burst float64) bool {
	b.refill(now, rate)
	if b.spent+1 > burst {
		return false
	}
	b.spent++
	return true
}

// full says whether nothing has been taken that is not there again.
func (b *bucket) full(now time.Time, rate float64) bool {
	b.refill(now, rate)
	return b.spent == 0
}

// charge takes cost tokens, also those that are not there yet, and says how long to wait until they are.
func (b *bucket) charge(now time.Time, rate, burst, cost float64) time.Duration {
	b.refill(now, rate)
	b.spent += cost
	return time.Duration(max(0, b.spent-burst) / rate * float64(time.Second))
}
