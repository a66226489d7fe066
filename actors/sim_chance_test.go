package actors

import (
	"fmt"
	"slices"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// Times of a simulated world: everything is quicker than in life, but in the same proportions.
const (
	simHeartbeat = 2 * time.Second
	simGrace     = 7 * time.Second
	simLongest   = 100 * time.Second // MaxDuration
	simFaults    = 60 * time.Second  // how long users act and things go wrong
	simRepair    = 4 * time.Second   // within which devices are in step again: 2 s, and what a login may take
	simSettled   = 6 * time.Second   // where all goes in order, one change follows another no sooner
	simQuiet     = 200 * time.Second // how long they settle
)

func newWorld(seed uint64, bug *plant) *world {
	w := &world{seed: seed, rng: newRand(seed), now: simStart, faults: true, bug: bug, side: map[string]int{}}
	nodes := max(1, w.rng.IntN(5)-1) // a third of the worlds and a bit have one node
	w.orderly = nodes > 1 && w.chance(20)
	w.check = newChecker(w)
	w.store = &simStore{w: w, calls: map[call.ID]call.State{}}
	for i := range 3 + w.rng.IntN(2) {
		user := call.UserID(rune('A' + i))
		w.users = append(w.users, user)
		if !slices.Contains(w.shards, user.Shard()) {
			w.shards = append(w.shards, user.Shard())
		}
		for n := range 1 + w.rng.IntN(2) {
			w.devices = append(w.devices, &simDevice{
				w: w, user: user, id: call.DeviceID(fmt.Sprint(user, n+1)), known: map[call.ID]*knownCall{},
			})
		}
	}
	for i := range nodes {
		w.nodes = append(w.nodes, &simNode{w: w, name: fmt.Sprint("n", i+1), dead: true, view: &simView{}})
	}
	return w
}

// play is a whole run: users act while things go wrong, then everything is left to settle.
func (w *world) play() {
	for i := range w.nodes {
		if i == 0 || w.orderly || w.chance(80) {
			w.start(i)
		} else {
			w.after(w.between(time.Second, 20*time.Second), func() { w.start(i) })
		}
	}
	for _, d := range w.devices {
		w.after(w.between(0, 2*time.Second), d.connect)
		w.after(w.between(0, 3*time.Second), d.act)
	}
	w.after(w.between(0, 5*time.Second), w.misfortune)
	w.after(time.Second, w.check.single)
	w.run(simStart.Add(simFaults))
	w.calm()
	w.run(w.now.Add(3 * simRepair))
	w.check.inStep()
	w.run(w.now.Add(simQuiet))
	if w.failed == "" {
		w.check.settled()
	}
	for _, n := range w.nodes {
		if !n.dead {
			n.die()
		}
	}
}

// calm ends all faults.
func (w *world) calm() {
	w.faults = false
	for i, n := range w.nodes {
		clear(n.blind)
		clear(n.mute)
		if w.orderly { // who is about to go, or to come, does
			continue
		}
		if n.leaving && !n.dead {
			n.die()
		}
		if n.dead {
			w.start(i)
			continue
		}
		if long := n.pausedUntil.Sub(n.pausedAt) > simPause; n.pausedUntil.After(w.now) {
			if n.pausedUntil = w.now; long {
				w.at(w.now, n, n.resume)
			}
		}
	}
	w.heal()
}

// start starts a server process, once more or for the first time.
func (w *world) start(i int) {
	if !w.nodes[i].dead {
		return
	}
	w.serial++
	n := &simNode{
		w: w, name: w.nodes[i].name, boot: w.serial, started: w.now, view: &simView{}, older: map[string]time.Time{}, pending: map[uint16]*simHold{},
		blind: map[string]time.Time{}, mute: map[string]time.Time{}, claims: map[string]map[uint16]bool{}, calls: map[call.ID][]*simActor{}, sessions: map[call.UserID]*simActor{},
		alarms: map[call.ID]bool{}, gateways: map[uint64]*Gateway{}, lastSent: map[string]time.Time{},
	}
	n.cfg = Config{
		Node: n.name, Advertise: n.name, Secret: []byte("simulated"), Store: w.store, Now: func() time.Time { return w.now }, Logger: quiet,
		Calls: call.Rules{
			NotReceivedAfter: 2 * time.Second, MaxDuration: simLongest, MaxInvitees: 9, MaxUsers: 10,
			MemberLease: time.Duration(w.seed%3) * 5 * time.Second,
		},
		Sessions:       session.Rules{MaxDevices: 10, HeartbeatTimeout: simGrace},
		Limits:         Limits{ExtendedData: 2048, RequestsPerSecond: 100, RequestBurst: 100, InFlightPerDevice: 16, InFlight: 1000},
		DefaultTimeout: 20 * time.Second, HeartbeatInterval: simHeartbeat, Spread: 3 * time.Second,
	}
	w.nodes[i] = n
	w.disturbed = w.now
	w.note("%s starts", n.name)
	if len(w.nodes) == 1 {
		n.learn()
		return
	}
	w.happened(50*time.Millisecond, 600*time.Millisecond)
}

// misfortune lets something go wrong, again and again.
func (w *world) misfortune() {
	if !w.faults {
		return
	}
	i := w.rng.IntN(len(w.nodes))
	switch n := w.nodes[i]; {
	case n.dead:
	case w.orderly:
		if w.chance(40) {
			w.leave(i)
		}
	case w.chance(12):
		n.die()
		w.happened(500*time.Millisecond, 2500*time.Millisecond)
		w.after(w.between(100*time.Millisecond, 10*time.Second), func() { w.start(i) })
	case w.chance(10):
		n.pause(w.between(100*time.Millisecond, 8*time.Second))
	case w.chance(25):
		w.twin(n)
	case w.chance(20):
		if a := n.anyCall(); a != nil {
			n.breakDown(a)
		}
	case w.chance(20):
		if a := n.sessions[w.users[w.rng.IntN(len(w.users))]]; a != nil {
			n.breakDown(a)
		}
	case len(w.nodes) == 1:
	case w.chance(30):
		other := w.nodes[w.rng.IntN(len(w.nodes))].name
		w.note("%s: the connection to %s breaks", n.name, other)
		n.mute[other] = w.now.Add(w.between(100*time.Millisecond, 3*time.Second))
	case w.chance(20):
		w.leave(i)
	case w.chance(20):
		w.cut(w.between(time.Second, 12*time.Second))
	case w.chance(20):
		other := w.nodes[w.rng.IntN(len(w.nodes))].name
		d := w.between(time.Second, 6*time.Second)
		w.note("%s does not see %s for %v", n.name, other, d)
		n.blind[other] = w.now.Add(d)
		n.learn()
		w.at(w.now.Add(d+w.between(0, time.Second)), n, n.learn)
	}
	w.after(w.between(500*time.Millisecond, 6*time.Second), w.misfortune)
}

// leave has a node hand over, send its clients away, and go; it comes back later.
func (w *world) leave(i int) {
	n := w.nodes[i]
	others := slices.ContainsFunc(w.nodes, func(o *simNode) bool { return o != n && !o.dead && !o.leaving && len(o.view.members) > 0 })
	unsettled := slices.ContainsFunc(w.nodes, func(o *simNode) bool { return o.dead || o.leaving || w.now.Sub(o.started) < simSettled })
	if n.leaving || !others || w.orderly && unsettled {
		return
	}
	w.note("%s leaves", n.name)
	n.leaving = true
	w.happened(50*time.Millisecond, 400*time.Millisecond)
	w.at(w.now.Add(5*time.Second), n, func() {
		for _, d := range w.devices {
			if c := d.conn; c != nil && c.node == n {
				c.Close(uint64(wire.CloseGoingAway), "server going away")
			}
		}
		n.die()
		w.happened(50*time.Millisecond, 400*time.Millisecond)
		w.after(w.between(100*time.Millisecond, 5*time.Second), func() { w.start(i) })
	})
}

// twin activates a call a second time, for a while.
func (w *world) twin(n *simNode) {
	a := n.anyCall()
	if a == nil {
		return
	}
	w.note("%s: a second activation of call %s", n.name, a.call)
	twin := n.activateCall(a.call)
	end := func() { // whoever is left when two have owned a call starts from the store
		if twin.gone {
			return
		}
		for _, one := range slices.Clone(n.calls[twin.call]) {
			n.breakDown(one)
		}
	}
	w.at(w.now.Add(w.between(time.Second, 10*time.Second)), n, end)
	w.at(simStart.Add(simFaults), n, end)
}

// anyCall picks a call that is in memory.
func (n *simNode) anyCall() *simActor {
	var live []*simActor
	for _, id := range n.w.store.order {
		live = append(live, n.calls[id]...)
	}
	if len(live) == 0 {
		return nil
	}
	return live[n.w.rng.IntN(len(live))]
}
