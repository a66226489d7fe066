package persistence

import (
	"time"

	"carillon/actors/call"
)

// epoch is when the tests begin.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ringing is a call at revision 1: the first user is the caller, the others ring. It is created n seconds after epoch.
func ringing(id call.ID, n int, users ...call.UserID) call.State {
	created := call.At(epoch.Add(time.Duration(n) * time.Second))
	s := call.State{
		ID: id, Version: 1, Revision: 1, Seq: 1,
		Mode: call.Advanced, Caller: users[0], Created: created, Timeout: 90 * time.Second,
		InviteCommand: call.CommandID{1, byte(id)},
		Rules:         call.Rules{NotReceivedAfter: 5 * time.Second, MaxDuration: 24 * time.Hour, MaxInvitees: 9, MaxUsers: 10},
		Outcomes:      []call.Outcome{{User: users[0], Command: call.CommandID{1, byte(id)}, Op: call.OpInvite, Times: call.Times{Created: created}}},
	}
	for i, u := range users {
		p := call.Participant{
			User: u, Inviter: users[0], State: call.Inviting, Invited: true, InvitedSeq: 1,
			InvitedAt: created, InvitedFor: 90 * time.Second, Deadline: created + 90_000,
			Change: call.Change{Seq: 1, By: users[0], Device: "phone", At: created},
		}
		if i == 0 {
			p.Inviter, p.State, p.Deadline, p.Main, p.AcceptedAt = "", call.Accepted, 0, "phone", created
		}
		s.Users = append(s.Users, p)
	}
	return s
}

// create is the transition that makes s.
func create(s call.State) call.Transition { return call.Transition{Next: s} }

// with is the transition from s to what edit makes of its copy, one revision further.
func with(s call.State, edit func(*call.State)) call.Transition {
	next := s
	next.Users = append([]call.Participant(nil), s.Users...)
	next.Outcomes = append([]call.Outcome(nil), s.Outcomes...)
	next.Revision++
	next.Version++
	next.Seq++
	edit(&next)
	return call.Transition{Prev: s, Next: next}
}

// became puts user number i into a state.
func became(i int, u call.UserState) func(*call.State) {
	return func(s *call.State) { s.Users[i].State, s.Users[i].Deadline = u, 0 }
}

// ended ends the call; it stays among the open ones.
func ended(s *call.State) {
	s.Ended, s.EndReason = s.Created+60_000, call.ReasonEndedByUser
}

// closed ends the call and takes it out of the open ones.
func closed(s *call.State) {
	ended(s)
	s.Closed = true
}
