package cluster

import (
	"iter"
	"math/bits"
)

// Shards is how many parts the space of identities is cut into, on every node of every version.
const Shards = 4096

// nobody is the index of the owner where there is none.
const nobody = -1

// table holds the index of each shard's owner among some names, or nobody.
type table [Shards]int16

// assign gives each shard to the name that scores highest for it (rendezvous hashing): a name that comes or goes moves
// only its own share. The names must be in the same order everywhere.
func assign(names []string) *table {
	marks := make([]uint64, len(names))
	for i, name := range names {
		marks[i] = fingerprint(name)
	}
	var t table
	for shard := range t {
		seed, best, owner := mix(uint64(shard)+0x9e3779b97f4a7c15), uint64(0), nobody
		for i, mark := range marks {
			if score := mix(seed ^ mark); owner == nobody || score > best {
				best, owner = score, i
			}
		}
		t[shard] = int16(owner)
	}
	return &t
}

// fingerprint is FNV-1a with a finaliser: FNV alone hardly spreads the last bytes, by which names differ.
func fingerprint(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// shardSet is a set of shards.
type shardSet [Shards / 64]uint64

func setOf(shards []uint16) *shardSet {
	var s shardSet
	for _, shard := range shards {
		s.add(shard)
	}
	return &s
}

func (s *shardSet) add(shard uint16)      { s[shard/64] |= 1 << (shard % 64) }
func (s *shardSet) has(shard uint16) bool { return s[shard/64]&(1<<(shard%64)) != 0 }

func (s *shardSet) all() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(uint16(64*i + bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}

func (s *shardSet) len() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}
