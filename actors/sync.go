package actors

import (
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// answerLogin says what a device that logs in must know of this call. The device will believe it, so an owner that may be
// stale looks first whether another one has written.
func (a *callActor) answerLogin(m ask) {
	if _, ok := a.refresh(); !ok {
		return // the session asks again
	}
	if a.own(call.Command{Op: call.OpTick}) == call.OK {
		a.peers.ToSession(m.User, word(&a.state, a.id, m, a.host.Now())) // reading and saving took time
	}
}

// word is what a device that logs in must know of a call (SPEC 5, sync): its snapshot if it is live for the user, or newer
// than the device knows, and the ring of a pending invitation that the device did not name.
func word(s *call.State, id call.ID, m ask, now time.Time) session.Synced {
	out := session.Synced{Call: id, Conn: m.Conn, Seq: s.Seq}
	p := s.Find(m.User)
	if p == nil || (!s.LiveFor(m.User) && (!m.Known || s.Version <= m.Since)) {
		return out
	}
	out.Snapshot = snapshotOf(s, m.User, m.Device, now)
	if p.State.Pending() && s.Open() && !m.Known {
		ring := s.Ring(p)
		out.Ring = eventFrame(s, &ring, now)
	}
	return out
}
