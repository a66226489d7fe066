package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"carillon/transport/wire"
)

var (
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	people = cast{"ann", "bob", "cid", "dan", "eve"}
	usual  = timing{
		ring: 100 * time.Millisecond, talk: 50 * time.Millisecond, timeout: 2 * time.Second, patience: 5 * time.Second,
		faultPatience: 20 * time.Second, late: 5 * time.Second,
	}
)

// player feeds a machine what a right server would tell, in a random order that keeps every device's own.
type player struct {
	m      *machine
	now    time.Time
	random *rand.Rand
}

func newPlayer(s *story, seed uint64) *player {
	return &player{m: newMachine(s, people[:s.cast], usual, noon), now: noon, random: rand.New(rand.NewPCG(seed, 0))}
}

// next is a fact that may be heard now, and by whom.
func (p *player) next() (device, fact) {
	type heard struct {
		by device
		fact
	}
	var choice []heard
	for r, steps := range p.m.present().hears {
		if d := p.m.devices[r]; d.step < len(steps) {
			for i, f := range steps[d.step] {
				if d.seen&(1<<i) == 0 {
					choice = append(choice, heard{device(r), f})
				}
			}
		}
	}
	one := choice[p.random.IntN(len(choice))]
	return one.by, one.fact
}

// left is how long the invitation still rings.
func (p *player) left() time.Duration {
	if p.m.made.IsZero() {
		return usual.timeout
	}
	return p.m.made.Add(usual.timeout).Sub(p.now)
}

// hear is one step; a device that rings is told for how long.
func (p *player) hear(r device, f fact) {
	p.now = p.now.Add(time.Millisecond)
	repeats := p.m.repeats
	p.m.hear(r, f, p.now)
	switch {
	case f.kind == created && p.m.made.IsZero():
		p.m.begun(1000, p.now)
	case f.kind == received && p.m.repeats == repeats:
		p.m.rings(r, &wire.CallSnapshot{CreateTimeMs: 1000, RemainingMs: uint32(p.left().Milliseconds())}, p.now)
	}
	if p.m.due.After(p.now) && p.m.ending == going {
		p.now = p.m.due
	}
}

// play goes on until the story is over or another step is wanted.
func (p *player) play(until func() bool) {
	for p.m.ending == going && !until() {
		p.hear(p.next())
	}
}

func never() bool { return false }

func (p *player) ends(t *testing.T, want ending, why string) {
	t.Helper()
	if p.m.ending != want || !strings.Contains(p.m.why, why) {
		t.Fatalf("%s ended as %d (%s), want %d (%s)\n%s", p.m.story.name, p.m.ending, p.m.why, want, why, strings.Join(p.m.lines(), "\n"))
	}
}

func TestStoriesEndWell(t *testing.T) {
	for _, s := range stories {
		for seed := range uint64(50) {
			p := newPlayer(s, seed)
			p.play(never)
			p.ends(t, right, "")
			if !p.m.deadline().After(noon) {
				t.Errorf("%s: deadline %v", s.name, p.m.deadline())
			}
			for r, d := range p.m.devices {
				if !d.until.IsZero() {
					t.Errorf("%s: %v still rings", s.name, device(r))
				}
			}
			p.hear(devB, fact{kind: changed, version: s.version + 1})
			p.ends(t, wrong, "B hears after the end")
		}
	}
}

// Whatever single frame is lost, the call fails at its deadline and says which.
func TestALostFrameIsFound(t *testing.T) {
	for _, s := range stories {
		full := newPlayer(s, 1)
		steps := 0
		full.play(func() bool { steps++; return false })
		for lost := range steps - 1 {
			p := newPlayer(s, uint64(lost))
			n := -1
			p.play(func() bool { n++; return n == lost })
			r, f := p.next()
			var other bool
			for range 200 { // all else that may still be heard in this stage
				if r2, f2 := p.next(); r2 != r && p.m.missing > 1 {
					stage := p.m.stage
					p.hear(r2, f2)
					other = other || p.m.stage != stage
				}
			}
			if other {
				t.Fatalf("%s went on without %v hearing %v", s.name, r, f)
			}
			p.m.expect(p.m.deadline())
			p.ends(t, wrong, "")
			if !strings.Contains(p.m.why, "has not heard") && !strings.Contains(p.m.why, "past its deadline") {
				t.Errorf("%s: %s", s.name, p.m.why)
			}
		}
	}
}

