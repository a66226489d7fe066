package actors

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carillon/actors/call"
	"carillon/persistence"
)

// league is the Systems of several nodes on one memory store, and the cluster between them, in a bubble of virtual time.
type league struct {
	*testing.T
	store Store
	view  *fakeView
	nodes map[string]*fakeNode
	ever  []*fakeNode
	// lose says which messages to nodes vanish.
	lose atomic.Pointer[func(from, to string, kind uint8) bool]
	work sync.WaitGroup
}

// fakeView is a Placement.
type fakeView struct {
	owners [call.Shards]string
	lives  map[string]uint64
}

func (v *fakeView) Owner(shard uint16) Owner {
	name := v.owners[shard]
	if name == "" {
		return Owner{}
	}
	return Owner{Node: name, Boot: v.lives[name], Client: name + ".example:1"}
}

func (v *fakeView) Boot(node string) uint64 { return v.lives[node] }

// fakeNode is one life of a node, and a Cluster: views change on all nodes at once, and hand-overs are in order.
type fakeNode struct {
	*rig
	l     *league
	name  string
	users atomic.Int64 // of Enter
	turn  sync.Mutex   // of Moved and Opened

	mu    sync.Mutex
	view  *fakeView
	held  map[uint16][]parcel // shards that another node has not handed over yet
	links map[string]chan parcel
	gone  bool // dead, or closed
}

// parcel is a message on its way, to a shard or to a node; or the end of a hand-over.
type parcel struct {
	direct bool
	shard  uint16
	kind   uint8
	body   []byte
	opened []uint16
}

// latency is how long a message takes to another node.
const latency = time.Millisecond

var errGone = errors.New("no such node")

// nodes plays with a league of these nodes, which share all shards. The settings may be changed before they start.
func nodes(t *testing.T, names []string, change func(*Config), play func(*league)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := persistence.NewMemory(persistence.Config{Retention: 30 * 24 * time.Hour, Logger: quiet})
		defer store.Close()
		l := &league{T: t, store: store, nodes: map[string]*fakeNode{}, view: &fakeView{}}
		for _, name := range names {
			l.start(name, change)
		}
		l.change(spreadOver(names...))
		defer l.end()
		play(l)
	})
}

// start makes a node; it owns nothing before the next change.
func (l *league) start(name string, change func(*Config)) *fakeNode {
	n := &fakeNode{l: l, name: name, view: &fakeView{}, held: map[uint16][]parcel{}, links: map[string]chan parcel{}}
	n.rig = &rig{T: l.T, cfg: testConfig(l.store)}
	n.cfg.Node, n.cfg.Advertise, n.cfg.Cluster, n.cfg.Spread = name, name+".example:1", n, 10*time.Second
	if change != nil {
		change(&n.cfg)
	}
	n.start()
	l.nodes[name] = n
	l.ever = append(l.ever, n)
	return n
}

// spreadOver gives the shards to these nodes in turn.
func spreadOver(names ...string) func(uint16) string {
	return func(shard uint16) string { return names[int(shard)%len(names)] }
}

// but gives one user's shard to another node.
func (l *league) but(user, node string) func(uint16) string {
	before := l.view
	return func(shard uint16) string {
		if shard == call.UserID(user).Shard() {
			return node
		}
		return before.owners[shard]
	}
}

// change lets all nodes have the next view at once.
func (l *league) change(owner func(uint16) string) {
	before, next := l.view, &fakeView{lives: map[string]uint64{}}
	for name := range l.nodes {
		next.lives[name] = 1 + uint64(slices.Index(l.ever, l.nodes[name]))
	}
	for shard := range next.owners {
		next.owners[shard] = owner(uint16(shard))
	}
	l.view = next
	lost, open := map[string][]uint16{}, map[string][]uint16{}
	for name, n := range l.nodes {
		n.mu.Lock()
		n.view = next
		for shard, is := range next.owners {
			switch was := before.owners[shard]; {
			case was == is && before.lives[was] == next.lives[is]:
			case is == name && was != "" && before.lives[was] == next.lives[was]:
				n.held[uint16(shard)] = []parcel{}
			case is == name:
				open[name] = append(open[name], uint16(shard))
			case was == name:
				lost[name] = append(lost[name], uint16(shard))
			}
		}
		n.mu.Unlock()
	}
	for _, name := range slices.Sorted(maps.Keys(l.nodes)) {
		n := l.nodes[name]
		for n.users.Load() != 0 {
			time.Sleep(latency) // virtual
		}
		n.turn.Lock()
		n.sys.Moved(next, lost[name])
		if len(open[name]) > 0 {
			n.sys.Opened(open[name])
		}
		n.turn.Unlock()
	}
}

