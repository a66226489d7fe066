package actors

import (
	"carillon/actors/call"
	"carillon/actors/session"
)

// tell is one user's share of what a step has to say.
type tell struct {
	user call.UserID
	session.Tell
}

// tells sorts events by user; the acting user's answer goes with his own share, behind its events.
func (a *callActor) tells(events []call.Event, c *command, refused *call.Refusal, answered bool) []*tell {
	now := a.host.Now()
	var out []*tell
	of := func(u call.UserID) *tell {
		for _, t := range out {
			if t.user == u {
				return t
			}
		}
		t := &tell{user: u, Tell: session.Tell{Call: a.id, Epoch: a.epoch, Version: a.state.Version}}
		out = append(out, t)
		return t
	}
	for i := range events {
		e := &events[i]
		if e.Kind == call.EventWatch {
			p := a.state.Find(e.To)
			a.peers.ToSession(e.To, session.Watch{Call: a.id, Offline: p.OfflineSince != 0})
			continue
		}
		t := of(e.To)
		if t.Seq == 0 || e.From < t.From {
			t.From = e.From
		}
		t.Seq = max(t.Seq, e.Seq)
		t.Items = append(t.Items, session.Item{Devices: e.Devices, Device: e.Device, Frame: eventFrame(&a.state, e, now), Ring: e.Ring})
	}
	if !answered {
		t := of(c.User)
		t.AnswerTo, t.Answer = c.Conn, answerFrame(&a.state, c, refused, now)
		if refused != nil {
			t.Code = refused.Code
		}
	}
	return out
}

// answer answers a command outside of a step.
func (a *callActor) answer(c *command, r *call.Refusal) {
	if c.Op != call.OpReceipt {
		a.peers.ToSession(c.User, session.Tell{
			Call: a.id, AnswerTo: c.Conn, Answer: refusal(c.Request, r, 0), Code: r.Code,
		})
	}
}