// Whatever single fact is false, the call fails at once.
func TestAFalseFactIsFound(t *testing.T) {
	spoil := map[string]func(*fact){
		"version": func(f *fact) { f.version++ },
		"actor":   func(f *fact) { f.by = roleE + 1 },
		"reason":  func(f *fact) { f.reason = wire.Reason_REASON_BUSY },
		"state":   func(f *fact) { f.states[roleB] = wire.UserState_USER_STATE_ENDED },
		"end":     func(f *fact) { f.over = !f.over },
		"kind":    func(f *fact) { f.kind = f.kind%answer + 1 },
	}
	for name, bad := range spoil {
		for _, s := range stories {
			for at := range 6 {
				p := newPlayer(s, uint64(at))
				n := -1
				p.play(func() bool { n++; return n == at })
				if p.m.ending != going {
					continue
				}
				r, f := p.next()
				bad(&f)
				p.m.hear(r, f, p.now)
				if p.m.ending != wrong {
					t.Errorf("%s: %v may hear %v, false in its %s", s.name, r, f, name)
				}
			}
		}
	}
}

func TestToldAgainIsHarmless(t *testing.T) {
	for _, s := range stories {
		p := newPlayer(s, 7)
		told := 0
		for p.m.ending == going {
			r, f := p.next()
			p.hear(r, f)
			p.hear(r, f)
			told++
		}
		p.ends(t, right, "")
		if p.m.repeats != told {
			t.Errorf("%s: %d repeats of %d", s.name, p.m.repeats, told)
		}
	}
}

// An older event is dropped as a device drops it; a ring that is repeated rings once.
func TestOlderIsDropped(t *testing.T) {
	p := newPlayer(storyNamed("answered"), 3)
	p.play(func() bool { return p.m.stage == 1 && p.m.devices[devA].version == 2 })
	old := p.m.devices[devA].facts[0]
	old.states[roleB] = rung
	p.hear(devA, old)
	ring := p.m.devices[devB].facts[0]
	ring.states[roleB] = rung
	p.hear(devB, ring)
	p.play(never)
	p.ends(t, right, "")
	if p.m.repeats != 2 {
		t.Errorf("%d repeats", p.m.repeats)
	}
}

func TestRingPastItsDeadline(t *testing.T) {
	p := newPlayer(storyNamed("timed-out"), 1)
	p.play(func() bool { return p.m.stage == 1 })
	until := p.m.devices[devB].until
	p.m.expect(until.Add(ringSlack - time.Millisecond))
	p.ends(t, going, "")
	p.m.expect(until.Add(ringSlack))
	p.ends(t, wrong, "B rings 2s past its deadline")
}

// A ring that ends long after its deadline has rung past it, whoever looked meanwhile.
func TestTimedOutLate(t *testing.T) {
	p := newPlayer(storyNamed("timed-out"), 1)
	p.play(func() bool { return p.m.stage == 1 })
	p.m.hear(devB, p.m.present().hears[devB][0][0], p.m.devices[devB].until.Add(ringSlack))
	p.ends(t, wrong, "B rings 2s past its deadline")
}

func TestTimedOutEarly(t *testing.T) {
	for at, want := range map[int64]ending{2999: wrong, 3000: going} {
		p := newPlayer(storyNamed("timed-out"), 1)
		p.play(func() bool { return p.m.stage == 1 })
		p.m.expired(devB, at, p.now)
		p.ends(t, want, map[ending]string{wrong: "1 ms early"}[want])
	}
}

func TestRefusals(t *testing.T) {
	p := newPlayer(storyNamed("answered"), 1)
	p.m.refuse(tooFrequent, "later", noon)
	p.ends(t, refused, "later")
	p.m.hear(devA, fact{kind: changed, version: 1}, noon)
	p.m.expect(noon.Add(time.Hour))
	p.ends(t, refused, "later")
	p = newPlayer(storyNamed("answered"), 1)
	p.play(func() bool { return p.m.stage == 1 })
	p.m.refuse(6000276, "no such call", p.now)
	p.ends(t, wrong, "B's accept is refused: 6000276 no such call")
}

// Latencies count from the scheduled instants: of the call, and of the answer to its ring.
func TestSamples(t *testing.T) {
	p := newPlayer(storyNamed("answered"), 1)
	p.play(func() bool { return p.m.stage == 1 })
	if want := p.m.rang.Add(usual.ring); !p.m.due.Equal(want) {
		t.Errorf("the accept is due at %v, want %v", p.m.due, want)
	}
	for p.m.ending == going {
		r, f := p.next()
		p.now = p.m.due.Add(7 * time.Millisecond)
		p.m.hear(r, f, p.now)
	}
	got := map[metric]time.Duration{}
	for _, s := range p.m.samples {
		got[s.of] = s.took
	}
	for _, of := range []metric{metric(invite), ringMetric, knownMetric} {
		if got[of] <= 0 || got[of] > 20*time.Millisecond {
			t.Errorf("%v took %v", of, got[of])
		}
	}
	for _, of := range []metric{metric(accept), toldMetric} {
		if got[of] != 7*time.Millisecond {
			t.Errorf("%v took %v", of, got[of])
		}
	}
}

