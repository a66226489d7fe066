package actors

import "carillon/actors/call"

// shardSet is a set of shards.
type shardSet [call.Shards / 64]uint64

func setOf(shards []uint16) *shardSet {
	var s shardSet
	for _, shard := range shards {
		s.add(shard)
	}
	return &s
}

func (s *shardSet) add(shard uint16) { s[shard/64] |= 1 << (shard % 64) }

func (s *shardSet) has(shard uint16) bool { return s[shard/64]&(1<<(shard%64)) != 0 }

func (s *shardSet) list() []uint16 {
	var out []uint16
	for shard := range uint16(call.Shards) {
		if s.has(shard) {
			out = append(out, shard)
		}
	}
	return out
}
