// Package cluster knows who is alive and who owns a shard, and carries messages between nodes. It knows nothing of calls.
//
// The one idea: a View, immutable and the same on every node that sees the same members, is a table of 4,096 owners. Who
// sends by a shard looks the owner up in an array; who receives looks again, and passes on what is not his. What moves
// when the table changes is handed over: the new owner holds messages back until the old one has said that it is done.
//
//	memberlist ──▶ membership ──▶ run (one goroutine) ──▶ View (atomic pointer)
//	                                │ handoff: who waits for whom (pure)
//	                                ▼
//	Send ──▶ route ──▶ Deliver      holds: what waits
//	            └────▶ link ──▶ protoactor remote ──▶ gateway ──▶ arrive ──▶ Deliver, hold or forward
//
// It promises no quorum: in a partition each side owns every shard. Whoever keeps state by shard must fence its writes.
// What is promised under which fault is in DESIGN.md.
//
// Concurrency: a View is read without locks. One goroutine builds views and moves shards; Changed, Disputed and Paused run
// on it. Deliver and Direct run on the goroutine of a sender or of a peer's connection and must not block.
package cluster
