package main

import (
	"strings"
	"testing"

	"carillon/transport/wire"
)

func TestListsAgree(t *testing.T) {
	one := record{id: 9, story: storyNamed("rejected"), cast: cast{"ann", "bob"}}
	list := func() *wire.CallSnapshot {
		return &wire.CallSnapshot{
			CallId: 9, Version: 2, State: wire.CallState_CALL_STATE_ENDED, EndReason: wire.Reason_REASON_REJECTED,
			Users: []*wire.CallUser{{UserId: "ann", State: accepted}, {UserId: "bob", State: rejected}},
		}
	}
	if err := one.agrees(list()); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*wire.CallSnapshot){
		"v1 ":        func(s *wire.CallSnapshot) { s.Version = 1 },
		"over false": func(s *wire.CallSnapshot) { s.State = wire.CallState_CALL_STATE_STARTED },
		"BUSY":       func(s *wire.CallSnapshot) { s.EndReason = wire.Reason_REASON_BUSY },
		"B received": func(s *wire.CallSnapshot) { s.Users[1].State = rung },
		"zoe":        func(s *wire.CallSnapshot) { s.Users[1].UserId = "zoe" },
	} {
		s := list()
		spoil(s)
		if err := one.agrees(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
