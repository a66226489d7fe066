package actors

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// outline says events in short: their kinds, and who became what.
func outline(events []*wire.Event) string {
	var out []string
	for _, e := range events {
		word := strings.TrimPrefix(fmt.Sprintf("%T", e.GetKind()), "*wire.Event_")
		if c := e.GetCallUserStateChanged(); c != nil {
			word = ""
			for _, u := range c.GetUsers() {
				word += fmt.Sprintf("%s=%s ", u.GetUserId(), call.UserState(u.GetState()))
			}
			word = strings.TrimSpace(word)
		}
		if r := call.Reason(e.GetReason()); r != call.ReasonNone {
			word += " (" + r.String() + ")"
		}
		out = append(out, word)
	}
	return strings.Join(out, ", ")
}

func (p *phone) hears(want string) {
	p.r.Helper()
	if got := outline(p.takeEvents()); got != want {
		p.r.Fatalf("connection %d heard %q, want %q", p.id, got, want)
	}
}

func TestOneCall(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice, bob, pad := r.login("alice", "a1"), r.login("bob", "b1"), r.login("bob", "b2")
		answer := alice.must(invite("bob"))
		id := answer.GetCall().GetCallId()
		if call.ID(id).Shard() != call.UserID("alice").Shard() {
			t.Errorf("call %d is not in its caller's shard", id)
		}
		alice.hears("alice=Accepted bob=Inviting, CallInvitationCreated")
		bob.hears("CallInvitationReceived")
		pad.hears("CallInvitationReceived")
		bob.g.Handle(&wire.ClientFrame{Body: &wire.ClientFrame_InvitationReceipt{InvitationReceipt: &wire.InvitationReceipt{CallId: id}}})
		alice.hears("bob=Received")
		bob.hears("bob=Received")
		pad.hears("bob=Received")
		bob.must(accept(id))
		alice.hears("bob=Accepted")
		bob.hears("bob=Accepted")
		pad.hears("bob=Accepted (answered_elsewhere)")
		if got := pad.ask(accept(id)); code(got) != int(call.NoSuchCall) {
			t.Errorf("a second accept: %v", got)
		}
		r.stay(2*time.Minute, alice, bob, pad)
		if s := r.sys.Stats(); s.Calls != 0 || s.Resting != 0 || s.Devices != 3 || s.InFlight != 0 {
			t.Errorf("after the end: %+v", s)
		}
		for _, p := range []*phone{alice, bob, pad} {
			p.hears("")
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
		began := time.Now()
		alice.must(invite("bob"))
		alice.takeEvents()
		bob.takeEvents()
		r.stay(90*time.Second-time.Millisecond, alice, bob)
		bob.hears("")
		r.pass(time.Millisecond)
		e := bob.takeEvents()
		if outline(e) != "CallInvitationTimeout (no_answer)" || e[0].GetTimeMs() != began.Add(90*time.Second).UnixMilli() {
			t.Errorf("bob heard %v", e)
		}
		alice.hears("bob=Timeout (no_answer)")
	})
}

// TestRest: an answered call leaves memory after a minute, and its far deadline still comes.
func TestRest(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
		began := time.Now()
		id := alice.must(inviteAdvanced("bob")).GetCall().GetCallId()
		bob.must(accept(id))
		alice.hangUp()
		bob.hangUp()
		r.pass(30 * time.Second)
		if s := r.sys.Stats(); s.Calls != 1 || s.Resting != 0 {
			t.Errorf("after half a minute: %+v", s)
		}
		r.pass(90 * time.Second)
		if s := r.sys.Stats(); s.Calls != 0 || s.Sessions != 0 || s.Resting != 1 || s.Devices != 0 || s.Gateways != 0 {
			t.Errorf("after two minutes: %+v", s)
		}
		r.pass(24*time.Hour - time.Since(began) - time.Minute)
		alice = r.login("alice", "a1")
		if sync := alice.answer(1).GetLogin().GetSync(); len(sync) != 1 || sync[0].GetVersion() != 2 {
			t.Fatalf("sync: %v", sync)
		}
		r.stay(time.Minute, alice)
		e := alice.takeEvents()
		if outline(e) != "CallInvitationEnded (max_duration)" || e[0].GetTimeMs() != began.Add(24*time.Hour).UnixMilli() {
			t.Errorf("alice heard %v", e)
		}
		r.stay(2*time.Minute, alice)
		if s := r.sys.Stats(); s.Calls != 0 || s.Resting != 0 {
			t.Errorf("after the end: %+v", s)
		}
	})
}

