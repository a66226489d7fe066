package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// in makes a snapshot from users, then applies changes to it.
func in(version uint64, users []*wire.CallUser, changes ...func(*wire.CallSnapshot)) *wire.CallSnapshot {
	s := snapshot(7, version, users...)
	s.Caller = users[0].UserId
	for _, change := range changes {
		change(s)
	}
	return s
}

func users(list ...*wire.CallUser) []*wire.CallUser { return list }

func onMain(s *wire.CallSnapshot) { s.IsMainDevice = true }
func common(s *wire.CallSnapshot) { s.Mode = wire.CallMode_CALL_MODE_COMMON }
func rings(s *wire.CallSnapshot)  { s.RemainingMs, s.Inviter = 60000, s.Caller }
func anew(s *wire.CallSnapshot)   { s.RemainingMs, s.Inviter = 600000, s.Caller }

func ended(reason wire.Reason) func(*wire.CallSnapshot) {
	return func(s *wire.CallSnapshot) {
		s.State, s.EndTimeMs, s.EndReason = wire.CallState_CALL_STATE_ENDED, 5000, reason
	}
}

// show writes an event as a test reads it.
func show(e Event) string {
	switch v := e.(type) {
	case CallInvitationReceived:
		return "received"
	case CallInvitationCancelled:
		return fmt.Sprintf("cancelled(%s)", v.Inviter)
	case CallInvitationTimeout:
		return "timeout"
	case CallInvitationEnded:
		return fmt.Sprintf("ended(%v)", v.Reason)
	case CallUserStateChanged:
		var list []string
		for _, u := range v.Users {
			list = append(list, u.UserID+" "+u.State.String())
		}
		return fmt.Sprintf("changed(%s; call %v; %v)", strings.Join(list, ", "), v.CallState, v.Reason)
	}
	return fmt.Sprintf("%T", e)
}

// The device is alice's: it rings, or she talks on it.
var (
	ring = in(1, users(user("bob", accepted), user("alice", received), user("carol", inviting)), rings)
	talk = in(2, users(user("bob", accepted), user("alice", accepted), user("carol", inviting)), onMain)
)

type syncTest struct {
	before *wire.CallSnapshot
	after  *wire.CallSnapshot // nil: the sync does not name the call
	acting bool
	want   string
	lives  bool
}

// What the device is told when it comes back, and whether the call lives on here.
var syncTests = map[string]syncTest{
	"nothing new":        {before: ring, after: ring, lives: true},
	"another accepted":   {before: ring, after: in(2, users(user("bob", accepted), user("alice", received), user("carol", accepted)), rings), want: "changed(carol accepted; call started; )", lives: true},
	"another came":       {before: talk, after: in(3, users(user("bob", accepted), user("alice", accepted), user("carol", inviting), user("dan", inviting)), onMain), want: "changed(dan inviting; call started; )", lives: true},
	"soft change":        {before: talk, after: in(2, users(user("bob", accepted), user("alice", accepted), user("carol", received)), onMain), want: "changed(carol received; call started; )", lives: true},
	"cancelled":          {before: ring, after: in(2, users(user("bob", cancelled), user("alice", beCancelled), user("carol", beCancelled)), ended(1), rings), want: "cancelled(bob)"},
	"timed out":          {before: ring, after: in(2, users(user("bob", accepted), user("alice", timedOut), user("carol", timedOut))), want: "timeout"},
	"invited anew":       {before: ring, after: in(4, users(user("bob", accepted), user("alice", inviting), user("carol", inviting)), anew), want: "received", lives: true},
	"accepted here":      {before: ring, after: talk, want: "changed(alice accepted; call started; )", lives: true},
	"accepted elsewhere": {before: ring, after: in(2, users(user("bob", accepted), user("alice", accepted), user("carol", inviting))), want: "changed(alice accepted; call started; answered_elsewhere)"},
	"rejected elsewhere": {before: ring, after: in(2, users(user("bob", accepted), user("alice", rejected), user("carol", inviting))), want: "changed(alice rejected; call started; answered_elsewhere)"},
	"rejected here":      {before: ring, acting: true, after: in(2, users(user("bob", accepted), user("alice", rejected), user("carol", inviting))), want: "changed(alice rejected; call started; )"},
	"ended while it rang": {
		before: ring, after: in(2, users(user("bob", accepted), user("alice", received), user("carol", inviting)), ended(7)), want: "ended(ended_by_user)",
	},
	"moved":     {before: talk, after: in(3, users(user("bob", accepted), user("alice", accepted), user("carol", inviting))), want: "changed(alice accepted; call started; moved_to_other_device)"},
	"quit":      {before: talk, after: in(3, users(user("bob", accepted), user("alice", quit), user("carol", inviting))), want: "changed(alice quit; call started; )"},
	"others":    {before: talk, after: in(4, users(user("bob", quit), user("alice", accepted), user("carol", timedOut)), onMain), want: "changed(bob quit, carol timeout; call started; )", lives: true},
	"ended":     {before: talk, after: in(4, users(user("bob", accepted), user("alice", accepted), user("carol", rejected)), onMain, ended(7)), want: "changed(carol rejected; call ended; ) ended(ended_by_user)"},
	"only ends": {before: talk, after: in(3, users(user("bob", accepted), user("alice", accepted), user("carol", inviting)), onMain, ended(11)), want: "ended(ended_by_server)"},
	"common, all answered": {
		before: in(1, users(user("alice", accepted), user("bob", inviting)), common, onMain), after: in(2, users(user("alice", accepted), user("bob", accepted)), common, onMain, ended(3)),
		want: "changed(bob accepted; call ended; all_answered)",
	},
	"whole cancel by another device": {
		before: in(1, users(user("alice", accepted), user("bob", inviting)), onMain), after: in(2, users(user("alice", cancelled), user("bob", beCancelled)), ended(1)),
		want: "changed(alice cancelled, bob be_cancelled; call ended; )",
	},
	"receipt forgotten": {before: ring, after: in(1, users(user("bob", accepted), user("alice", inviting), user("carol", inviting)), rings), lives: true},
	"older":             {before: talk, after: in(1, users(user("bob", accepted), user("alice", accepted))), lives: true},
	"unknown":           {before: talk, want: "ended(connection_lost)"},
}

