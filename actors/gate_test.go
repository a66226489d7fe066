package actors

import (
	"sync/atomic"
	"testing"
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// TestOnlyNewWorkIsThrottled: what carries on or ends a call goes through a throttle that lets in nothing new.
func TestOnlyNewWorkIsThrottled(t *testing.T) {
	bubble(t, func(c *Config) { c.Limits.TargetWait = 10 * time.Millisecond }, func(r *rig) {
		alice, bob, carol := r.login("alice", "a1"), r.login("bob", "b1"), r.login("carol", "c1")
		first := alice.must(inviteAdvanced("bob")).GetCall().GetCallId()
		second := alice.must(inviteAdvanced("carol")).GetCall().GetCallId()
		throttle := r.sys.gate.throttle
		throttle.limit.Store(0)
		add := &wire.ClientFrame{Body: &wire.ClientFrame_CallingInvite{CallingInvite: &wire.CallingInvite{CallId: first, Invitees: []string{"dave"}}}}
		join := &wire.ClientFrame{Body: &wire.ClientFrame_CallJoin{CallJoin: &wire.CallJoin{CallId: first}}}
		for _, f := range []*wire.ClientFrame{invite("bob"), add, join, query(1)} {
			got := alice.ask(f)
			if code(got) != int(call.TooFrequent) || got.GetRetryAfterMs() < 500 || got.GetRetryAfterMs() > 10_000 {
				t.Errorf("%T: %v", f.GetBody(), got)
			}
		}
		bob.must(accept(first))
		carol.must(&wire.ClientFrame{Body: &wire.ClientFrame_CallReject{CallReject: &wire.CallReject{CallId: second}}})
		bob.must(&wire.ClientFrame{Body: &wire.ClientFrame_CallQuit{CallQuit: &wire.CallQuit{CallId: first}}})
		alice.must(&wire.ClientFrame{Body: &wire.ClientFrame_CallEnd{CallEnd: &wire.CallEnd{CallId: first}}})
		got := r.sys.Admission()
		if got.Admitted != 2 || got.Refused["overload"] != 4 || got.Underway != 0 {
			t.Errorf("%+v", got)
		}
		throttle.limit.Store(1)
		alice.must(invite("bob"))
	})
}

// TestAnOverloadedNodeRefuses and goes back to normal, all by what it measures.
func TestAnOverloadedNodeRefuses(t *testing.T) {
	var wait atomic.Int64
	bubble(t, func(c *Config) {
		c.Limits.TargetWait, c.Wait = 10*time.Millisecond, func() time.Duration { return time.Duration(wait.Load()) }
	}, func(r *rig) {
		alice := r.login("alice", "a1")
		alice.must(query(1))
		if n := r.sys.Admission().Limit; n != 750 {
			t.Fatalf("limit %d at the start", n)
		}
		wait.Store(int64(time.Second))
		r.stay(time.Second/2, alice)
		if n := r.sys.Admission().Limit; n != leastNew || r.sys.Strain() != Late {
			t.Errorf("limit %d, strain %d while work waits", n, r.sys.Strain())
		}
		wait.Store(0)
		for range 20 {
			alice.must(query(1))
			r.stay(time.Second, alice)
		}
		if n := r.sys.Admission().Limit; n != 750 || r.sys.Strain() != Easy {
			t.Errorf("limit %d, strain %d after it", n, r.sys.Strain())
		}
		r.stay(10*time.Second, alice)
		if r.sys.gate.meter.running.Load() {
			t.Error("it measures although nothing happens")
		}
	})
}

// TestFloodersAreReadSlowly: each request over the rate holds its device back.
func TestFloodersAreReadSlowly(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		alice := r.login("alice", "a1")
		for range 60 {
			alice.must(query(1))
		}
		if n := alice.slowed.Load(); n != 0 {
			t.Errorf("held back for %d frames within its rate", n)
		}
		alice.ask(query(1))
		alice.ask(query(1))
		if n := alice.slowed.Load(); n != 2*refusedFrames {
			t.Errorf("held back for %d frames", n)
		}
		stranger := r.connect()
		stranger.ask(invite("bob"))
		if n := stranger.slowed.Load(); n != refusedFrames {
			t.Errorf("a stranger was held back for %d frames", n)
		}
		throttle := r.sys.gate.throttle
		throttle.limit.Store(4)
		throttle.underway.Store(3)
		bob := r.login("bob", "b1")
		for range 3 {
			bob.must(query(1)) // up to here he is like others
		}
		bob.must(query(100))
		bob.ask(query(100)) // which is beyond his share
		if n := bob.slowed.Load(); n != refusedFrames {
			t.Errorf("a greedy user was held back for %d frames", n)
		}
	})
}

// TestWhoInsistsStaysAway: after a connection that was closed for insisting no device of the user may log in for a while.
func TestWhoInsistsStaysAway(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		mallory := r.login("mallory", "m1")
		for range 60 + maxInsistence + 1 {
			mallory.ask(query(1))
		}
		if mallory.ended() != int(wire.CloseOverloaded) {
			t.Fatalf("closed with %d", mallory.ended())
		}
		mallory.hangUp()
		again := r.login("mallory", "m2")
		got := again.answer(1)
		if code(got) != int(call.TooFrequent) || got.GetRetryAfterMs() != 10_000 || again.ended() != int(wire.CloseOverloaded) {
			t.Errorf("a login right after it: %v, closed with %d", got, again.ended())
		}
		again.hangUp()
		r.login("alice", "a1").must(query(1))
		r.pass(10 * time.Second)
		r.login("mallory", "m1").must(query(1))
		if s := r.sys.Stats(); s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}
