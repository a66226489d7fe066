package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The simulated cluster is real but for its edges: each node runs a Cluster, with a roster that learns of every change
// late, each node by itself, and a carrier that delays. Time is virtual, chance comes from a seed; the scheduler's part in
// the order is not, so a seed finds again most of the time.

// world is what is so; each node knows it a little later.
type world struct {
	t      *testing.T
	chance *rand.Rand
	mu     sync.Mutex
	nodes  map[string]*simulated
	truth  map[string]Member
	change int // counts changes of truth
	fresh  map[string]int
	sent   map[uint64]time.Time
	got    map[uint64]int
	lives  map[uint16][]life
	late   time.Duration
	faults bool                // nodes die
	trace  map[uint64][]string // the way of each message
}

// note adds to the way of a message. The world is locked.
func (w *world) note(f frame, format string, args ...any) {
	if f.class == toShard {
		id := binary.BigEndian.Uint64(f.body)
		w.trace[id] = append(w.trace[id], fmt.Sprintf("%d ", time.Now().UnixMicro()%100_000_000)+fmt.Sprintf(format, args...))
	}
}

// simulated is one node, and its roster and carrier.
type simulated struct {
	*Cluster
	w      *world
	name   string
	seen   map[string]Member
	known  map[string]int // which change of each it has seen
	peers  map[string]bool
	next   map[string]time.Time // when the last frame to each will arrive
	active map[uint16]time.Time
	opened map[uint16]bool
	claims []uint16  // disputed
	first  time.Time // when that began
	last   time.Time
	drain  func() time.Duration
	drains sync.WaitGroup
	dead   bool
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{
		t: t, chance: rand.New(rand.NewPCG(seed, 0)), nodes: map[string]*simulated{}, truth: map[string]Member{},
		fresh: map[string]int{}, sent: map[uint64]time.Time{}, got: map[uint64]int{}, lives: map[uint16][]life{}, trace: map[uint64][]string{},
	}
}

// upTo draws a time. The world is locked.
func (w *world) upTo(limit time.Duration) time.Duration {
	return time.Duration(w.chance.Int64N(int64(limit)))
}

// set changes what is so, and lets each node learn of it within the limit. The world is locked.
func (w *world) set(m Member, there bool, limit time.Duration) {
	if there {
		w.truth[m.Name] = m
	} else {
		delete(w.truth, m.Name)
	}
	w.change++
	w.fresh[m.Name] = w.change
	change := w.change
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		n := w.nodes[name]
		time.AfterFunc(w.upTo(limit), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if n.known[m.Name] >= change {
				return
			}
			n.known[m.Name] = change
			if n.seen[m.Name] = m; !there {
				delete(n.seen, m.Name)
			}
			n.poke()
		})
	}
}

// join starts a node that knows what is so; setup may change it before.
func (w *world) join(name string, setup ...func(*simulated)) *simulated {
	cfg, err := Config{
		Name: name, Bind: "127.0.0.1:1", RemoteBind: "127.0.0.1:2", Deliver: func(uint16, uint8, []byte) {},
	}.filled()
	if err != nil {
		w.t.Fatal(err)
	}
	n := &simulated{
		w: w, name: name, seen: map[string]Member{}, known: map[string]int{}, peers: map[string]bool{},
		next: map[string]time.Time{}, active: map[uint16]time.Time{}, opened: map[uint16]bool{},
		drain: func() time.Duration { return w.upTo(200 * time.Millisecond) },
	}
	cfg.Deliver, cfg.Changed, cfg.Opened, cfg.Disputed = n.deliver, n.moved, n.open, n.disputed
	n.Cluster = newCluster(cfg)
	for _, f := range setup {
		f(n)
	}
	n.roster, n.carrier = n, n.carry()
	w.mu.Lock()
	for other, m := range w.truth {
		n.seen[other], n.known[other] = m, w.fresh[other]
	}
	w.nodes[name] = n
	m := Member{Name: name, RemoteAddr: name, Boot: uint64(w.change + 1)}
	w.set(m, true, 300*time.Millisecond)
	n.seen[name], n.known[name] = m, w.change
	w.mu.Unlock()
	n.Start()
	n.poke()
	return n
}

// kill ends a node; the others notice after a while.
func (w *world) kill(n *simulated) {
	w.mu.Lock()
	n.dead = true
	w.set(Member{Name: n.name}, false, 2*time.Second)
	for shard, from := range n.active {
		w.lives[shard] = append(w.lives[shard], life{n.name, span{from.UnixNano(), time.Now().UnixNano()}})
	}
	clear(n.active)
	delete(w.nodes, n.name)
	w.mu.Unlock()
	if err := n.Close(); err != nil {
		w.t.Error(err)
	}
	n.drains.Wait()
}

// depart lets a node leave in order.
func (w *world) depart(n *simulated) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Leave(ctx); err != nil {
		w.t.Errorf("%s: %v", n.name, err)
	}
	if held := len(n.active); held > 0 {
		w.t.Errorf("%s left with %d shards in use", n.name, held)
	}
	if err := n.Close(); err != nil {
		w.t.Error(err)
	}
}

// The roster.
func (n *simulated) members() []Member {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	members := []Member{}
	for _, m := range n.seen {
		members = append(members, m)
	}
	return members
}

func (n *simulated) start()   {}
func (n *simulated) reenter() {}

