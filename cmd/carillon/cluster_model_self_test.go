//go:build unix

package main

import (
	"testing"

	"github.com/anishathalye/porcupine"

	"carillon/transport/client"
)

// look is what somebody sees of a common call of a, b and c.
func look(version uint64, state client.CallState, b, c client.UserState) step {
	return step{op: "look", seen: client.CallInfo{
		Version: version, State: state, Mode: client.Common,
		Users: []client.CallUser{{UserID: "a", State: client.Accepted}, {UserID: "b", State: b}, {UserID: "c", State: c}},
	}}
}

// TestClusterModel: the model passes what the specification allows, and would find what it forbids. Steps follow one
// another, but those from open on, which have no end.
func TestClusterModel(t *testing.T) {
	t.Parallel()
	invite := step{op: "invite", user: "a", invitees: []string{"b", "c"}, mode: client.Common, due: "d", known: true}
	accept := step{op: "accept", user: "b", known: true}
	accepted := look(2, client.Started, client.Accepted, client.Received)
	for name, tc := range map[string]struct {
		legal bool
		steps []step
		open  []step
	}{
		"accept and time-out": {true, []step{invite, accept, accepted, look(3, client.Ended, client.Accepted, client.Timeout)}, []step{{op: "due", due: "d"}}},
		"a lost accept":       {false, []step{invite, accept, look(1, client.Started, client.Inviting, client.Inviting)}, nil},
		"applied twice":       {false, []step{invite, accept, look(3, client.Started, client.Accepted, client.Inviting)}, nil},
		"accepted twice":      {false, []step{invite, accept, accept}, nil},
		"a stale look":        {false, []step{invite, accept, accepted, look(1, client.Started, client.Inviting, client.Inviting)}, nil},
		"refused for nothing": {false, []step{invite, {op: "accept", user: "b", known: true, code: client.NotInvited}}, nil},
		"refused for an open one": {
			true, []step{invite, {op: "accept", user: "b", known: true, code: client.NotInvited}}, []step{{op: "reject", user: "b"}},
		},
		"an open one that was applied":     {true, []step{invite, accepted}, []step{{op: "accept", user: "b"}}},
		"an open one that was not applied": {true, []step{invite, look(1, client.Started, client.Inviting, client.Inviting)}, []step{{op: "accept", user: "b"}}},
		"cancelled after an accept":        {false, []step{invite, accept, {op: "cancel", user: "a", known: true}}, nil},
		"ended, and then changed": {
			false, []step{invite, accept, {op: "reject", user: "c", known: true}, {op: "accept", user: "c", known: true}}, nil,
		},
		"quit of a common call": {true, []step{invite, accept, {op: "quit", user: "b", known: true, code: client.AdvancedOnly}}, nil},
		"the caller is gone":    {true, []step{invite, {op: "accept", user: "b", known: true, code: client.NoSuchCall}}, []step{{op: "offline"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var history []porcupine.Operation
			for i, s := range tc.steps {
				history = append(history, porcupine.Operation{ClientId: i, Input: s, Call: int64(10 * i), Return: int64(10*i + 5)})
			}
			for i, s := range tc.open {
				history = append(history, porcupine.Operation{ClientId: 100 + i, Input: s, Call: 7, Return: int64(forever)})
			}
			if legal := porcupine.CheckOperations(callModel, history); legal != tc.legal {
				t.Errorf("legal %v, want %v", legal, tc.legal)
			}
		})
	}
}