func TestSyncBecomesEvents(t *testing.T) {
	for name, test := range syncTests {
		t.Run(name, func(t *testing.T) {
			table := table{user: "alice", device: "phone"}
			if table.own(ptr(callOf(test.before))).Pending() {
				table.apply(CallInvitationReceived{EventInfo: EventInfo{CallID: 7, Version: test.before.Version}, Call: callOf(test.before)})
			} else {
				table.see(callOf(test.before))
			}
			result := &wire.LoginResult{ServerTimeMs: 1000}
			if test.after != nil {
				result.Sync = snapshots(test.after)
			}
			acting := map[CallID]int{}
			if test.acting {
				acting[7] = 1
			}
			var got []string
			for _, e := range table.sync(result, time.Now(), acting) {
				got = append(got, show(e))
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("told %q, want %q", s, test.want)
			}
			if lives := len(table.list()) == 1; lives != test.lives {
				t.Errorf("lives on: %v, want %v", lives, test.lives)
			}
		})
	}
}

func snapshots(calls ...*wire.CallSnapshot) []*wire.CallSnapshot { return calls }

func ptr[T any](v T) *T { return &v }

func TestTruncatedSyncForgetsNothing(t *testing.T) {
	table := table{user: "alice", device: "phone"}
	table.see(callOf(in(2, users(user("alice", accepted)), onMain)))
	if events := table.sync(&wire.LoginResult{SyncTruncated: true}, time.Now(), nil); len(events) != 0 || len(table.list()) != 1 {
		t.Errorf("events %v, calls %v", events, table.list())
	}
}

// What the login tells of calls that this device did not know: those that are live here are followed, without a sound.
func TestSyncOfUnknownCalls(t *testing.T) {
	table := table{user: "alice", device: "phone"}
	pending := in(1, users(user("bob", accepted), user("alice", inviting)), rings)
	elsewhere := proto.Clone(in(3, users(user("bob", accepted), user("alice", accepted)))).(*wire.CallSnapshot)
	elsewhere.CallId = 8
	here := proto.Clone(elsewhere).(*wire.CallSnapshot)
	here.CallId, here.IsMainDevice = 9, true
	if events := table.sync(&wire.LoginResult{Sync: snapshots(pending, elsewhere, here)}, time.Now(), nil); len(events) != 0 {
		t.Errorf("events %v", events)
	}
	calls := table.list()
	if len(calls) != 2 || calls[0].CallID != 7 || calls[1].CallID != 9 {
		t.Errorf("calls %+v", calls)
	}
	if !table.apply(CallInvitationReceived{EventInfo: EventInfo{CallID: 7, Version: 1}, Call: callOf(pending)}) {
		t.Error("the Received that follows the sync is not shown")
	}
}

