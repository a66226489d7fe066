package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carillon/actors/call"
)

// TestPresence holds Online against SPEC 5 told in one sentence: a device counts until 35 s after its last frame unless
// it has logged out; who has just come to life counts for 35 s when a call had asked for him before anybody logged in.
func TestPresence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := testStart
		s := New(Rules{MaxDevices: 10, HeartbeatTimeout: 35 * time.Second}, now)
		last := map[call.DeviceID]time.Time{} // last frame
		on := map[call.DeviceID]Conn{}
		fresh := now.Add(35 * time.Second)
		for n := range uint64(40) {
			d := call.DeviceID(fmt.Sprint("d", rapid.IntRange(1, 4).Draw(t, "device")))
			var msg any = Tick{}
			switch rapid.IntRange(0, 6).Draw(t, "move") {
			case 0:
				if len(last) == 0 && len(s.watchers) == 0 {
					fresh = now
				}
				on[d], last[d] = Conn{"n", n + 1}, now
				msg = Login{Device: d, Conn: on[d]}
			case 1:
				if c, ok := on[d]; ok {
					last[d], msg = now, Seen{Conn: c}
				}
			case 2:
				msg = Broken{on[d]}
				delete(on, d)
			case 3:
				if c, ok := on[d]; ok {
					delete(on, d)
					delete(last, d)
					msg = Logout{Conn: c}
				}
			case 4:
				msg = Watch{Call: 1}
			case 6: // another owner: nobody notices
				msg, _ = s.Leave()
				s = New(Rules{MaxDevices: 10, HeartbeatTimeout: 35 * time.Second}, now)
			case 5:
				now = now.Add(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "ms")) * time.Millisecond)
				for d, at := range last {
					if now.Sub(at) >= 35*time.Second {
						delete(last, d)
						delete(on, d)
					}
				}
			}
			s.Step(msg, now)
			if want := len(last) > 0 || now.Before(fresh); s.Online(now) != want {
				t.Fatalf("after %T at %v: online %t, want %t", msg, now.Sub(testStart), s.Online(now), want)
			}
		}
	})
}

// TestWatchersAreBounded: the one that asked longest ago makes room.
func TestWatchersAreBounded(t *testing.T) {
	now := testStart
	s := New(Rules{MaxDevices: 2, HeartbeatTimeout: 35 * time.Second}, now)
	for id := range call.ID(maxWatchers + 1) {
		now = now.Add(time.Millisecond)
		s.Step(Watch{Call: id + 1}, now)
	}
	if len(s.watchers) != maxWatchers || s.watchers[0].call != 2 {
		t.Fatalf("%d watchers, the first is call %s", len(s.watchers), s.watchers[0].call)
	}
}

// TestAdoptedWatchersAreBounded: those that were there before stay.
func TestAdoptedWatchersAreBounded(t *testing.T) {
	s := New(Rules{MaxDevices: 2, HeartbeatTimeout: 35 * time.Second}, testStart)
	until := call.At(testStart.Add(watchLease))
	s.Step(Watch{Call: 1}, testStart)
	var h Handover
	for id := range call.ID(maxWatchers + 9) {
		h.Watchers = append(h.Watchers, Watching{Call: id + 1, Until: until})
		h.Latest = append(h.Latest, Version{Call: id + 1, Version: 1})
	}
	s.Step(h, testStart)
	if len(s.watchers) != maxWatchers || s.watchers[0].call != 1 || s.watchers[1].call != 2 {
		t.Fatalf("%d watchers, the first are %+v", len(s.watchers), s.watchers[:2])
	}
	s = New(Rules{MaxDevices: 2, HeartbeatTimeout: 35 * time.Second}, testStart)
	s.Step(h, testStart)
	if len(s.latest) != maxLatest || s.latest[maxLatest-1].call != maxWatchers+9 {
		t.Fatalf("%d versions, the last is of %s", len(s.latest), s.latest[len(s.latest)-1].call)
	}
}

// TestFramesAreShared: one frame goes to many devices, so nobody may write into it.
func TestFramesAreShared(t *testing.T) {
	s := newStage(t)
	s.run([]string{"login", "d1", "c1"})
	s.run([]string{"login", "d2", "c2"})
	frame := append(make([]byte, 0, 100), "first;"...)
	all := Item{Devices: call.AllDevices, Frame: frame}
	out := s.s.Step(Tell{Call: 1, Items: []Item{
		all, {Devices: call.OnlyDevice, Device: "d1", Frame: []byte("one;")}, {Devices: call.OnlyDevice, Device: "d2", Frame: []byte("two;")},
	}}, s.now)
	if got := show(out); !slices.Equal(got, []string{"c1 hears first;one;", "c2 hears first;two;"}) {
		t.Fatal(got)
	}
}
