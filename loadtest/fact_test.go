package main

import (
	"strings"
	"testing"

	"carillon/transport/wire"
)

func TestEvents(t *testing.T) {
	users := []*wire.CallUser{{UserId: "ann", State: accepted}, {UserId: "bob", State: inviting}}
	snapshot := &wire.CallSnapshot{Version: 3, State: wire.CallState_CALL_STATE_STARTED, Users: users}
	for want, e := range map[string]*wire.Event{
		"UserStateChanged v3 by A [a accepted, b inviting] over": {ActingUser: "ann", Kind: &wire.Event_CallUserStateChanged{
			CallUserStateChanged: &wire.CallUserStateChanged{Users: users, CallState: wire.CallState_CALL_STATE_ENDED},
		}},
		"Created v3 by A [a accepted, b inviting]":  {ActingUser: "ann", Kind: &wire.Event_CallInvitationCreated{CallInvitationCreated: snapshot}},
		"Received v3 by A [a accepted, b inviting]": {ActingUser: "ann", Kind: &wire.Event_CallInvitationReceived{CallInvitationReceived: snapshot}},
		"Cancelled v3 by server caller_offline": {
			Reason: wire.Reason_REASON_CALLER_OFFLINE, Kind: &wire.Event_CallInvitationCancelled{},
		},
		"Timeout v3 by server": {Kind: &wire.Event_CallInvitationTimeout{}},
		"Ended v3 by B":        {ActingUser: "bob", Kind: &wire.Event_CallInvitationEnded{}},
	} {
		e.Version = 3
		f, err := people.event(e)
		if got := f.String(); err != nil || !strings.EqualFold(got, want) {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	for want, e := range map[string]*wire.Event{
		`names "zoe"`:                {ActingUser: "zoe", Kind: &wire.Event_CallInvitationEnded{}},
		"is no event of a call":      {Kind: &wire.Event_GoAway{}},
		"names a user without an ID": {Kind: &wire.Event_CallInvitationCreated{CallInvitationCreated: &wire.CallSnapshot{Users: []*wire.CallUser{{}}}}},
	} {
		if _, err := people.event(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	f, err := people.answer(&wire.Response{Call: &wire.CallSnapshot{
		Version: 2, State: wire.CallState_CALL_STATE_ENDED, EndReason: wire.Reason_REASON_REJECTED, Users: []*wire.CallUser{{UserId: "bob", State: rejected}},
	}})
	if got := f.String(); err != nil || got != "answer v2 [B rejected] over rejected" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := people.answer(&wire.Response{}); err == nil {
		t.Error("an answer without a call states nothing")
	}
}

// A visitor has no call but his own: a sync or a list that names another is wrong.
func TestAloneInSyncAndList(t *testing.T) {
	one := &wire.CallSnapshot{CallId: 9, Version: 1, Users: []*wire.CallUser{{UserId: "bob", State: inviting}}}
	over := &wire.CallSnapshot{
		CallId: 9, Version: 2, State: wire.CallState_CALL_STATE_ENDED, EndReason: wire.Reason_REASON_NO_ANSWER,
		Users: []*wire.CallUser{{UserId: "bob", State: timeout}},
	}
	other := &wire.CallSnapshot{CallId: 8, Version: 1}
	for _, c := range []struct {
		id    uint64
		calls []*wire.CallSnapshot
		want  string
		fails string
	}{
		{9, nil, "without the call", ""},
		{0, nil, "without the call", ""},
		{9, []*wire.CallSnapshot{one}, "v1 [B inviting]", ""},
		{9, []*wire.CallSnapshot{over}, "v2 [B timeout] over no_answer", ""},
		{9, []*wire.CallSnapshot{other}, "", "names 1 calls, with 8"},
		{9, []*wire.CallSnapshot{one, other}, "", "names 2 calls"},
		{9, []*wire.CallSnapshot{one, one}, "", "names 2 calls"},
		{0, []*wire.CallSnapshot{one}, "", "names 1 calls, with 9"},
	} {
		for do, r := range map[deed]*wire.Response{
			login: {Result: &wire.Response_Login{Login: &wire.LoginResult{Sync: c.calls}}},
			list:  {Result: &wire.Response_List{List: &wire.CallList{Calls: c.calls}}},
		} {
			f, err := people.reply(do, c.id, r)
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%v: error %v, want %q", do, err, c.fails)
			}
			if name := map[deed]string{login: "sync ", list: "list "}[do]; err == nil && f.String() != name+c.want {
				t.Errorf("%q, want %q", f, name+c.want)
			}
		}
	}
}

func TestDevices(t *testing.T) {
	for d := range device(maxDevices) {
		if got := d.role().device(d.id()); got != d {
			t.Errorf("%v is %v of %v", d, d.id(), d.role())
		}
	}
	if roleC.device(secondID) != devC || devB2.role() != roleB || devB2.String() != "B2" || devNone.role() != nobody || devNone.String() != "server" {
		t.Error("a device is somebody else's")
	}
}