// The caller's own events, in the order of SEQUENCES row 1, on the device that called and on the other one.
func TestCreatedHereAndElsewhere(t *testing.T) {
	created := callOf(in(1, users(user("alice", accepted), user("bob", inviting))))
	info := EventInfo{CallID: 7, Version: 1, ActingUser: "alice", ActingDevice: "phone"}
	changed := CallUserStateChanged{EventInfo: info, Users: created.Users, CallState: Started}
	for device, lives := range map[string]bool{"phone": true, "tablet": false} {
		table := table{user: "alice", device: device}
		if device == "phone" && !table.apply(changed) {
			t.Error("the change is not shown")
		}
		if !table.apply(CallInvitationCreated{EventInfo: info, Call: created}) {
			t.Errorf("%s: Created is not shown", device)
		}
		if got := len(table.list()) == 1; got != lives {
			t.Errorf("%s: lives %v, want %v", device, got, lives)
		}
	}
}

// However many calls come, the table stays within its bounds and remembers the newest.
func TestTableIsBounded(t *testing.T) {
	table := table{user: "alice", device: "phone"}
	for id := range CallID(3 * maxCalls) {
		call := callOf(in(1, users(user("bob", accepted), user("alice", inviting)), rings))
		call.CallID = id + 1
		table.apply(CallInvitationReceived{EventInfo: EventInfo{CallID: call.CallID, Version: 1}, Call: call})
	}
	if len(table.live) != maxCalls || len(table.order) != maxCalls || len(table.graves) != maxGraves || len(table.buried) != maxGraves {
		t.Errorf("%d live, %d in order, %d graves, %d buried", len(table.live), len(table.order), len(table.graves), len(table.buried))
	}
	if table.live[3*maxCalls] == nil {
		t.Error("the newest call is not there")
	}
	if n := len(table.silence(time.Now().Add(time.Hour))); n != maxCalls || len(table.list()) != 0 {
		t.Errorf("%d timeouts, %d calls left", n, len(table.list()))
	}
}

// Over the network: what the device knew goes out with the login, and the difference comes back as events.
func TestReconnectCatchesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, time.Minute)), receivedEvent(ringing(8, 4, time.Minute)))
		event[CallInvitationReceived](w)
		event[CallInvitationReceived](w)
		p.hangUp(wire.CloseGoingAway)
		cancel := snapshot(8, 5, user("bob", cancelled), user("alice", beCancelled))
		cancel.State, cancel.Inviter = wire.CallState_CALL_STATE_ENDED, "bob"
		still := ringing(7, 2, time.Minute)
		still.Users = append(still.Users, user("carol", inviting))
		next, login := w.login(&wire.LoginResult{ServerTimeMs: 77000, Sync: snapshots(still, cancel)})
		if len(login.KnownCalls) != 2 || login.KnownCalls[0].CallId != 7 || login.KnownCalls[1].Version != 4 {
			t.Errorf("known calls %v", login.KnownCalls)
		}
		if e := event[CallUserStateChanged](w); e.CallID != 7 || e.Version != 2 || !e.Local || !e.Time.Equal(time.UnixMilli(77000)) || e.Users[0].UserID != "carol" {
			t.Errorf("event %+v", e)
		}
		if e := event[CallInvitationCancelled](w); e.CallID != 8 || e.Version != 5 || e.Inviter != "bob" {
			t.Errorf("event %+v", e)
		}
		next.tell(receivedEvent(still)) // it rings already
		w.silent()
		if calls := c.Calls(); len(calls) != 1 || calls[0].CallID != 7 || len(calls[0].Users) != 3 {
			t.Errorf("calls %+v", calls)
		}
	})
}

// An invitation that the sync tells of, but whose Received never follows, is forgotten without a sound when it runs out.
func TestUnheardInvitationRunsOut(t *testing.T) {
	table := table{user: "alice", device: "phone"}
	table.sync(&wire.LoginResult{Sync: snapshots(in(1, users(user("bob", accepted), user("alice", inviting)), rings))}, time.Now(), nil)
	if events := table.silence(table.nextSilence()); len(events) != 0 || len(table.list()) != 0 {
		t.Errorf("events %v, calls %v", events, table.list())
	}
}

// The server restarted and forgot that this device has acknowledged: it is told again.
func TestForgottenReceiptIsRepeated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, time.Minute)), changedEvent(7, 1, 0, user("alice", received)))
		event[CallInvitationReceived](w)
		event[CallUserStateChanged](w)
		p.hangUp(wire.CloseGoingAway)
		next, _ := w.login(&wire.LoginResult{Sync: snapshots(ringing(7, 1, time.Minute))})
		if f := wait(t, next.frames); f.GetInvitationReceipt().GetCallId() != 7 {
			t.Errorf("frame %v, want a receipt", f)
		}
		w.silent()
	})
}
