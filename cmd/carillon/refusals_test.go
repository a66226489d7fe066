package main

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// moment is how far the call of a refusal has come. In each a has invited b and c, and e looks on.
type moment string

const (
	nowhere  moment = "no such call"
	ringing  moment = "ringing"
	accepted moment = "b accepted"
	rejected moment = "b rejected"
	over     moment = "cancelled"
	added    moment = "b accepted and invited d"
)

// refusal is one row: who asks what at which moment, and what he gets.
type refusal struct {
	moment moment
	who    string
	ask    func(*scene) proto.Message
	code   uint32
	users  string // error_users
}

const (
	noMode   = wire.CallMode_CALL_MODE_UNSPECIFIED
	common   = wire.CallMode_CALL_MODE_COMMON
	advanced = wire.CallMode_CALL_MODE_ADVANCED
)

// The operations on a call, by the names of SPEC 1.
var (
	acceptIt  = func(s *scene) proto.Message { return &wire.CallAccept{CallId: s.id} }
	rejectIt  = func(s *scene) proto.Message { return &wire.CallReject{CallId: s.id} }
	joinIt    = func(s *scene) proto.Message { return &wire.CallJoin{CallId: s.id} }
	quitIt    = func(s *scene) proto.Message { return &wire.CallQuit{CallId: s.id} }
	endIt     = func(s *scene) proto.Message { return &wire.CallEnd{CallId: s.id} }
	longQuit  = func(s *scene) proto.Message { return &wire.CallQuit{CallId: s.id, ExtendedData: text2049} }
	everybody = []func(*scene) proto.Message{acceptIt, rejectIt, joinIt, quitIt, endIt, cancelIt(), add("d")}
)

// cancelIt cancels the users, who are named as the scene names them; "#" stands for a malformed ID.
func cancelIt(users ...string) func(*scene) proto.Message {
	return func(s *scene) proto.Message { return &wire.CallCancel{CallId: s.id, Invitees: s.wireNames(users)} }
}

func add(users ...string) func(*scene) proto.Message {
	return func(s *scene) proto.Message {
		return &wire.CallingInvite{CallId: s.id, Invitees: s.wireNames(users)}
	}
}

func (s *scene) wireNames(users []string) []string {
	var out []string
	for _, u := range users {
		if u == "#" {
			out = append(out, "/#")
		} else {
			out = append(out, s.name(u))
		}
	}
	return out
}

func numbered(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s%d", prefix, i))
	}
	return out
}

func refusalsOf(mode wire.CallMode) []refusal {
	if mode == common {
		return commonRefusals
	}
	var out []refusal
	for _, op := range everybody {
		out = append(out,
			refusal{nowhere, "a", op, 6000276, ""},
			refusal{over, "a", op, 6000276, ""},
			refusal{over, "b", op, 6000276, ""},
			refusal{over, "e", op, 6000276, ""})
	}
	return append(out, advancedRefusals...)
}

var commonRefusals = []refusal{
	{nowhere, "a", joinIt, 6000276, ""},
	{over, "a", joinIt, 6000276, ""},
	{over, "b", quitIt, 6000276, ""},
	{ringing, "a", add("d"), 6000286, ""},
	{ringing, "a", quitIt, 6000286, ""},
	{ringing, "a", endIt, 6000286, ""},
	{ringing, "b", joinIt, 6000286, ""},
	{ringing, "b", quitIt, 6000286, ""},
	{ringing, "e", joinIt, 6000286, ""},
	{ringing, "e", endIt, 6000286, ""},
	{accepted, "b", quitIt, 6000286, ""},
	{accepted, "b", add(numbered("x", 10)...), 6000286, ""},
	{accepted, "b", longQuit, 6000001, ""},
	{ringing, "b", cancelIt(), 6000273, ""},
	{ringing, "b", cancelIt("c"), 6000273, ""},
	{ringing, "e", cancelIt(), 6000273, ""},
	{accepted, "b", cancelIt("c"), 6000273, ""},
	{accepted, "a", cancelIt(), 6000271, ""},
	{accepted, "a", cancelIt("b"), 6000271, "b=6000271"},
	{rejected, "a", cancelIt("b"), 6000274, "b=6000274"},
	{ringing, "a", acceptIt, 6000274, ""},
	{ringing, "e", acceptIt, 6000274, ""},
	{rejected, "b", acceptIt, 6000274, ""},
	{accepted, "b", rejectIt, 6000274, ""},
}

