package main

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// again is the same intent once more: the command ID of f, perhaps with other content.
func again(f *wire.ClientFrame, m proto.Message) *wire.ClientFrame {
	next := proto.Clone(f).(*wire.ClientFrame)
	if m != nil {
		next.Body = frameOf(m).Body
	}
	return next
}

// sameOutcome compares what two answers say of the operation; the call in them is as it is now.
func sameOutcome(t *testing.T, what string, first, second *wire.Response) {
	t.Helper()
	same := first.GetCode() == second.GetCode() && first.GetMessage() == second.GetMessage() &&
		proto.Equal(first.GetTimes(), second.GetTimes()) && len(first.GetErrorUsers()) == len(second.GetErrorUsers()) &&
		first.GetCall().GetCallId() == second.GetCall().GetCallId()
	for i := range first.GetErrorUsers() {
		same = same && proto.Equal(first.GetErrorUsers()[i], second.GetErrorUsers()[i])
	}
	if !same {
		t.Errorf("%s: the retry was answered\n\t%v\nthe first time\n\t%v", what, second, first)
	}
}

func TestRetriedInvite(t *testing.T) {
	t.Parallel()
	for engine, tune := range map[string]func(*Config){"memory": nil, "pebble": pebble} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			k := newCast(t, newNode(t, tune))
			a1, a2, b, c := k.join("a", "a1"), k.join("a", "a2"), k.join("b", "b1"), k.join("c", "c1")
			invite := frameOf(&wire.CallInvite{Invitees: append(k.names("b"), "/"), TimeoutS: 20})
			first := a1.doFrame(invite)
			id := first.GetCall().GetCallId()
			if first.GetCode() != 0 || len(first.GetErrorUsers()) != 1 {
				t.Fatalf("invite answered %v", first)
			}
			for _, c := range []*rawClient{a1, a2, b} {
				c.skip(id)
			}
			other := &wire.CallInvite{Invitees: k.names("c"), TimeoutS: 50, Mode: advanced}
			sameOutcome(t, "same connection", first, a1.doFrame(again(invite, nil)))
			sameOutcome(t, "other device", first, a2.doFrame(again(invite, nil)))
			sameOutcome(t, "other content", first, a2.doFrame(again(invite, other)))
			a1.vanish()
			a1 = k.join("a", "a1", &wire.KnownCall{CallId: id, Version: 1})
			sameOutcome(t, "other connection", first, a1.doFrame(again(invite, nil)))
			for _, c := range []*rawClient{a1, a2, b, c} {
				c.silent(id)
			}
			if calls := a1.must(&wire.QueryCallInvitationList{}).GetList().GetCalls(); len(calls) != 1 || calls[0].GetVersion() != 1 {
				t.Errorf("five times the same intent made %v", calls)
			}
			if r := c.doFrame(again(invite, other)); r.GetCode() != 6000001 { // his own intent: he invites only himself
				t.Errorf("another user's intent of the same ID: %d, want 6000001", r.GetCode())
			}

			b.must(&wire.CallAccept{CallId: id})
			sameOutcome(t, "after the end", first, a1.doFrame(again(invite, nil)))
		})
	}
}

// TestRetriedAtOnce: the same invitation three times on its way meets one call.
func TestRetriedAtOnce(t *testing.T) {
	t.Parallel()
	k := newCast(t, newNode(t, pebble))
	a, b := k.join("a", "a1"), k.join("b", "b1")
	invite := frameOf(&wire.CallInvite{Invitees: k.names("b")})
	var answers []*wire.Response
	for range 3 {
		a.sendFrame(again(invite, nil))
	}
	for len(answers) < 3 {
		if r := a.next().GetResponse(); r != nil {
			answers = append(answers, r)
		}
	}
	sameOutcome(t, "second", answers[0], answers[1])
	sameOutcome(t, "third", answers[0], answers[2])
	b.next()
	b.silent(answers[0].GetCall().GetCallId())
}

func TestRetriedOperations(t *testing.T) {
	t.Parallel()
	n := newNode(t, pebble)
	for _, tc := range []struct {
		name  string
		stage moment
		who   string
		ask   func(*scene) proto.Message
		other func(*scene) proto.Message // the retry's content
	}{
		{"accept", ringing, "b", acceptIt, rejectIt},
		{"reject", ringing, "b", rejectIt, acceptIt},
		{"callingInvite", accepted, "b", add("d", "c"), add("f")},
		{"cancel one", ringing, "a", cancelIt("b", "e"), cancelIt()},
		{"cancel all", ringing, "a", cancelIt(), cancelIt("b")},
		{"join", ringing, "e", joinIt, quitIt},
		{"quit", accepted, "b", quitIt, joinIt},
		{"end", accepted, "b", endIt, quitIt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, c := tc.stage.set(t, n, advanced, tc.who)
			f := frameOf(tc.ask(s))
			first := c.doFrame(f)
			if first.GetCode() != 0 {
				t.Fatalf("answered %v", first)
			}
			version := first.GetCall().GetVersion()
			second := s.join(tc.who, "another")
			retries := []*wire.Response{
				c.doFrame(again(f, nil)), c.doFrame(again(f, tc.other(s))), second.doFrame(again(f, nil)), second.doFrame(again(f, tc.other(s))),
			}
			for _, r := range retries {
				sameOutcome(t, tc.name, first, r)
				if r.GetCall().GetVersion() != version {
					t.Errorf("a retry took the call from version %d to %d", version, r.GetCall().GetVersion())
				}
			}
		})
	}
}

// TestRetriedRefusal: what was refused stays refused under its command ID, also when it would be allowed by now.
func TestRetriedRefusal(t *testing.T) {
	t.Parallel()
	s, b := rejected.set(t, newNode(t, pebble), advanced, "b")
	accept := frameOf(acceptIt(s))
	first := b.doFrame(accept)
	if first.GetCode() != 6000274 {
		t.Fatalf("accept after a reject: %v", first)
	}
	s.a1.must(add("b")(s))
	sameOutcome(t, "invited again", first, b.doFrame(again(accept, nil)))
	sameOutcome(t, "invited again, from another device", first, s.join("b", "b2").doFrame(again(accept, nil)))
	b.must(acceptIt(s))
}
