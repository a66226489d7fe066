package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// someNames draws between least and most different names.
func someNames(t *rapid.T, least, most int) []string {
	return rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,12}(-?[0-9]{1,3})?`), least, most, rapid.ID[string]).Draw(t, "names")
}

func TestAnyOrderGivesTheSameTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := membersOf(someNames(t, 0, 12)...)
		for i := range members {
			members[i].Leaving = rapid.Bool().Draw(t, "leaving")
		}
		v := newView("", members)
		rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		w := newView("other", members)
		if v.Version != w.Version || *v.owner != *w.owner || !slices.Equal(v.Members, w.Members) {
			t.Fatalf("%v: versions %x and %x", members, v.Version, w.Version)
		}
		for shard := range uint16(Shards) {
			owner := v.Owner(shard)
			if owner.Leaving || owner.Name == "" && slices.ContainsFunc(members, func(m Member) bool { return !m.Leaving }) {
				t.Fatalf("shard %d belongs to %+v", shard, owner)
			}
		}
	})
}

func TestOnlyOneShareMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := someNames(t, 2, 10)
		joiner := names[0]
		before, after := newView("", membersOf(names[1:]...)), newView("", membersOf(names...))
		if before.Version == after.Version {
			t.Fatal("two views of one version")
		}
		for shard := range uint16(Shards) {
			if was, is := before.ownerName(shard), after.ownerName(shard); was != is && is != joiner {
				t.Fatalf("%s joins, and shard %d moves from %s to %s", joiner, shard, was, is)
			}
		}
	})
}

// TestSharesAreEven allows five standard deviations of a fair draw: for three nodes that is 10 %.
func TestSharesAreEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`[a-z0-9.-]{0,10}`).Draw(t, "prefix")
		n := rapid.IntRange(1, 12).Draw(t, "nodes")
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("%s%d", prefix, i)) // as people name them
		}
		fair := float64(Shards) / float64(n)
		allowed := 5 * math.Sqrt(fair*(1-1/float64(n)))
		for name, share := range newView("", membersOf(names...)).Shares() {
			if math.Abs(float64(share)-fair) > allowed {
				t.Fatalf("%s of %v owns %d shards, fair are %.0f±%.0f", name, names, share, fair, allowed)
			}
		}
	})
}

// TestTableIsPinned: nodes of different builds must agree.
func TestTableIsPinned(t *testing.T) {
	v := newView("", membersOf("node-1", "node-2", "node-3"))
	sum := fingerprint(fmt.Sprint(*v.owner))
	if v.Version != pinnedVersion || sum != pinnedTable {
		t.Fatalf("version %#x, table %#x: nodes of the version before would disagree", v.Version, sum)
	}
}

func BenchmarkAssign(b *testing.B) {
	names := []string{"node-1", "node-2", "node-3", "node-4", "node-5"}
	for b.Loop() {
		assign(names)
	}
}

const (
	pinnedVersion = 0xede94ebe3e1df055
	pinnedTable   = 0xfedd48ce408c21a9
)
