package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/transport/wire"
)

// storm feeds a machine what a right service may tell through faults: events are lost, repeated and told late in one, devices
// come back and learn from a sync, answers come again.
type storm struct {
	*player
	told [maxDevices]uint64 // the version that a device has been told of
}

func newStorm(s *story, seed uint64) *storm {
	p := newPlayer(s, seed)
	p.m.disturb(p.now)
	return &storm{player: p}
}

func (p *storm) tick() { p.now = p.now.Add(time.Duration(1+p.random.IntN(20)) * time.Millisecond) }

// act sends the present deed when it is due, or lets the time of the pending run out.
func (p *storm) act() {
	if p.m.due.After(p.now) {
		p.now = p.m.due
	}
	if p.m.present().do != expire {
		p.m.sends(p.now)
	}
}

// snapshot is how the call is after a stage.
func snapshot(s *story, g *stage, k kind) fact {
	f := fact{kind: k, by: nobody, version: g.version, states: g.after, over: g.over}
	if g.over {
		f.reason = s.reason
	}
	return f
}

func (p *storm) hears(r device, f fact) {
	p.tick()
	p.m.hear(r, f, p.now)
	if f.kind == received && p.m.ending == going && p.m.devices[r].until.IsZero() && p.m.ringing[r] {
		left := max(0, p.m.timeOver().Sub(p.now))
		p.m.rings(r, &wire.CallSnapshot{RemainingMs: uint32(left.Milliseconds())}, p.now)
	}
	p.told[r] = max(p.told[r], f.version)
}

// learns lets a device know of the present stage, one way or the other. What is told reaches a device in order.
func (p *storm) learns(r device) {
	g, knows := p.m.present(), false
	for _, facts := range g.hears[r] {
		for _, f := range facts {
			switch {
			case f.kind.asked() || f.kind == received:
				p.hears(r, f)
			case knows: // from a sync
			case f.soft() && p.random.IntN(3) == 0: // lost with a node
			case p.random.IntN(4) == 0 && p.told[r] > 0:
				p.hears(r, snapshot(p.m.story, g, synced))
				knows = true
			default:
				p.hears(r, f)
				if p.random.IntN(3) == 0 {
					p.hears(r, f)
				}
			}
			if p.m.ending != going || p.m.present() != g {
				return
			}
		}
	}
}

// run plays to the end. before, if not nil, is called when a deed was sent and nothing of it was told, and may end it.
func (p *storm) run(before func() bool) {
	for p.m.ending == going {
		p.act()
		if before != nil && before() {
			return
		}
		g := p.m.present()
		for _, r := range p.random.Perm(maxDevices) {
			if p.m.ending == going && p.m.present() == g {
				p.learns(device(r))
			}
		}
		if p.m.ending == going && p.m.present() == g {
			p.now = p.now.Add(p.m.timing.timeout + ringSlack) // rings end by their own clocks
			if !p.m.goOn(p.now) && p.m.ending == going {
				return
			}
		}
	}
}

func TestStoriesGoOnThroughFaults(t *testing.T) {
	for _, s := range stories {
		for seed := range uint64(300) {
			p := newStorm(s, seed)
			p.run(nil)
			p.ends(t, right, "")
			if p.m.story != s || p.m.overtaken {
				t.Fatalf("%s took another way", s.name)
			}
		}
	}
}

// stormAt stops in a stage whose deed was sent, and of which nothing is known.
func stormAt(t *testing.T, name string, n int, seed uint64) *storm {
	t.Helper()
	p := newStorm(storyNamed(name), seed)
	p.run(func() bool { return p.m.stage == n })
	if p.m.ending != going || p.m.stage != n {
		t.Fatalf("%s is at %d, not %d: %s", name, p.m.stage, n, p.m.why)
	}
	return p
}

// A device that comes back must find in its sync what was acknowledged.
func TestAnAcknowledgedDeedIsInTheSync(t *testing.T) {
	p := stormAt(t, "answered", 1, 1)
	before := p.m.story.stages[0]
	p.hears(devB, snapshot(p.m.story, p.m.present(), answer))
	p.hears(devB, snapshot(p.m.story, &before, synced))
	p.ends(t, wrong, "B's sync goes back")

	p = stormAt(t, "answered", 1, 1)
	p.hears(devB, snapshot(p.m.story, p.m.present(), answer))
	lost := snapshot(p.m.story, p.m.present(), synced)
	lost.states[roleB] = timeout
	p.hears(devA, lost)
	p.ends(t, wrong, "A hears sync v2 [A accepted, B timeout]")

	p = stormAt(t, "group", 5, 1)
	p.m.unlisted(devA, 4, p.now)
	p.ends(t, wrong, "A's sync is without the call")
	p = stormAt(t, "group", 5, 1)
	p.m.unlisted(devC, 3, p.now) // he has rejected it
	p.ends(t, going, "")
}