var advancedRefusals = []refusal{
	{nowhere, "a", longQuit, 6000001, ""},
	{over, "e", longQuit, 6000001, ""},

	{ringing, "b", cancelIt(), 6000273, ""},
	{ringing, "e", cancelIt("b"), 6000273, ""},
	{accepted, "b", cancelIt(), 6000273, ""},
	{rejected, "b", cancelIt("c"), 6000273, ""},
	{added, "b", cancelIt(), 6000271, ""},
	{added, "b", cancelIt("c"), 6000274, "c=6000274"},
	{added, "d", cancelIt("c"), 6000273, ""},
	{accepted, "a", cancelIt(), 6000271, ""},
	{accepted, "a", cancelIt("b"), 6000271, "b=6000271"},
	{accepted, "a", cancelIt("a"), 6000271, "a=6000271"},
	{accepted, "a", cancelIt("e"), 6000274, "e=6000274"},
	{accepted, "a", cancelIt("b", "e"), 6000271, "b=6000271 e=6000274"},
	{accepted, "a", cancelIt("e", "b", "e"), 6000274, "e=6000274 b=6000271"},
	{rejected, "a", cancelIt("b"), 6000274, "b=6000274"},
	{ringing, "a", cancelIt("#"), 6000001, "/#=6000001"},

	{ringing, "a", acceptIt, 6000274, ""},
	{ringing, "a", rejectIt, 6000274, ""},
	{ringing, "e", acceptIt, 6000274, ""},
	{ringing, "e", rejectIt, 6000274, ""},
	{accepted, "b", acceptIt, 6000274, ""},
	{accepted, "b", rejectIt, 6000274, ""},
	{rejected, "b", acceptIt, 6000274, ""},
	{rejected, "b", rejectIt, 6000274, ""},

	{ringing, "e", quitIt, 6000274, ""},
	{ringing, "e", endIt, 6000274, ""},
	{ringing, "e", add("d"), 6000274, ""},
	{ringing, "e", add(numbered("x", 10)...), 6000274, ""},
	{ringing, "b", quitIt, 6000287, ""},
	{ringing, "b", endIt, 6000287, ""},
	{ringing, "b", add("d"), 6000287, ""},
	{ringing, "b", add(numbered("x", 10)...), 6000287, ""},
	{rejected, "b", quitIt, 6000287, ""},
	{rejected, "b", endIt, 6000287, ""},
	{rejected, "b", add("d"), 6000287, ""},

	{ringing, "a", joinIt, 6000283, ""},
	{accepted, "b", joinIt, 6000283, ""},

	{ringing, "a", add(numbered("x", 10)...), 6000272, ""},
	{ringing, "a", add(numbered("x", 8)...), 6000272, ""}, // a, b, c are three
	{ringing, "a", add("b"), 6000001, "b=6000287"},
	{accepted, "a", add("b", "c"), 6000001, "b=6000287 c=6000287"},
	{ringing, "a", add("a"), 6000001, "a=6000001"},
	{ringing, "a", add("#"), 6000001, "/#=6000001"},
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	for _, mode := range []wire.CallMode{common, advanced} {
		for _, r := range refusalsOf(mode) {
			probe := r.ask(&scene{cast: &cast{}})
			t.Run(fmt.Sprintf("%s/%s/%s %s", printMode(mode), r.moment, r.who, probe.ProtoReflect().Descriptor().Name()), func(t *testing.T) {
				t.Parallel()
				s, asker := r.moment.set(t, n, mode, r.who)
				before := s.view()
				got := asker.do(r.ask(s))
				if got.GetCode() != r.code || got.GetMessage() == "" {
					t.Errorf("got %d %q, want %d and a message", got.GetCode(), got.GetMessage(), r.code)
				}
				if users := s.errorUsers(got); users != r.users {
					t.Errorf("error users %q, want %q", users, r.users)
				}
				// Parameters are refused before anybody looks at the call; a listed user is the call's business.
				mayShow := r.moment != nowhere && r.who != "e" && (r.code != 6000001 || r.users != "")
				if (got.GetCall() != nil) != mayShow {
					t.Errorf("carries the call %v: %v", mayShow, got.GetCall())
				}
				if got.GetCall() != nil && got.GetCall().GetCallId() != s.id {
					t.Errorf("carries call %d, asked about %d", got.GetCall().GetCallId(), s.id)
				}
				if after := s.view(); after != before {
					t.Errorf("a refusal changed\n\t%s\nto\n\t%s", before, after)
				}
				for _, c := range []*rawClient{s.a1, s.b1, s.c} {
					if c != asker {
						c.silent(s.id)
					}
				}
			})
		}
	}
}