// TestIdleSession: a user who is nowhere costs nothing, and one who is there stays.
func TestIdleSession(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
		r.stay(5*time.Minute, alice, bob)
		if s := r.sys.Stats(); s.Sessions != 2 {
			t.Errorf("two users are there: %+v", s)
		}
		if got := bob.ask(&wire.ClientFrame{Body: &wire.ClientFrame_Logout{Logout: &wire.Logout{}}}); code(got) != 0 || bob.ended() != int(wire.CloseLoggedOut) {
			t.Errorf("logout: %v, closed with %d", got, bob.ended())
		}
		bob.hangUp()
		r.stay(2*time.Minute, alice)
		if s := r.sys.Stats(); s.Sessions != 1 || s.Devices != 1 || s.Gateways != 1 {
			t.Errorf("one user is there: %+v", s)
		}
	})
}

// TestRestart: a new life of the process takes up what rings, in time, and gives a caller who is on his way back one grace.
func TestRestart(t *testing.T) {
	for name, back := range map[string]bool{"the caller comes back": true, "the caller stays away": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
				began := time.Now()
				alice.must(invite("bob"))
				bob.hears("CallInvitationReceived")
				r.stop()
				r.pass(10 * time.Second)
				r.start()
				r.pass(time.Second)
				if s := r.sys.Stats(); s.Calls != 1 {
					t.Errorf("the open call is not taken up: %+v", s)
				}
				bob = r.login("bob", "b1")
				rings := bob.takeEvents()
				if outline(rings) != "CallInvitationReceived" || rings[0].GetCallInvitationReceived().GetRemainingMs() != 79_000 {
					t.Errorf("bob heard %v", rings)
				}
				phones := []*phone{bob}
				if back {
					phones = append(phones, r.login("alice", "a1"))
				}
				r.stay(time.Until(began.Add(90*time.Second)), phones...)
				bob.hears(map[bool]string{true: "CallInvitationTimeout (no_answer)", false: "CallInvitationCancelled (caller_offline)"}[back])
			})
		})
	}
}

// TestOverdue: a deadline that passed while nothing ran is applied at once after the start, with its own time.
func TestOverdue(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		began := time.Now()
		id := r.login("alice", "a1").must(invite("bob")).GetCall().GetCallId()
		r.stop()
		r.pass(time.Hour)
		r.start()
		r.pass(time.Second)
		s, err := r.store.Load(t.Context(), call.ID(id))
		if err != nil || s.Ended != call.At(began.Add(90*time.Second)) || s.EndReason != call.ReasonNoAnswer {
			t.Errorf("call ended at %v for %s, %v", s.Ended.Time(), s.EndReason, err)
		}
	})
}

// TestKickedOut: the same device on another connection.
func TestKickedOut(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		first := r.login("alice", "a1")
		second := r.login("alice", "a1")
		if first.ended() != int(wire.CloseKickedOut) || outline(first.takeEvents()) != "KickedOut" {
			t.Errorf("the first was closed with %d", first.ended())
		}
		first.hangUp()
		second.must(invite("bob"))
		if s := r.sys.Stats(); s.Devices != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestSilence: a connection without frames is closed, so that a live client comes back, and its caller is offline.
func TestSilence(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
		alice.must(invite("bob"))
		bob.takeEvents()
		r.stay(35*time.Second, bob)
		if alice.ended() != int(wire.CloseSlowConsumer) {
			t.Errorf("the silent one was closed with %d", alice.ended())
		}
		bob.hears("CallInvitationCancelled (caller_offline)")
	})
}

// TestList: pages of the user's calls, newest first, as he sees them.
func TestList(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice, bob := r.login("alice", "a1"), r.login("bob", "b1")
		var ids []uint64
		for range 5 {
			ids = append(ids, alice.must(inviteAdvanced("bob")).GetCall().GetCallId())
			r.pass(time.Millisecond)
		}
		bob.must(reject(ids[4]))
		f := query(2)
		var seen []uint64
		for {
			page := bob.must(f).GetList()
			for _, c := range page.GetCalls() {
				seen = append([]uint64{c.GetCallId()}, seen...)
				if ended := c.GetViewState() == wire.CallState_CALL_STATE_ENDED; ended != (c.GetCallId() == ids[4]) {
					t.Errorf("call %d reads %v", c.GetCallId(), c.GetViewState())
				}
			}
			if page.GetNextFlag() == 0 {
				break
			}
			f.GetQueryCallInvitationList().NextFlag = page.GetNextFlag()
		}
		if fmt.Sprint(seen) != fmt.Sprint(ids) {
			t.Errorf("listed %v, want %v", seen, ids)
		}
	})
}