// Whatever single thing is false in a snapshot, the call is wrong.
func TestAFalseSnapshotIsFound(t *testing.T) {
	spoil := map[string]func(*fact){
		"version": func(f *fact) { f.version += 20 },
		"reason":  func(f *fact) { f.reason = wire.Reason_REASON_BUSY },
		"state":   func(f *fact) { f.states[roleA] = wire.UserState_USER_STATE_ENDED },
		"end":     func(f *fact) { f.over = !f.over },
	}
	for name, bad := range spoil {
		for _, s := range stories {
			for n, g := range s.stages {
				if g.version == 0 {
					continue
				}
				p := newStorm(s, uint64(n))
				p.run(func() bool { return p.m.stage == n })
				f := snapshot(s, &s.stages[n], synced)
				bad(&f)
				p.hears(devA, f)
				if p.m.ending != wrong {
					t.Errorf("%s: a sync may be false in its %s in stage %d: %v", s.name, name, n, f)
				}
			}
		}
	}
}

// What a device is told must add up to the call.
func TestALostEventIsFound(t *testing.T) {
	p := stormAt(t, "group", 4, 3)
	if p.m.devices[devA].version != 4 {
		t.Fatalf("A knows v%d", p.m.devices[devA].version)
	}
	p.m.picture[devA][roleB] = inviting // as if it had never heard of B's accept
	p.hears(devA, p.m.present().hears[devA][0][0])
	p.ends(t, wrong, "what A was told adds up to")
}

func TestWhatHasNotHappenedIsFound(t *testing.T) {
	p := newStorm(storyNamed("answered"), 1)
	p.run(func() bool { return p.m.stage == 1 })
	p.m.asked = 1 // the accept was not sent
	p.hears(devA, fact{kind: changed, version: 2, by: roleB, states: oneOf(roleB, accepted), over: true})
	p.ends(t, wrong, "A hears UserStateChanged v2 by B")
}

// overtakenAt lets the time of the pending run out in a stage, before its deed or after it.
func overtakenAt(t *testing.T, name string, n int, after bool) (*storm, *story) {
	t.Helper()
	p := stormAt(t, name, n, 5)
	way := n - 1
	if after {
		way = n
	}
	alt := p.m.story.detours[way]
	if alt == nil {
		t.Fatalf("%s has no detour at %d", name, way)
	}
	p.now = p.m.timeOver()
	return p, alt
}

func TestOvertakenByATimeOut(t *testing.T) {
	for _, one := range []struct {
		name string
		n    int
	}{{"answered", 1}, {"rejected", 1}, {"cancelled", 1}, {"group", 1}, {"group", 2}, {"group", 4}} {
		p, alt := overtakenAt(t, one.name, one.n, false)
		out := &alt.stages[one.n]
		p.hears(devA, snapshot(alt, out, synced))
		if !p.m.overtaken || p.m.story != alt {
			t.Fatalf("%s %d: goes on as before: %s", one.name, one.n, p.m.why)
		}
		by := storyNamed(one.name).stages[one.n].by
		if _, ok := p.m.overruled(by, nil, p.now); !ok {
			t.Fatalf("%s %d: the deed cannot be refused", one.name, one.n)
		}
		p.run(nil)
		p.ends(t, right, "")
	}
}

// The refusal may be the first word of it; and a deed that is said to have been overtaken must not have been applied.
func TestOvertakenSaysTheRefusal(t *testing.T) {
	p, alt := overtakenAt(t, "answered", 1, false)
	shown := snapshot(alt, &alt.stages[1], synced)
	if next, ok := p.m.overruled(devB, &shown, p.now); !ok || next {
		t.Fatalf("%v %v: %s", next, ok, p.m.why)
	}
	p.run(nil)
	p.ends(t, right, "")

	p, alt = overtakenAt(t, "answered", 1, false)
	p.hears(devA, snapshot(alt, &alt.stages[1], synced))
	p.hears(devB, snapshot(storyNamed("answered"), &storyNamed("answered").stages[1], answer))
	p.ends(t, wrong, "B hears answer v2")

	p, _ = overtakenAt(t, "answered", 1, false)
	applied := snapshot(p.m.story, p.m.present(), synced)
	if _, ok := p.m.overruled(devB, &applied, p.now); ok {
		t.Error("a deed that was applied may be refused")
	}
}

func TestNotOvertakenBeforeItsTime(t *testing.T) {
	p, alt := overtakenAt(t, "answered", 1, false)
	p.now = p.m.invited.Add(usual.timeout - 30*time.Millisecond)
	p.hears(devA, snapshot(alt, &alt.stages[1], synced))
	p.ends(t, wrong, "A hears sync v2 [A accepted, B timeout] over")

	p, alt = overtakenAt(t, "answered", 1, false)
	p.hears(devB, snapshot(p.m.story, p.m.present(), answer))
	p.hears(devA, snapshot(alt, &alt.stages[1], synced)) // after the acknowledgement
	p.ends(t, wrong, "A hears sync v2 [A accepted, B timeout] over")
}

