package actors

import (
	"context"
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
	simQuiet     = 200 * time.Second // how long they settle
)

func newWorld(seed uint64, bug *plant) *world {
	w := &world{seed: seed, rng: newRand(seed), now: simStart, faults: true, bug: bug}
	w.check = newChecker(w)
	w.store = &simStore{w: w, calls: map[call.ID]call.State{}}
	for i := range 3 + w.rng.IntN(2) {
		user := call.UserID(rune('A' + i))
		w.users = append(w.users, user)
		for n := range 1 + w.rng.IntN(2) {
			w.devices = append(w.devices, &simDevice{
				w: w, user: user, id: call.DeviceID(fmt.Sprint(user, n+1)), known: map[call.ID]*knownCall{},
			})
		}
	}
	return w
}

// play is a whole run: users act while things go wrong, then everything is left to settle.
func (w *world) play() {
	w.start()
	for _, d := range w.devices {
		w.after(w.between(0, 2*time.Second), d.connect)
		w.after(w.between(0, 3*time.Second), d.act)
	}
	w.after(w.between(0, 5*time.Second), w.misfortune)
	w.run(simStart.Add(simFaults))
	w.faults = false
	if w.node.dead {
		w.start()
	}
	w.node.pausedUntil = w.now
	w.run(w.now.Add(2 * simRepair))
	w.check.inStep()
	w.run(w.now.Add(simQuiet))
	if w.failed == "" {
		w.check.settled()
	}
	w.node.die()
}

// start starts a server process and takes up the open calls, as System.Start does.
func (w *world) start() {
	n := &simNode{
		w: w, started: w.now, calls: map[call.ID][]*simActor{}, sessions: map[call.UserID]*simActor{}, gateways: map[uint64]*Gateway{},
		lastSent: map[string]time.Time{},
	}
	n.cfg = Config{
		Node: "sim", Secret: []byte("simulated"), Store: w.store, Now: func() time.Time { return w.now }, Logger: quiet,
		Calls: call.Rules{
			NotReceivedAfter: 2 * time.Second, MaxDuration: simLongest, MaxInvitees: 9, MaxUsers: 10,
			MemberLease: time.Duration(w.seed%3) * 5 * time.Second,
		},
		Sessions:       session.Rules{MaxDevices: 10, HeartbeatTimeout: simGrace},
		Limits:         Limits{ExtendedData: 2048, RequestsPerSecond: 100, RequestBurst: 100, InFlightPerDevice: 16, InFlight: 1000},
		DefaultTimeout: 20 * time.Second, HeartbeatInterval: simHeartbeat,
	}
	w.node = n
	w.note("the node starts")
	if w.bug != nil && w.bug.amnesia {
		return
	}
	_ = w.store.OpenCalls(context.Background(), nil, func(id call.ID, deadline time.Time) error {
		w.at(later(deadline, w.now), n, func() { n.toCall(id, wake{}) })
		if deadline.After(w.now) {
			w.at(w.now, n, func() { n.toCall(id, wake{}) })
		}
		return nil
	})
}

// open makes the gateway of a connection, as System.Open does.
func (n *simNode) open(c *simConn) *Gateway {
	s := &System{cfg: n.cfg, gateways: map[uint64]*Gateway{}}
	g := s.Open(c)
	g.peers = simPeers{n, fmt.Sprint("gateway ", c.number)}
	g.leave = func() { delete(n.gateways, c.number) }
	n.gateways[c.number] = g
	return g
}

// die is kill -9: what was under way is gone, what is durable stays.
func (n *simNode) die() {
	n.dead = true
	for _, live := range n.calls {
		for _, a := range live {
			a.gone = true
			a.stop()
		}
	}
	for _, a := range n.sessions {
		a.gone = true
		a.stop()
	}
}

