package session

import (
	"slices"

	"carillon/actors/call"
)

// tell hands a call's frames to the devices they are for, all frames of one device together, and acknowledges. A user
// without devices is told too: he learns the outcome in the sync of his next login (SPEC 9.4).
func (t *turn) tell(m Tell) {
	if t.overtaken(m) {
		m.Items, m.Seq = nil, 0
	}
	for i := range t.devices {
		d := &t.devices[i]
		if d.conn == (Conn{}) {
			continue
		}
		var frames []byte
		for _, it := range m.Items {
			if it.reaches(d.id) {
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

// overtaken reports whether the call has told something newer already: a device that came in between would take the old
// word for news. It is not acknowledged: if it held something that the newer one does not, the call tells it again.
func (t *turn) overtaken(m Tell) bool {
	if m.Seq == 0 {
		return false
	}
	i := slices.IndexFunc(t.latest, func(l latest) bool { return l.call == m.Call })
	if i >= 0 && m.Version < t.latest[i].version {
		return true
	}
	if i >= 0 {
		t.latest = slices.Delete(t.latest, i, i+1)
	} else if len(t.latest) >= maxLatest {
		t.latest = slices.Delete(t.latest, 0, 1)
	}
	t.latest = append(t.latest, latest{m.Call, m.Version})
	return false
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