func TestTraceIsBounded(t *testing.T) {
	p := newPlayer(storyNamed("answered"), 1)
	r, f := p.next()
	for range 2 * maxTrace {
		p.hear(r, f)
	}
	if len(p.m.lines()) != maxTrace {
		t.Errorf("%d lines", len(p.m.lines()))
	}
}

// at plays a story until it is in a stage.
func at(name string, stage int) *player {
	p := newPlayer(storyNamed(name), 5)
	p.play(func() bool { return p.m.stage == stage })
	return p
}

// A device that was told that the call goes on elsewhere must hear no more of it, whatever the main device hears.
func TestTheOtherDeviceHearsNoMore(t *testing.T) {
	for name, stages := range map[string]map[int]device{"answered-elsewhere": {4: devB}, "switched": {5: devB, 6: devB, 7: devB}} {
		for stage, other := range stages {
			p := at(name, stage)
			news := p.m.present().hears[devB2]
			if len(news) == 0 {
				t.Fatalf("%s: B2 hears nothing in stage %d", name, stage)
			}
			p.m.hear(other, news[0][0], p.now)
			p.ends(t, wrong, "B hears")
		}
	}
	p := at("answered-elsewhere", 3) // B2 takes the call
	news := p.m.present().hears[devB][0][0]
	news.reason = wire.Reason_REASON_UNSPECIFIED
	p.m.hear(devB, news, p.now)
	p.ends(t, wrong, "expected: ")
}

// A device that is not told that the call was taken elsewhere rings past its deadline.
func TestTheOtherDeviceRingsOn(t *testing.T) {
	p := at("answered-elsewhere", 3)
	for _, f := range p.m.present().hears[devB2][0] {
		p.m.hear(devB2, f, p.now)
	}
	if !p.m.devices[devB2].until.IsZero() {
		t.Error("B2 still rings")
	}
	p.m.expect(p.m.devices[devB].until.Add(ringSlack))
	p.ends(t, wrong, "B rings 2s past its deadline")
}

func TestALateCalleeMustRing(t *testing.T) {
	p := at("late", 1)
	sync := p.m.present().hears[devB][0][0]
	if sync.kind != synced || sync.version != 1 {
		t.Fatalf("the login is answered by %v", sync)
	}
	p.m.hear(devB, sync, p.now)
	p.m.expect(p.m.deadline())
	p.ends(t, wrong, "B has not heard Received v1")
	p = at("late", 1)
	sync.version, sync.states = 0, states{}
	p.m.hear(devB, sync, p.now)
	p.ends(t, wrong, "B hears sync without the call")
}

func TestWhoIsTooLateMustNotRing(t *testing.T) {
	ring := storyNamed("late").stages[1].hears[devB][1][0]
	p := at("too-late", 3)
	p.m.hear(devB, ring, p.now)
	p.ends(t, wrong, "B hears Received")
	p = at("too-late", 2)
	p.m.hear(devB, fact{kind: synced, version: 1, by: nobody, states: ring.states}, p.now)
	p.ends(t, wrong, "B hears sync v1")
}

// A ring is told the rest of the invitation's time, neither more nor less.
func TestRingsForTheRest(t *testing.T) {
	for name, stage := range map[string]int{"late": 1, "answered": 0} {
		for off, want := range map[time.Duration]ending{0: going, 2 * clockSlack: wrong, -2*clockSlack - time.Millisecond: wrong} {
			p := at(name, stage)
			p.now = p.m.due.Add(10 * time.Millisecond)
			p.m.rings(devB, &wire.CallSnapshot{RemainingMs: uint32((p.left() + off).Milliseconds())}, p.now)
			p.ends(t, want, map[ending]string{wrong: "B is told to ring for"}[want])
		}
	}
}

// How quickly a late callee rings counts from the login that was due.
func TestLoginToRing(t *testing.T) {
	p := at("late", 1)
	for _, facts := range p.m.present().hears[devB][:2] {
		p.now = p.m.due.Add(9 * time.Millisecond)
		p.m.hear(devB, facts[0], p.now)
	}
	got := map[metric]int{}
	for _, s := range p.m.samples {
		if got[s.of]++; (s.of == metric(login) || s.of == wakeMetric) && s.took != 9*time.Millisecond {
			t.Errorf("%v took %v", s.of, s.took)
		}
	}
	if got[wakeMetric] != 1 || got[metric(login)] != 1 || got[ringMetric] != 0 {
		t.Errorf("samples %v", p.m.samples)
	}
}
