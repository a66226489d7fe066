package session

import "slices"

// Leave is what the next owner of the session must know, and the logins that are not answered yet, which begin anew there.
// The state is of no use afterwards.
func (s *State) Leave() (Handover, []Login) {
	h := Handover{Fresh: s.fresh}
	var logins []Login
	for i := range s.devices {
		d := &s.devices[i]
		out := Handed{Device: d.id, Conn: d.conn, Seen: d.seen, Sent: d.sent, Heard: d.heard}
		if d.joining != nil {
			logins = append(logins, d.joining.login)
			out.Conn, out.Sent, out.Heard = Conn{}, 0, 0
		}
		h.Devices = append(h.Devices, out)
	}
	for _, w := range s.watchers {
		h.Watchers = append(h.Watchers, Watching{Call: w.call, Until: w.until, Again: w.again, Offline: w.offline})
	}
	for _, l := range s.latest {
		h.Latest = append(h.Latest, Version{Call: l.call, Version: l.version, Epoch: l.epoch, From: l.from, Seq: l.seq, Rang: l.rang})
	}
	return h, logins
}

// adopt goes on where the last owner has stopped. If this session has been at work before, there were two at a time, and
// what one of them acknowledged the other's devices may not have heard: then all of them must log in again.
func (t *turn) adopt(m Handover) {
	split := t.used
	if !split {
		t.fresh = min(m.Fresh, t.fresh)
	}
	for _, h := range m.Devices {
		t.adoptDevice(h)
	}
	for _, w := range m.Watchers {
		known := slices.ContainsFunc(t.watchers, func(o watcher) bool { return o.call == w.Call })
		if !known && len(t.watchers) < maxWatchers {
			t.watchers = append(t.watchers, watcher{call: w.Call, until: w.Until, offline: w.Offline, again: w.Again})
		}
	}
	t.expire() // what fell due on its way
	if split {
		t.recallAll()
		return
	}
	for _, l := range m.Latest[max(0, len(m.Latest)-maxLatest):] {
		t.latest = append(t.latest, latest{
			call: l.Call, version: l.Version, epoch: l.Epoch, from: l.From, seq: l.Seq, rang: l.Rang,
		})
	}
}

// adoptDevice takes over one device; of two connections of one device the one that was heard last stays.
func (t *turn) adoptDevice(h Handed) {
	h.Seen = min(h.Seen, t.now) // the other node's clock may be ahead
	d := t.byID(h.Device)
	if d == nil {
		if len(t.devices) >= 2*t.rules.MaxDevices {
			if h.Conn != (Conn{}) {
				t.do(Recall{Conn: h.Conn})
			}
			return
		}
		t.devices = append(t.devices, device{id: h.Device})
		d = &t.devices[len(t.devices)-1]
	}
	switch {
	case h.Conn == (Conn{}) || h.Conn == d.conn:
	case d.conn != (Conn{}) && h.Seen <= d.seen:
		t.do(Recall{Conn: h.Conn})
	default:
		if d.conn != (Conn{}) {
			t.do(Recall{Conn: d.conn})
		}
		d.connect(h.Conn)
		d.sent, d.heard = h.Sent, h.Heard
		if d.heard < d.sent && d.conn.Node != t.rules.Node {
			d.audit = t.now + millis(auditAfter)
		}
	}
	d.seen = max(d.seen, h.Seen)
}

// recallAll has every connected device log in again; they stay in grace.
func (t *turn) recallAll() {
	for i := range t.devices {
		if d := &t.devices[i]; d.conn != (Conn{}) {
			t.do(Recall{Conn: d.conn})
			d.hangUp()
		}
	}
}