// misfortune lets something go wrong, again and again.
func (w *world) misfortune() {
	if !w.faults {
		return
	}
	switch n := w.node; {
	case w.chance(12):
		w.note("the node is killed")
		n.die()
		for _, d := range w.devices {
			if c := d.conn; c != nil {
				w.after(w.between(0, time.Second), func() { c.broke(0xff) })
			}
		}
		w.after(w.between(100*time.Millisecond, 10*time.Second), w.restart)
		return
	case w.chance(10):
		n.pausedUntil = w.now.Add(w.between(100*time.Millisecond, 8*time.Second))
		w.note("the node stands still until %v", n.pausedUntil.Sub(simStart))
	case w.chance(25):
		if a := w.anyCall(); a != nil {
			w.note("a second activation of call %s", a.call)
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
	case w.chance(25):
		if a := w.anyCall(); a != nil {
			n.breakDown(a)
		}
	case w.chance(25):
		if a := n.sessions[w.users[w.rng.IntN(len(w.users))]]; a != nil {
			n.breakDown(a)
		}
	}
	w.after(w.between(500*time.Millisecond, 6*time.Second), w.misfortune)
}

func (w *world) restart() {
	if w.node.dead {
		w.start()
	}
	w.after(w.between(500*time.Millisecond, 6*time.Second), w.misfortune)
}

// anyCall picks a call that is in memory.
func (w *world) anyCall() *simActor {
	var live []*simActor
	for _, id := range w.store.order {
		live = append(live, w.node.calls[id]...)
	}
	if len(live) == 0 {
		return nil
	}
	return live[w.rng.IntN(len(live))]
}

// act is a user's whim, again and again.
func (d *simDevice) act() {
	w := d.w
	if !w.faults {
		back := time.Duration(0)
		if d.away {
			back = w.between(0, 60*time.Second)
		}
		w.after(back, func() {
			d.away = false
			d.connect()
		})
		return
	}
	w.after(w.between(200*time.Millisecond, 3*time.Second), d.act)
	c := d.conn
	switch {
	case c == nil:
		if d.away = d.away && !w.chance(15); !d.away {
			d.connect()
		}
	case w.chance(6):
		w.note("%s/%s: connection %d is cut", d.user, d.id, c.number)
		if d.away = w.chance(30); d.away {
			w.note("%s/%s: away", d.user, d.id)
		}
		c.broke(0xff)
	case w.chance(3):
		w.note("%s/%s: falls silent", d.user, d.id)
		d.silent = true
		w.after(simGrace, func() { c.broke(0xff) }) // QUIC's idle time-out, on both sides
	case w.chance(3):
		d.requests++
		c.send(&wire.ClientFrame{RequestId: d.requests, Body: &wire.ClientFrame_Logout{Logout: &wire.Logout{}}})
	case w.chance(8) && len(d.commands) > 0:
		d.insist(d.commands[w.rng.IntN(len(d.commands))])
	case len(w.store.order) < 25 && w.chance(35):
		d.invite()
	case len(d.order) > 0:
		d.operate(d.order[w.rng.IntN(len(d.order))])
	case len(w.store.order) > 0 && w.chance(20): // an ID that somebody passed on
		d.operate(w.store.order[w.rng.IntN(len(w.store.order))])
	}
}

// insist sends a command again that may have been answered long ago, perhaps with other words.
func (d *simDevice) insist(in *intent) {
	if j := in.frame.GetCallAccept(); j != nil {
		j.ExtendedData = "changed"
	}
	d.send(in)
}

func (d *simDevice) others() []string {
	var out []string
	for _, u := range d.w.users {
		if u != d.user && d.w.chance(60) {
			out = append(out, string(u))
		}
	}
	if len(out) == 0 {
		out = append(out, string(d.w.users[d.w.rng.IntN(len(d.w.users))]))
	}
	return out
}

func (d *simDevice) invite() {
	w := d.w
	m := &wire.CallInvite{
		Invitees: d.others(), TimeoutS: d.patience(), Mode: wire.CallMode(1 + w.rng.IntN(2)),
		EnableNotReceivedCheck: w.chance(50),
	}
	if w.chance(30) {
		m.AloneTimeoutS = uint32(2 + w.rng.IntN(10))
	}
	d.send(d.newIntent(&wire.ClientFrame{Body: &wire.ClientFrame_CallInvite{CallInvite: m}}))
}

// patience is the timeout of an invitation in seconds.
func (d *simDevice) patience() uint32 {
	if d.w.chance(20) {
		return 60
	}
	return uint32(3 + d.w.rng.IntN(25))
}

// operate asks for something on a call, sensible or not.
func (d *simDevice) operate(call call.ID) {
	id := uint64(call)
	f := &wire.ClientFrame{}
	switch d.w.rng.IntN(8) {
	case 0:
		m := &wire.CallCancel{CallId: id}
		if d.w.chance(50) {
			m.Invitees = d.others()
		}
		f.Body = &wire.ClientFrame_CallCancel{CallCancel: m}
	case 1:
		f.Body = &wire.ClientFrame_CallAccept{CallAccept: &wire.CallAccept{CallId: id}}
	case 2:
		f.Body = &wire.ClientFrame_CallReject{CallReject: &wire.CallReject{CallId: id}}
	case 3, 4:
		f.Body = &wire.ClientFrame_CallingInvite{CallingInvite: &wire.CallingInvite{CallId: id, Invitees: d.others(), TimeoutS: uint32(3 + d.w.rng.IntN(20))}}
	case 5:
		f.Body = &wire.ClientFrame_CallJoin{CallJoin: &wire.CallJoin{CallId: id}}
	case 6:
		f.Body = &wire.ClientFrame_CallQuit{CallQuit: &wire.CallQuit{CallId: id}}
	case 7:
		f.Body = &wire.ClientFrame_CallEnd{CallEnd: &wire.CallEnd{CallId: id}}
	}
	d.send(d.newIntent(f))
}

// decide answers a ringing call after a while, or not at all.
func (d *simDevice) decide(id call.ID) {
	w := d.w
	if !w.chance(60) {
		return
	}
	w.after(w.between(0, 8*time.Second), func() {
		if k := d.known[id]; !w.faults || !k.rings {
			return
		}
		f := &wire.ClientFrame{Body: &wire.ClientFrame_CallAccept{CallAccept: &wire.CallAccept{CallId: uint64(id)}}}
		if w.chance(25) {
			f.Body = &wire.ClientFrame_CallReject{CallReject: &wire.CallReject{CallId: uint64(id)}}
		}
		d.send(d.newIntent(f))
	})
}
