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

// device is a place in a call: the first device of each role, and after those the second ones.
type device int8

// The devices. devNone acts where the server does.
const (
	devNone device = iota - 1
	devA
	devB
	devC
	devD
	devE
	devB2
	maxDevices = int(devB2) + 1
)

// What the devices call themselves, whoever their user is.
const (
	firstID  = "load"
	secondID = "load-2"
)

// role is the device's user.
func (d device) role() role {
	if d == devB2 {
		return roleB
	}
	return role(d)
}

func (d device) id() string {
	if d == devB2 {
		return secondID
	}
	return firstID
}

func (d device) String() string {
	if d == devB2 {
		return "B2"
	}
	return d.role().String()
}

// device is the role's device of that ID.
func (r role) device(id string) device {
	if r == roleB && id == secondID {
		return devB2
	}
	return device(r)
}

// kind is what a device can hear of a call.
type kind uint8

// The kinds: the events of the contract, and the answers to a login, a list and an operation.
const (
	changed kind = iota + 1
	created
	received
	cancelled
	timedOut
	ended
	synced
	listed
	answer
)

var kindNames = [...]string{
	changed: "UserStateChanged", created: "Created", received: "Received", cancelled: "Cancelled", timedOut: "Timeout",
	ended: "Ended", synced: "sync", listed: "list", answer: "answer",
}

func (k kind) String() string { return kindNames[k] }

// asked reports whether it answers a request.
func (k kind) asked() bool { return k == synced || k == listed || k == answer }

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
	version uint64 // 0 in a sync or a list without the call
	by      role   // of an event; of an answer, a sync, a list: nobody
	reason  wire.Reason
	states  states
	over    bool // the call has ended
}

func (f fact) String() string {
	if f.kind.asked() && f.version == 0 {
		return f.kind.String() + " without the call"
	}
	out := fmt.Sprintf("%v v%d", f.kind, f.version)
	if !f.kind.asked() {
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

// reply is the fact that the answer to a successful deed states. id is the call's, 0 before it has one.
func (c cast) reply(do deed, id uint64, r *wire.Response) (fact, error) {
	switch do {
	case login:
		return c.alone(synced, id, r.GetLogin().GetSync())
	case list:
		return c.alone(listed, id, r.GetList().GetCalls())
	default:
		return c.answer(r)
	}
}

// alone is the fact that a sync or a list states of a user who may have this call and no other.
func (c cast) alone(k kind, id uint64, calls []*wire.CallSnapshot) (fact, error) {
	f := fact{kind: k, by: nobody}
	for _, s := range calls {
		if s.GetCallId() != id || len(calls) > 1 {
			return f, fmt.Errorf("names %d calls, with %d, and he has this one only", len(calls), s.GetCallId())
		}
		f.reason = s.GetEndReason()
		if err := c.snapshot(&f, s); err != nil {
			return f, err
		}
	}
	return f, nil
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
