package cluster

import "sync/atomic"

// Stats counts since Open.
type Stats struct {
	ViewChanges   atomic.Int64 // views adopted
	Gained, Lost  atomic.Int64 // shards that came and went
	HandOffs      atomic.Int64 // gained shards that waited for somebody's word and got it
	Overdue       atomic.Int64 // gained shards that were opened because the word had not come in time
	Disputed      atomic.Int64 // shards found to be used elsewhere, too, after a partition or a false suspicion
	Forwarded     atomic.Int64 // messages passed on to the owner
	Held          atomic.Int64 // messages that waited for a hand-off
	Early         atomic.Int64 // messages that waited for a view which the sender had seen before
	Requeued      atomic.Int64 // messages that had not left for a dead node and were routed again
	Sent, Arrived atomic.Int64 // messages to and from other nodes
	Unknown       atomic.Int64 // messages of unknown format, class or type: dropped
	Unrouted      atomic.Int64 // messages that no member owned, or that had been passed on too often: dropped
	Overflowed    atomic.Int64 // messages that found a queue full: refused or dropped
	Undelivered   atomic.Int64 // messages to a node that left before they did: dropped
	Oversize      atomic.Int64 // messages longer than MaxBody: refused
	SendFailures  atomic.Int64 // connections to a peer that failed; what was in them is lost
	Conflicts     atomic.Int64 // sightings of another node with a name in use
	Pauses        atomic.Int64 // times that this process stood still for longer than PauseLimit
	Panics        atomic.Int64 // panics while handling a peer's message
}
