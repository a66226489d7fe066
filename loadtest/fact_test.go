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
