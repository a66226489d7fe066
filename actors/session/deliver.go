package session

import (
	"slices"

	"carillon/actors/call"
)

// tell hands a call's frames to the devices they are for, all frames of one device together, and acknowledges. A user
// without devices is told too: he learns the outcome in the sync of his next login (SPEC 9.4).
func (t *turn) tell(m Tell) {
	n, rang := t.news(m)
	switch n {
	case overtaken:
		m.Items, m.Seq = nil, 0
	case repeated:
		m.Items = nil
	}
	for i := range t.devices {
		d := &t.devices[i]
		if d.conn == (Conn{}) {
			continue
		}
		var frames []byte
		for _, it := range m.Items {
			if again := it.Ring != 0 && it.Ring == rang; !again && it.reaches(d.id) {
				frames = join2(frames, it.Frame)
			}
		}
		answers := 0
		if len(m.Answer) > 0 && d.conn == m.AnswerTo {
			frames, answers = join2(frames, m.Answer), 1
		}
		if len(frames) > 0 {
			t.deliver(d, m, Deliver{Conn: d.conn, Frames: frames, Answers: answers, Code: m.Code})
		}
	}
	if m.Seq > 0 {
		t.do(Ack{Call: m.Call, Epoch: m.Epoch, From: m.From, Seq: m.Seq})
	}
}

// novelty is what a Tell is to a session that has heard others.
type novelty uint8

const (
	fresh     novelty = iota
	repeated          // handed on already, only the acknowledgement was lost: nobody rings twice
	overtaken         // a device that came in meanwhile would take the old word for news. It is not acknowledged: if it held something that the newer one does not, the call tells it again
)

// news says what a Tell is, and for which invitation of the call the devices rang last.
func (t *turn) news(m Tell) (n novelty, rang uint64) {
	if m.Seq == 0 {
		return fresh, 0
	}
	l := latest{call: m.Call, version: m.Version, epoch: m.Epoch, from: m.From, seq: m.Seq}
	if i := slices.IndexFunc(t.latest, func(l latest) bool { return l.call == m.Call }); i >= 0 {
		was := t.latest[i]
		switch {
		case m.Version < was.version:
			return overtaken, 0
		case m.Epoch == was.epoch && was.from <= m.From && m.Seq <= was.seq:
			return repeated, 0
		case m.Epoch == was.epoch && m.From <= was.seq:
			l.from, l.seq = min(l.from, was.from), max(l.seq, was.seq)
		}
		rang, l.rang = was.rang, was.rang
		t.latest = slices.Delete(t.latest, i, i+1)
	} else if len(t.latest) >= maxLatest {
		t.latest = slices.Delete(t.latest, 0, 1)
	}
	for i := range m.Items {
		l.rang = max(l.rang, m.Items[i].Ring)
	}
	t.latest = append(t.latest, l)
	return fresh, rang
}

func (it *Item) reaches(d call.DeviceID) bool {
	switch it.Devices {
	case call.AllDevices:
		return true
	case call.OnlyDevice:
		return d == it.Device
	case call.OtherThan:
		return d != it.Device
	}
	return false
}

// join2 is a and b together; it copies only when both have something.
func join2(a, b []byte) []byte {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	return append(slices.Clip(a), b...)
}

// deliver hands frames over, or holds them behind an unanswered login. What the call's word for the login will say anyway
// is dropped.
func (t *turn) deliver(d *device, m Tell, out Deliver) {
	j := d.joining
	if j == nil {
		out.Number = t.number(d)
		t.do(out)
		return
	}
	if i := j.awaits(m.Call); i >= 0 {
		j.await[i].seq = max(j.await[i].seq, m.Seq)
		return
	}
	if j.size += len(out.Frames); j.size > maxHeld {
		t.do(Hang{Conn: d.conn})
		d.hangUp()
		return
	}
	j.held = append(j.held, out)
}
