package persistence

import (
	"math"
	"slices"

	"carillon/actors/call"
)

// span is a range of call IDs, both ends in it. A shard is one: its number is in an ID's upper bits.
type span struct{ first, last call.ID }

// shardCalls is how many IDs a shard has.
const shardCalls = 1 << 52

// spansOf gives the IDs of some shards (nil: of all), in order, each once, neighbours joined. There is no shard beyond
// call.Shards.
func spansOf(shards []uint16) []span {
	if shards == nil {
		return []span{{0, math.MaxUint64}}
	}
	sorted := slices.Clone(shards)
	slices.Sort(sorted)
	spans := make([]span, 0, len(sorted))
	for i, n := range sorted {
		switch {
		case n >= call.Shards:
			return spans
		case i > 0 && n == sorted[i-1]:
			continue
		case i > 0 && n == sorted[i-1]+1:
			spans[len(spans)-1].last += shardCalls
		default:
			first := call.ID(n) * shardCalls
			spans = append(spans, span{first, first + shardCalls - 1})
		}
	}
	return spans
}

// behindID is what is left of spans behind id, which lies in the first.
func behindID(spans []span, id call.ID) []span {
	if id == spans[0].last {
		return spans[1:]
	}
	return append([]span{{id + 1, spans[0].last}}, spans[1:]...)
}
