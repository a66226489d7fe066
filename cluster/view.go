package cluster

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Meta is what a node says of itself to all others. Encoded together with its addresses it must fit 512 bytes.
type Meta struct {
	Client  string // where clients reach it (transport.advertise), host:port
	Version string // of the program
}

// Member is one node that is believed to be alive.
type Member struct {
	Name       string
	RemoteAddr string // for node-to-node messages, host:port
	Meta       Meta
	Leaving    bool   // it is going and owns nothing
	Boot       uint64 // another after each start: what the node knew before is gone
}

// View is one belief about who is alive and who owns what. It never changes.
type View struct {
	Members []Member // sorted by name, leaving ones included
	Version uint64   // equal where the owners are equal, whoever computed it; 0: nobody owns anything

	self   string
	owner  *table // indices into Members
	local  shardSet
	older  map[uint64]time.Time // versions that this node has seen replaced, and when
	inside [stripes]stripe
}

// stripes is over how many counters the users of a view are spread.
const stripes = 16

type stripe struct {
	users atomic.Int64
	_     [56]byte // a cache line each
}

// noView is what a node believes before it has joined: nobody owns anything.
func noView(self string) *View { return newView(self, nil) }

// newView computes the table for these members, in any order.
func newView(self string, members []Member) *View {
	v := &View{Members: slices.Clone(members), self: self}
	slices.SortFunc(v.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	var names []string
	var index []int16
	for i, m := range v.Members {
		if !m.Leaving {
			names, index = append(names, m.Name), append(index, int16(i))
		}
	}
	v.owner = assign(names)
	if len(names) > 0 {
		v.Version = max(fingerprint(strings.Join(names, "\x00")), 1)
	}
	for shard, i := range v.owner {
		if i == nobody {
			continue
		}
		v.owner[shard] = index[i]
		if v.Members[index[i]].Name == self {
			v.local.add(uint16(shard))
		}
	}
	return v
}

// Owner is the member that owns the shard; its Name is empty where nobody does.
func (v *View) Owner(shard uint16) Member {
	if i := v.owner[shard%Shards]; i != nobody {
		return v.Members[i]
	}
	return Member{}
}

// Local reports whether this node owns the shard.
func (v *View) Local(shard uint16) bool { return v.local.has(shard % Shards) }

// Member gives the member of that name.
func (v *View) Member(name string) (Member, bool) {
	i, ok := slices.BinarySearchFunc(v.Members, name, func(m Member, name string) int { return strings.Compare(m.Name, name) })
	if !ok {
		return Member{}, false
	}
	return v.Members[i], true
}

// Shares counts the shards that each member owns.
func (v *View) Shares() map[string]int {
	shares := make(map[string]int, len(v.Members))
	for _, m := range v.Members {
		shares[m.Name] = 0
	}
	for _, i := range v.owner {
		if i != nobody {
			shares[v.Members[i].Name]++
		}
	}
	return shares
}

// ownerName is Owner(shard).Name without copying the member.
func (v *View) ownerName(shard uint16) string {
	if i := v.owner[shard]; i != nobody {
		return v.Members[i].Name
	}
	return ""
}

// outran reports whether this node has already replaced the view of that version.
func (v *View) outran(version uint64) bool {
	_, ok := v.older[version]
	return ok
}

// memory is how long a node remembers which views it has replaced.
const memory = 5 * time.Second

// after notes in v that it replaces prev.
func (v *View) after(prev *View, now time.Time) *View {
	v.older = make(map[uint64]time.Time)
	for version, replaced := range prev.older {
		if now.Sub(replaced) < memory {
			v.older[version] = replaced
		}
	}
	if prev.Version != 0 {
		v.older[prev.Version] = now
	}
	delete(v.older, v.Version)
	return v
}

// settle waits until nobody acts by this view any more, which has been replaced: at most for limit.
func (v *View) settle(limit time.Duration) bool {
	const step = 50 * time.Microsecond
	deadline := time.Now().Add(limit)
	for i := range v.inside {
		for v.inside[i].users.Load() != 0 {
			if time.Now().After(deadline) {
				return false
			}
			time.Sleep(step)
		}
	}
	return true
}
