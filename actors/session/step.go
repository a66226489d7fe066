package session

import (
	"slices"
	"time"

	"carillon/actors/call"
)

// Step hears one message at instant now and gives what must happen, in order. Unknown messages do nothing. Whatever has
// fallen due is applied first, however late the timer was.
func (s *State) Step(msg any, now time.Time) []Effect {
	t := turn{State: s, now: call.At(now)}
	if seen, ok := msg.(Seen); ok { // a sign of life counts before the silence that it ends
		t.see(seen)
	}
	t.expire()
	t.hear(msg)
	t.presence()
	s.used = true
	return t.out
}

type turn struct {
	*State
	now call.Millis
	out []Effect
}

func (t *turn) do(e Effect) { t.out = append(t.out, e) }

func (t *turn) hear(msg any) {
	switch m := msg.(type) {
	case Login:
		t.login(m)
	case Synced:
		t.synced(m)
	case Broken:
		if d := t.byConn(m.Conn); d != nil {
			d.hangUp()
		}
	case Logout:
		if d := t.byConn(m.Conn); d != nil {
			t.drop(d.id)
		}
		t.do(Bye(m))
	case Tell:
		t.tell(m)
	case Watch:
		t.watch(m)
	case Heard:
		t.heard(m)
	case Handover:
		t.adopt(m)
	case Doubt:
		t.recallAll()
	}
}

func (t *turn) see(m Seen) {
	d := t.byConn(m.Conn)
	if d == nil {
		t.do(Recall{Conn: m.Conn})
		return
	}
	if d.heard = max(d.heard, m.Heard); d.heard >= d.sent {
		d.audit = 0
	}
	switch {
	case m.Silent:
	case m.At.IsZero():
		d.seen = t.now
	default:
		d.seen = max(d.seen, min(t.now, call.At(m.At)))
	}
}

// hangUp takes the connection away; the device is in grace from then on.
func (d *device) hangUp() { d.connect(Conn{}) }

// connect gives the device another connection, or none.
func (d *device) connect(c Conn) {
	d.conn, d.joining, d.sent, d.heard, d.audit = c, nil, 0, 0, 0
}

// number counts a delivery to the device's connection, and has it asked for if it may be lost on its way.
func (t *turn) number(d *device) uint64 {
	d.sent++
	if d.audit == 0 && d.conn.Node != t.rules.Node {
		d.audit = t.now + millis(auditAfter)
	}
	return d.sent
}

// login takes the device in and asks the calls that concern it; with none to ask it is answered at once. Where no call
// has asked for the user, there was none whose devices could be on their way back.
func (t *turn) login(m Login) {
	if len(t.devices) == 0 && len(t.watchers) == 0 {
		t.fresh = 0
	}
	d := t.take(m.Device, m.Conn)
	d.joining = &join{login: m, until: t.now + millis(syncWait)}
	for _, id := range m.Calls {
		d.joining.await = append(d.joining.await, awaited{call: id})
	}
	t.ask(d.joining)
	t.welcome(d)
}

func (t *turn) ask(j *join) {
	j.again = min(j.until, t.now+millis(askAgain))
	for _, w := range j.await {
		t.do(Ask{Call: w.call, Login: j.login})
	}
}

// take gives a device its connection: an older one of the same device is kicked out, and one device too many kicks out
// the one that has been silent for longest (SPEC 4, 5).
func (t *turn) take(id call.DeviceID, conn Conn) *device {
	d := t.byID(id)
	switch {
	case d == nil:
		t.makeRoom(id)
		t.devices = append(t.devices, device{id: id})
		d = &t.devices[len(t.devices)-1]
	case d.conn != (Conn{}) && d.conn != conn:
		t.do(Kick{Conn: d.conn, By: id})
	case d.conn == (Conn{}) && t.Connected() >= t.rules.MaxDevices:
		d.conn = conn // counted as online, so that another one goes
		t.makeRoom(id)
		d = t.byID(id)
	}
	d.connect(conn)
	d.seen = t.now
	return d
}

func (t *turn) makeRoom(newcomer call.DeviceID) {
	var oldest *device
	online := 0
	for i := range t.devices {
		d := &t.devices[i]
		if d.conn == (Conn{}) || d.id == newcomer {
			continue
		}
		online++
		if oldest == nil || d.seen < oldest.seen {
			oldest = d
		}
	}
	if online >= t.rules.MaxDevices {
		t.do(Kick{Conn: oldest.conn, By: newcomer})
		t.drop(oldest.id)
	}
	if len(t.devices) >= 2*t.rules.MaxDevices { // the rest are in grace: the one silent for longest is forgotten
		quiet := slices.MinFunc(t.devices, func(a, b device) int {
			if (a.conn == Conn{}) != (b.conn == Conn{}) {
				if a.conn == (Conn{}) {
					return -1
				}
				return 1
			}
			return int(a.seen - b.seen)
		})
		t.drop(quiet.id)
	}
}

func (t *turn) synced(m Synced) {
	d := t.byConn(m.Conn)
	if d == nil || d.joining == nil {
		return
	}
	j := d.joining
	i := j.awaits(m.Call)
	if i < 0 || m.Seq < j.await[i].seq {
		return
	}
	j.await = slices.Delete(j.await, i, i+1)
	j.synced = append(j.synced, m)
	t.welcome(d)
}

// welcome answers a login once every call has said its word, or when it must wait no longer.
func (t *turn) welcome(d *device) {
	j := d.joining
	if len(j.await) > 0 && t.now < j.until {
		return
	}
	d.joining = nil
	out := Welcome{Login: j.login, Number: t.number(d), Synced: j.synced, Held: j.held}
	for _, w := range j.await {
		out.Missing = append(out.Missing, w.call)
	}
	t.do(out)
}

func (j *join) awaits(id call.ID) int {
	return slices.IndexFunc(j.await, func(w awaited) bool { return w.call == id })
}

// expire applies what has fallen due: logins that waited long enough, silent devices, watchers without interest.
func (t *turn) expire() {
	for i := range t.devices {
		d := &t.devices[i]
		if d.joining != nil && d.joining.again <= t.now && t.now < d.joining.until {
			t.ask(d.joining)
		}
		if d.joining != nil {
			t.welcome(d)
		}
		if d.audit != 0 && d.audit <= t.now {
			t.do(Audit{Conn: d.conn, Number: d.sent})
			d.audit = t.now + millis(auditAfter)
		}
	}
	t.devices = slices.DeleteFunc(t.devices, func(d device) bool {
		silent := d.seen+t.timeout() <= t.now
		if silent && d.conn != (Conn{}) {
			t.do(Hang{Conn: d.conn, Silent: true})
		}
		return silent
	})
	t.watchers = slices.DeleteFunc(t.watchers, func(w watcher) bool { return w.until <= t.now })
	if t.fresh != 0 && t.fresh <= t.now {
		t.fresh = 0
	}
}
