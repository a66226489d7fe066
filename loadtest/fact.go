package main

import (
	"fmt"
	"strings"

	"carillon/transport/wire"
)

// role is a place in the cast of a call: A calls, B is invited first.
type role int8

// The roles. nobody acts where the server does.
const (
	nobody role = iota - 1
	roleA
	roleB
	roleC
	roleD
	roleE
	maxCast = 5
)

func (r role) String() string {
	if r == nobody {
		return "server"
	}
	return string(rune('A' + r))
}

// kind is what a device can hear of a call.
type kind uint8

// The kinds: the events of the contract, and the answer to an operation.
const (
	changed kind = iota + 1
	created
	received
	cancelled
	timedOut
	ended
	answer
)

var kindNames = [...]string{
	changed: "UserStateChanged", created: "Created", received: "Received", cancelled: "Cancelled", timedOut: "Timeout",
	ended: "Ended", answer: "answer",
}

func (k kind) String() string { return kindNames[k] }

// states is a user state for each role; unspecified: that user is not named.
type states [maxCast]wire.UserState

func (s states) String() string {
	var named []string
	for r, state := range s {
		if state != wire.UserState_USER_STATE_UNSPECIFIED {
			named = append(named, fmt.Sprint(role(r), " ", short(state.String(), "USER_STATE_")))
		}
	}
	return "[" + strings.Join(named, ", ") + "]"
}

// fact is what one frame says of a call; equal facts say the same.
type fact struct {
	kind    kind
	version uint64
	by      role // of an event; of an answer: nobody
	reason  wire.Reason
	states  states
	over    bool // the call has ended
}

func (f fact) String() string {
	out := fmt.Sprintf("%v v%d", f.kind, f.version)
	if f.kind != answer {
		out += fmt.Sprint(" by ", f.by)
	}
	if f.states != (states{}) {
		out += fmt.Sprint(" ", f.states)
	}
	if f.over {
		out += " over"
	}
	if f.reason != wire.Reason_REASON_UNSPECIFIED {
		out += " " + short(f.reason.String(), "REASON_")
	}
	return out
}

func short(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

// cast is the user IDs of a call by role.
type cast []string

// role gives the place of a user; of the empty ID it is nobody's. It fails for a user of another call.
func (c cast) role(user string) (role, error) {
	if user == "" {
		return nobody, nil
	}
	for r, name := range c {
		if name == user {
			return role(r), nil
		}
	}
	return nobody, fmt.Errorf("names %q, who is not in this call", user)
}

// event is the fact that e states. It fails where e is no event of a call, or names others than the cast.
func (c cast) event(e *wire.Event) (fact, error) {
	by, err := c.role(e.GetActingUser())
	f := fact{version: e.GetVersion(), by: by, reason: e.GetReason()}
	if err != nil {
		return f, err
	}
	switch body := e.GetKind().(type) {
	case *wire.Event_CallUserStateChanged:
		f.kind, f.over = changed, body.CallUserStateChanged.GetCallState() == wire.CallState_CALL_STATE_ENDED
		f.states, err = c.states(body.CallUserStateChanged.GetUsers())
	case *wire.Event_CallInvitationCreated:
		f.kind = created
		err = c.snapshot(&f, body.CallInvitationCreated)
	case *wire.Event_CallInvitationReceived:
		f.kind = received
		err = c.snapshot(&f, body.CallInvitationReceived)
	case *wire.Event_CallInvitationCancelled:
		f.kind = cancelled
	case *wire.Event_CallInvitationTimeout:
		f.kind = timedOut
	case *wire.Event_CallInvitationEnded:
		f.kind = ended
	default:
		err = fmt.Errorf("is no event of a call: %T", body)
	}
	return f, err
}

// answer is the fact that the answer to a successful operation states.
func (c cast) answer(r *wire.Response) (fact, error) {
	f := fact{kind: answer, by: nobody}
	if r.GetCall() == nil {
		return f, fmt.Errorf("has no snapshot of the call")
	}
	f.reason = r.GetCall().GetEndReason()
	err := c.snapshot(&f, r.GetCall())
	return f, err
}

func (c cast) snapshot(f *fact, s *wire.CallSnapshot) (err error) {
	f.version, f.over = s.GetVersion(), s.GetState() == wire.CallState_CALL_STATE_ENDED
	f.states, err = c.states(s.GetUsers())
	return err
}

func (c cast) states(users []*wire.CallUser) (states, error) {
	var s states
	for _, u := range users {
		r, err := c.role(u.GetUserId())
		if err != nil {
			return s, err
		}
		if r == nobody {
			return s, fmt.Errorf("names a user without an ID")
		}
		s[r] = u.GetState()
	}
	return s, nil
}