func (n *simulated) leave(gone bool, _ time.Duration) error {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	m := n.w.truth[n.name]
	m.Leaving = true
	n.w.set(m, !gone, 300*time.Millisecond)
	if gone {
		delete(n.w.nodes, n.name)
	}
	return nil
}

func (n *simulated) close() error { return nil }

// carry is the node as a carrier.
func (n *simulated) carry() carrier { return &pipes{n} }

type pipes struct{ n *simulated }

func (p *pipes) start() {}
func (p *pipes) tick()  {}
func (p *pipes) close() {}

func (p *pipes) members(members []Member) []frame {
	p.n.w.mu.Lock()
	defer p.n.w.mu.Unlock()
	clear(p.n.peers)
	for _, m := range members {
		p.n.peers[m.Name] = true
	}
	return nil
}

// send lets the frame arrive a little later, in order.
func (p *pipes) send(to string, f frame) error {
	n, w := p.n, p.n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !n.peers[to] {
		w.note(f, "%s->%s unknown hops %d view %x", n.name, to, f.hops, f.view)
		return ErrUnknownNode
	}
	at := time.Now().Add(w.upTo(20 * time.Millisecond))
	if !at.After(n.next[to]) {
		at = n.next[to].Add(1)
	}
	n.next[to] = at
	w.note(f, "%s->%s hops %d view %x", n.name, to, f.hops, f.view)
	time.AfterFunc(time.Until(at), func() {
		w.mu.Lock()
		receiver := w.nodes[to]
		if receiver != nil {
			w.note(f, "at %s view %x leaving %v", to, receiver.View().Version, w.truth[to].Leaving)
		}
		w.mu.Unlock()
		if receiver != nil {
			receiver.receive(n.name, f)
		}
	})
	return nil
}

// deliver is the shard's actor.
func (n *simulated) deliver(shard uint16, _ uint8, body []byte) {
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.dead {
		return
	}
	if _, ok := n.active[shard]; !ok {
		n.active[shard] = time.Now()
	}
	id := binary.BigEndian.Uint64(body)
	w.got[id]++
	w.late = max(w.late, time.Since(w.sent[id]))
}

// moved ends the actors of lost shards after a while.
func (n *simulated) moved(_ *View, gained, lost []uint16) {
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, shard := range gained {
		if _, used := n.active[shard]; used && !slices.Contains(lost, shard) && n.handoff.draining[shard] == 0 {
			w.t.Errorf("%s gains shard %d, which it uses", n.name, shard)
		}
	}
	for _, shard := range slices.Concat(gained, lost) {
		delete(n.opened, shard)
	}
	drain := n.drain()
	n.drains.Go(func() {
		time.Sleep(drain)
		w.mu.Lock()
		for _, shard := range lost {
			if from, ok := n.active[shard]; ok {
				w.lives[shard] = append(w.lives[shard], life{n.name, span{from.UnixNano(), time.Now().UnixNano()}})
				delete(n.active, shard)
			}
		}
		w.mu.Unlock()
		n.HandedOver(lost)
	})
}

// open: each gained shard is opened once.
func (n *simulated) open(shards []uint16) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for _, shard := range shards {
		if n.opened[shard] || !n.View().Local(shard) {
			n.w.t.Errorf("%s opens shard %d, opened before: %t", n.name, shard, n.opened[shard])
		}
		n.opened[shard] = true
	}
}

func (n *simulated) disputed(shards []uint16) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if n.claims = append(n.claims, shards...); n.first.IsZero() {
		n.first = time.Now()
	}
	n.last = time.Now()
}

// pick gives a random node that is not leaving, in an order that only the seed decides.
func (w *world) pick() *simulated {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name := range w.nodes {
		if !w.truth[name].Leaving {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return w.nodes[names[w.chance.IntN(len(names))]]
}

// send lets a random node send to a random shard out of few, so that many are in use.
func (w *world) send() {
	n := w.pick()
	w.mu.Lock()
	id, shard := uint64(len(w.sent)), uint16(w.chance.IntN(100)*41)
	w.sent[id] = time.Now()
	w.mu.Unlock()
	if err := n.Send(shard, 1, binary.BigEndian.AppendUint64(nil, id)); err != nil && !w.faults {
		w.t.Errorf("%s: %v", n.name, err)
	}
}

// play lets nodes come and go under load, and then lets things settle.
func (w *world) play(steps int) {
	var leaving sync.WaitGroup
	<-w.join("n0").Joined()
	count := 1
	for range steps {
		for range 20 {
			w.send()
			w.mu.Lock()
			pause := w.upTo(10 * time.Millisecond)
			w.mu.Unlock()
			time.Sleep(pause)
		}
		w.mu.Lock()
		staying := 0
		for name := range w.nodes {
			if !w.truth[name].Leaving {
				staying++
			}
		}
		what := w.chance.IntN(4)
		w.mu.Unlock()
		switch {
		case what == 0 && staying < 5:
			name := fmt.Sprint("n", count)
			count++
			<-w.join(name).Joined()
		case what == 1 && staying > 1:
			n := w.pick()
			leaving.Go(func() { w.depart(n) })
			synctest.Wait()
		case what == 2 && staying > 1 && w.faults:
			w.kill(w.pick())
		}
	}
	leaving.Wait()
	time.Sleep(10 * time.Second)
}