// set plays a call up to the moment and gives the device that asks.
func (m moment) set(t *testing.T, n *Node, mode wire.CallMode, who string) (*scene, *rawClient) {
	k := newCast(t, n)
	s := &scene{cast: k, a1: k.join("a", "a1"), b1: k.join("b", "b1"), c: k.join("c", "c1")}
	devices := []*rawClient{s.a1, s.b1, s.c}
	if who == "d" || who == "e" {
		devices = append(devices, k.join(who, who+"1"))
	}
	s.id = s.a1.must(&wire.CallInvite{Invitees: k.names("b", "c"), Mode: mode}).GetCall().GetCallId()
	switch m {
	case nowhere:
		s.id = 4711
	case accepted:
		s.b1.must(acceptIt(s))
	case rejected:
		s.b1.must(rejectIt(s))
	case over:
		s.a1.must(cancelIt()(s))
	case added:
		s.b1.must(acceptIt(s))
		s.b1.must(add("d")(s))
	}
	for _, c := range devices {
		c.skip(s.id)
	}
	return s, devices[slices.IndexFunc(devices, func(c *rawClient) bool { return c.user == who })]
}

// view is all that a can see of his calls.
func (s *scene) view() string {
	s.t.Helper()
	var out string
	for _, call := range s.a1.must(&wire.QueryCallInvitationList{}).GetList().GetCalls() {
		out += s.a1.unmask(printSnapshot(call)) + "\n"
	}
	return out
}

func (s *scene) errorUsers(r *wire.Response) string {
	var out string
	for i, e := range r.GetErrorUsers() {
		if i > 0 {
			out += " "
		}
		out += fmt.Sprintf("%s=%d", s.a1.unmask(e.GetUserId()), e.GetCode())
	}
	return out
}

// TestPartlyRefused: what can be done is done, the rest comes back.
func TestPartlyRefused(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	s, a := accepted.set(t, n, advanced, "a")
	r := a.do(cancelIt("b", "c", "e", "#", "c")(s))
	if r.GetCode() != 0 || s.errorUsers(r) != "/#=6000001 b=6000271 e=6000274" {
		t.Errorf("cancel answered %s", a.print(&wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: r}}))
	}
	r = a.do(add("b", "d", "#", "a", "d", "e")(s))
	if r.GetCode() != 0 || s.errorUsers(r) != "/#=6000001 a=6000001 b=6000287" {
		t.Errorf("callingInvite answered %s", a.print(&wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: r}}))
	}
	if got, want := a.unmask(printUsers(r.GetCall().GetUsers())), `[a ACCEPTED, b ACCEPTED, c BE_CANCELLED cancelled, d INVITING, e INVITING]`; got != want {
		t.Errorf("the call holds %s, want %s", got, want)
	}
}

// TestPendingUserJoins: his callJoin is his callAccept.
func TestPendingUserJoins(t *testing.T) {
	t.Parallel()
	s, b := ringing.set(t, newNode(t, nil), advanced, "b")
	b.send(joinIt(s))
	joined := `USC v2 by b/b1: [b ACCEPTED] started`
	b.either(joined, `result advanced a v2 90s "" [a ACCEPTED, b ACCEPTED, c INVITING] started/started inviter a main`)
	all(joined, s.a1, s.c)
}