// kill ends a node; its shards go to another one at once.
func (l *league) kill(name, heir string) {
	n := l.nodes[name]
	n.die()
	delete(l.nodes, name)
	before := l.view
	l.change(func(shard uint16) string {
		if before.owners[shard] == name {
			return heir
		}
		return before.owners[shard]
	})
}

func (n *fakeNode) die() {
	n.mu.Lock()
	n.gone = true
	n.mu.Unlock()
	n.stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, link := range n.links {
		close(link)
	}
	n.links = nil
	if users := n.users.Load(); users != 0 {
		n.Errorf("%s: %d are inside for ever", n.name, users)
	}
}

func (l *league) end() {
	time.Sleep(time.Second) // virtual: hand-overs end
	for _, n := range l.nodes {
		n.die()
	}
	l.work.Wait()
}

// userOn finds a user whose session is on the node.
func (l *league) userOn(node, name string) string {
	for l.view.owners[call.UserID(name).Shard()] != node {
		name += "."
	}
	return name
}

// Enter implements Cluster.
func (n *fakeNode) Enter(shard uint16) *atomic.Int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone || n.view.owners[shard] != n.name || n.held[shard] != nil {
		return nil
	}
	n.users.Add(1)
	return &n.users
}

// Send implements Cluster.
func (n *fakeNode) Send(shard uint16, kind uint8, body []byte) error {
	return n.route(parcel{shard: shard, kind: kind, body: body})
}

func (n *fakeNode) route(p parcel) error {
	n.mu.Lock()
	owner := n.view.owners[p.shard]
	switch held := n.held[p.shard]; {
	case n.gone || owner == "":
		n.mu.Unlock()
		return errGone
	case owner != n.name:
		n.mu.Unlock()
		return n.post(owner, p)
	case held != nil:
		at := len(held)
		if p.kind&urgent != 0 {
			at = 0
		}
		n.held[p.shard] = slices.Insert(held, at, p)
		n.mu.Unlock()
		return nil
	}
	n.users.Add(1)
	n.mu.Unlock()
	n.sys.Deliver(p.kind, p.body)
	n.users.Add(-1)
	return nil
}

// SendTo implements Cluster.
func (n *fakeNode) SendTo(node string, kind uint8, body []byte) error {
	return n.post(node, parcel{direct: true, kind: kind, body: body})
}

// post puts a parcel on its way; one link keeps the order.
func (n *fakeNode) post(to string, p parcel) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone || n.view.lives[to] == 0 {
		return errGone
	}
	link := n.links[to]
	if link == nil {
		receiver := n.l.nodes[to]
		link = make(chan parcel, 10_000)
		n.links[to] = link
		n.l.work.Go(func() {
			for p := range link {
				time.Sleep(latency) // virtual
				if lose := n.l.lose.Load(); lose == nil || !(*lose)(n.name, to, p.kind) {
					receiver.arrive(p)
				}
			}
		})
	}
	link <- p
	return nil
}

func (n *fakeNode) arrive(p parcel) {
	n.mu.Lock()
	gone := n.gone
	n.mu.Unlock()
	switch {
	case gone:
	case p.direct:
		n.sys.Direct(p.kind, p.body)
	case p.opened != nil:
		n.open(p.opened)
	default:
		_ = n.route(p)
	}
}

// HandedOver implements Cluster: the next owners hear of it behind all that was sent to them before.
func (n *fakeNode) HandedOver(shards []uint16) {
	next := map[string][]uint16{}
	n.mu.Lock()
	for _, shard := range shards {
		if owner := n.view.owners[shard]; owner != "" && owner != n.name {
			next[owner] = append(next[owner], shard)
		}
	}
	n.mu.Unlock()
	for owner, shards := range next {
		_ = n.post(owner, parcel{opened: shards})
	}
}

// open delivers what the shards have held, and lets messages pass.
func (n *fakeNode) open(shards []uint16) {
	for _, shard := range shards {
		for more := true; more; {
			n.mu.Lock()
			held := n.held[shard]
			if more = len(held) > 0; more {
				n.held[shard] = []parcel{}
			} else {
				delete(n.held, shard)
			}
			n.mu.Unlock()
			for _, p := range held {
				n.sys.Deliver(p.kind, p.body)
			}
		}
	}
	n.turn.Lock()
	n.sys.Opened(shards)
	n.turn.Unlock()
}
