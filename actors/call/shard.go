package call

import "hash/fnv"

// Shards is how many shards there are, for ever: shard numbers are part of call IDs.
const Shards = 4096

// shardBits is where the shard sits in an ID: above the 52 hashed bits.
const shardBits = 52

// Shard is the shard that the user's session and the calls he makes belong to: 0..Shards-1. It never changes.
func (u UserID) Shard() uint16 {
	h := fnv.New64a()
	h.Write([]byte(u))
	x := h.Sum64()
	x ^= x >> 33 // FNV leaves its last bytes in the low bits only: mix, or near names share shards
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return uint16(x % Shards)
}

// Shard is the shard that the call lives in.
func (id ID) Shard() uint16 { return uint16(id >> shardBits) }

// NewID is the ID in the given shard whose other bits are the low 52 of hash.
func NewID(shard uint16, hash uint64) ID {
	return ID(shard)<<shardBits | ID(hash&(1<<shardBits-1))
}
