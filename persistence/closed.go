package persistence

import (
	"context"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"carillon/actors/call"
)

// idSet tells of an ID that surely it isn't in the set, or that perhaps it is: a bit for many IDs. Nothing is ever taken out.
type idSet struct {
	words []atomic.Uint64
	shift int // of an ID's hash: what is left of it numbers the bits

	// Owned by the mutex of closedCalls.
	added int // IDs; one that came twice may count twice
	gone  int // of them, whose calls have been deleted since
}

// newIDSet gives a set of n bits, a power of two from 64.
func newIDSet(n int) *idSet {
	return &idSet{words: make([]atomic.Uint64, n/64), shift: 65 - bits.Len(uint(n))}
}

func (s *idSet) size() int { return 64 * len(s.words) }

// bit finds an ID's: a product with an odd number spreads both its shard and the rest over the upper bits.
func (s *idSet) bit(id call.ID) (word *atomic.Uint64, mask uint64) {
	n := uint64(id) * 0x9e3779b97f4a7c15 >> s.shift
	return &s.words[n/64], 1 << (n % 64)
}

func (s *idSet) set(id call.ID) {
	word, mask := s.bit(id)
	word.Or(mask)
}

func (s *idSet) perhaps(id call.ID) bool {
	word, mask := s.bit(id)
	return word.Load()&mask != 0
}

// bitsFor is the size of a set in which so many IDs set a sixteenth of the bits, within the limits.
func bitsFor(ids int) int {
	n := minClosedBits
	for n < maxClosedBits && n/16 < ids {
		n *= 2
	}
	return n
}

// closedCalls knows of nearly every ID that no call has that no closed call has it, so that a creation needn't look for one on
// the disk. It errs to one side only: where it says no, there is none.
//
// The committer adds what it closes. What was closed before is read from the retention rows, in the background: every closed
// call has one. When too many bits are those of calls that have been deleted, or the calls too many for the bits, a new set
// is built and takes the old one's place.
type closedCalls struct {
	mu    sync.Mutex
	known *idSet // all closed calls; nil: nothing is known
	fresh *idSet // a set being built, to which the closed calls of before are still added; nil: none is

	complained bool // the builder's own: the log says that reading failed
}

// perhaps is false when no closed call has this ID.
func (c *closedCalls) perhaps(id call.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known == nil || c.known.perhaps(id)
}

// add is told of a call before the batch that closes it is committed.
func (c *closedCalls) add(id call.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range [...]*idSet{c.known, c.fresh} {
		if s != nil {
			s.set(id)
			s.added++
		}
	}
}

// lose is told that a closed call is deleted.
func (c *closedCalls) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range [...]*idSet{c.known, c.fresh} {
		if s != nil {
			s.gone++
		}
	}
}

// due reports whether a set should be built: there is none, or more than a quarter of the bits may be set and that can be
// helped, by forgetting half of them or by more bits.
func (c *closedCalls) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.known
	return k == nil || k.added > k.size()/4 && (2*k.gone >= k.added || k.size() < maxClosedBits)
}

// begin gives a set to which the IDs of all closed calls are to be added; those that are closed from here on come by themselves.
func (c *closedCalls) begin() *idSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := 0
	if c.known != nil {
		kept = c.known.added - c.known.gone
	}
	c.fresh = newIDSet(bitsFor(kept))
	return c.fresh
}

// finish puts the fresh set, to which so many IDs were added, in the place of the known one; abandon forgets it.
func (c *closedCalls) finish(read int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh.added += read
	c.known, c.fresh = c.fresh, nil
}

func (c *closedCalls) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = nil
}

// surveyClosed builds a set of the closed calls when one is due. The sweeper alone calls it. A failure costs a creation some
// time, and the next sweep tries again.
func (p *Pebble) surveyClosed(ctx context.Context) {
	for p.closed.due() {
		n, err := p.readClosed(ctx, p.closed.begin())
		if err != nil {
			p.closed.abandon()
			if ctx.Err() == nil && !p.closed.complained {
				p.closed.complained = true
				p.alarm.logger.Error("the closed calls can't be read: new calls are looked for among them one by one", "error", err)
			}
			return
		}
		p.closed.finish(n)
		p.closed.complained = false
	}
}

// readClosed adds the IDs of all closed calls to s.
func (p *Pebble) readClosed(ctx context.Context, s *idSet) (read int, err error) {
	if err := p.settled(ctx, 0); err != nil { // the group under way may have closed calls before there was s
		return 0, err
	}
	lower, upper := []byte{keyRetention}, []byte{keyRetention + 1}
	for ; ; runtime.Gosched() {
		n := 0
		var next []byte
		err := p.reading(ctx, 0, func() error {
			return p.scan(lower, upper, func(key, _ []byte) (bool, error) {
				s.set(idOf(key))
				if n++; n < scanChunk {
					return true, ctx.Err()
				}
				next = append(append(next, key...), 0)
				return false, nil
			})
		})
		read += n
		if err != nil || next == nil {
			return read, err
		}
		lower = next
	}
}
