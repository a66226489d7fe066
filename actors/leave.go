package actors

import (
	"carillon/actors/call"
	"carillon/actors/session"
)

// leave ends this activation because another node is to own the call. What a ringing call has only in memory, who rings and
// who has acknowledged, is written down for the next owner: or every device would be rung again.
func (a *callActor) leave(m leave) {
	if a.loaded && a.soft && !m.Late && a.state.Ringing() {
		a.own(call.Command{Op: call.OpPark})
	}
	a.enter(PhaseNone)
	a.host.Retire()
}

// rewatch asks the sessions that have another owner at once: they don't know yet that they are to watch.
func (a *callActor) rewatch(m moved) {
	for i := range a.state.Users {
		if u := a.state.Users[i].User; a.state.Watches(u) && m.Shards.has(u.Shard()) {
			a.own(call.Command{Op: call.OpRewatch, User: u})
		}
	}
}

// leave ends this activation because another node is to own the session, which goes on there from what this one knows.
func (a *sessionActor) leave(m leave) {
	if !m.Late && !a.state.Idle() {
		h, logins := a.state.Leave()
		a.peers.ToSession(a.user, h)
		for _, l := range logins {
			a.peers.ToSession(a.user, a.again(l))
		}
	}
	a.host.Retire()
}

// again is a login that was not answered, for the next owner.
func (a *sessionActor) again(l session.Login) *attach {
	out := &attach{Device: l.Device, Conn: l.Conn, Request: l.Request, At: a.host.Now()}
	for i, id := range l.Known {
		out.Known = append(out.Known, known{Call: id, Version: l.Versions[i]})
	}
	return out
}
