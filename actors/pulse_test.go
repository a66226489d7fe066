package actors

import (
	"sync/atomic"
	"testing"
	"time"

	"carillon/actors/session"
)

func TestPulseNoticesAStandstill(t *testing.T) {
	var clock atomic.Int64
	start := time.UnixMilli(1_700_000_000_000)
	p := &pulse{now: func() time.Time { return start.Add(time.Duration(clock.Load())) }, beat: start}
	for range 10 {
		clock.Add(int64(pulseEvery))
		if at := p.resumed(); !at.IsZero() {
			t.Fatalf("a standstill until %v, there was none", at)
		}
	}
	clock.Add(int64(standstill + time.Second))
	back := p.resumed()
	if want := start.Add(time.Duration(clock.Load())); !back.Equal(want) {
		t.Fatalf("went on at %v, want %v", back, want)
	}
	clock.Add(int64(pulseEvery))
	if at := p.resumed(); !at.Equal(back) {
		t.Errorf("went on at %v, want still %v", at, back)
	}
}

// A server that stood still has not heard its clients: they get a grace, and no call is cancelled for it.
func TestAStandstillIsNoSilence(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	rules := session.Rules{MaxDevices: 10, HeartbeatTimeout: 35 * time.Second}
	for _, stood := range []bool{false, true} {
		s := session.New(rules, now)
		s.Step(session.Login{Device: "phone", Conn: session.Conn{ID: 1}}, now)
		s.Step(session.Watch{Call: 7}, now)
		later := now.Add(time.Minute)
		if stood {
			s.Resume(later)
		}
		s.Step(session.Tick{}, later)
		if s.Online(later) != stood {
			t.Errorf("stood still %t: online %t", stood, s.Online(later))
		}
		if gone := later.Add(rules.HeartbeatTimeout); stood {
			s.Step(session.Tick{}, gone)
			if s.Online(gone) {
				t.Error("still online after the grace")
			}
		}
	}
}
