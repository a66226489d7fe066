package actors

import (
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

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
		c.closing = true
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