// A late callee who logs in at the very end of his time may be told of it, although he has not rung; not of another end.
func TestTooLateByAHair(t *testing.T) {
	over := fact{kind: timedOut, version: 2, by: nobody, reason: wire.Reason_REASON_NO_ANSWER}
	for f, want := range map[fact]ending{
		over: right,
		{kind: cancelled, version: 2, by: roleA, reason: wire.Reason_REASON_CANCELLED}: wrong,
	} {
		p, alt := overtakenAt(t, "late", 1, false)
		p.hears(devB, fact{kind: synced})
		p.hears(devA, snapshot(alt, &alt.stages[1], synced))
		p.hears(devB, f)
		p.run(nil)
		p.ends(t, want, map[ending]string{wrong: "B hears Cancelled"}[want])
	}
}

func TestTimeOutTooLateAfterAFault(t *testing.T) {
	for late, want := range map[time.Duration]ending{usual.late: right, usual.late + time.Second: wrong} {
		p := stormAt(t, "timed-out", 1, 2)
		f := p.m.present().hears[devA][0][0]
		p.m.hear(devA, f, p.m.timeOver().Add(late))
		p.ends(t, want, map[ending]string{wrong: "A hears of the time-out"}[want])
	}
	p := stormAt(t, "timed-out", 1, 2)
	p.m.fair = p.m.timeOver().Add(3 * time.Second) // a fault went on until then
	p.m.hear(devA, p.m.present().hears[devA][0][0], p.m.fair.Add(usual.late))
	p.ends(t, right, "")
}

func TestToldToRingPastItsDeadline(t *testing.T) {
	p := stormAt(t, "timed-out", 1, 2)
	p.m.rings(devB, &wire.CallSnapshot{RemainingMs: uint32((usual.timeout + 3*time.Second).Milliseconds())}, p.now)
	p.ends(t, wrong, "B is told to ring")
}

// Without a word for longer than any device waits the call is wrong, and says what is missing.
func TestNeverToldAfterAFault(t *testing.T) {
	p := stormAt(t, "answered", 1, 4)
	p.hears(devB, snapshot(p.m.story, p.m.present(), answer))
	p.m.expect(p.m.deadline().Add(-time.Millisecond))
	p.ends(t, going, "")
	p.m.expect(p.m.deadline())
	p.ends(t, wrong, "A does not know UserStateChanged v2 by B")
}

// After the end only what is of the story may still come.
func TestTheTailAfterAFault(t *testing.T) {
	p := newStorm(storyNamed("cancelled"), 1)
	p.run(nil)
	p.ends(t, right, "")
	p.hears(devB, snapshot(p.m.story, &p.m.story.stages[1], synced))
	p.hears(devB, p.m.story.stages[1].hears[devB][0][0])
	p.ends(t, right, "")
	p.hears(devB, fact{kind: timedOut, version: 2, by: nobody, reason: wire.Reason_REASON_NO_ANSWER})
	p.ends(t, wrong, "B hears Timeout v2")
}

// A calm call that a fault touches in its middle goes on from what was heard.
func TestAFaultInTheMiddle(t *testing.T) {
	for _, s := range stories {
		for seed := range uint64(50) {
			p := &storm{player: newPlayer(s, seed)}
			p.m.sends(noon)
			steps := rand.New(rand.NewPCG(seed, 1)).IntN(30)
			stage := 0
			p.play(func() bool {
				if p.m.stage != stage && p.m.present().do != expire {
					p.m.sends(p.now)
				}
				stage = p.m.stage
				steps--
				return steps < 0
			})
			if p.m.ending != going {
				continue
			}
			p.m.disturb(p.now)
			for r, d := range p.m.devices {
				p.told[r] = d.version
			}
			p.run(nil)
			p.ends(t, right, "")
		}
	}
}

func TestDetours(t *testing.T) {
	var b strings.Builder
	for _, s := range stories {
		for n, d := range s.detours {
			if d != nil {
				fmt.Fprintf(&b, "%s, out of time after %v's %v\n", s.name, s.stages[n].by, s.stages[n].do)
				text := strings.Split(d.String(), "\n")
				from := slices.IndexFunc(text, func(l string) bool { return strings.HasPrefix(l, "  server: time-out") })
				fmt.Fprintf(&b, "%s  at the end: %v %v\n\n", strings.Join(text[from:], "\n"), d.last, short(d.reason.String(), "REASON_"))
			}
		}
	}
	golden(t, "detours.golden", b.String())
}
