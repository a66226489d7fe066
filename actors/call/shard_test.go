package call

import "testing"

// Shard numbers are in call IDs for ever: these never change.
func TestShardsStay(t *testing.T) {
	for u, want := range map[UserID]uint16{"alice": 2285, "bob": 1980, "user-1": 1837, "user-2": 687, "": 3154} {
		if got := u.Shard(); got != want {
			t.Errorf("shard of %q is %d, was %d", u, got, want)
		}
	}
}

func TestIDKeepsItsShard(t *testing.T) {
	for _, shard := range []uint16{0, 1, Shards - 1} {
		if id := NewID(shard, ^uint64(0)); id.Shard() != shard || uint64(id)&(1<<52-1) != 1<<52-1 {
			t.Errorf("%s: shard %d, want %d and all bits of the hash", id, id.Shard(), shard)
		}
	}
}

// Names that differ in the last byte only are spread like any others.
func TestShardsAreEven(t *testing.T) {
	const users = 64 * Shards
	var count [Shards]int
	for i := range users {
		count[UserID("user-"+ID(i).String()).Shard()]++
	}
	for shard, n := range count {
		if n < 20 || n > 130 { // 64 expected, standard deviation 8
			t.Fatalf("shard %d has %d of %d users", shard, n, users)
		}
	}
}
