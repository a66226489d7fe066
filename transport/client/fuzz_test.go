package client

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// FuzzServerFrames feeds what a server may send, well-formed or not, to the table: it must keep its bounds and its
// promises whatever comes.
func FuzzServerFrames(f *testing.F) {
	ring := ringing(7, 1, 60000000000)
	for _, e := range []*wire.Event{
		receivedEvent(ring), cancelledEvent(7, 2), timeoutEvent(7, 2), endedEvent(7, 3), changedEvent(7, 2, 12, user("alice", accepted)),
		{CallId: 7, Version: 1, Kind: &wire.Event_CallInvitationCreated{CallInvitationCreated: ring}},
	} {
		f.Add(mustFrame(f, &wire.ServerFrame{Body: &wire.ServerFrame_Event{Event: e}}))
	}
	f.Add(mustFrame(f, &wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: &wire.Response{
		Call: ring, Result: &wire.Response_Login{Login: &wire.LoginResult{Sync: []*wire.CallSnapshot{ring, nil}}},
	}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var frame wire.ServerFrame
		if proto.Unmarshal(b, &frame) != nil {
			return
		}
		calls := table{user: "alice", device: "phone"}
		calls.rings(callOf(ring))
		before := calls.version(7)
		if e := frame.GetEvent(); e != nil {
			if known := eventOf(e); known != nil {
				calls.apply(known)
			}
		}
		if r := frame.GetResponse(); r != nil {
			_ = errorOf(r).Error()
			calls.see(callOf(r.GetCall()))
			calls.sync(r.GetLogin(), time.Now(), nil)
		}
		if calls.version(7) < before {
			t.Errorf("version fell from %d to %d", before, calls.version(7))
		}
		if len(calls.live) != len(calls.order) || len(calls.graves) != len(calls.buried) {
			t.Errorf("%d live of %d, %d graves of %d", len(calls.live), len(calls.order), len(calls.graves), len(calls.buried))
		}
		for _, call := range calls.list() {
			if !calls.liveHere(&call) {
				t.Errorf("kept as live: %+v", call)
			}
		}
	})
}

func mustFrame(f *testing.F, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return b
}
