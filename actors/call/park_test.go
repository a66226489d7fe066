package call

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A ringing call is one write when its owner goes, any other none; who has acknowledged hears nothing from the next owner.
func TestAnyParkedCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlay(t)
		events, _ := p.step(drawInvite(t, p))
		p.acknowledge(events)
		for range rapid.IntRange(0, 12).Draw(t, "commands") {
			drawPause(t, p)
			events, _ = p.step(drawLikely(t, p))
			if rapid.IntRange(0, 3).Draw(t, "acknowledge") > 0 {
				p.acknowledge(events)
			}
		}
		_, _ = p.step(Command{Op: OpTick})
		before := p.s
		events, err := p.step(Command{Op: OpPark})
		write := uint64(0)
		if before.Ringing() {
			write = 1
		}
		if err != nil || len(awake(events)) > 0 || p.s.Version != before.Version || p.s.Revision != before.Revision+write {
			t.Fatalf("parked: %v, told %v, version +%d, revision +%d, ringing %t",
				err, events, p.s.Version-before.Version, p.s.Revision-before.Revision, before.Ringing())
		}
		if write == 0 {
			return
		}
		next := p.s.Resume()
		for i := range next.Users {
			if a, b := &next.Users[i], before.Users[i]; a.State != b.State || a.Told != b.Told {
				t.Fatalf("%s is %s and was told %d changes; he was %s, and %d", a.User, a.State, a.Told, b.State, b.Told)
			}
		}
		_, events, _ = Step(next, Command{Op: OpTick}, p.now)
		for _, e := range awake(events) {
			if u := before.Find(e.To); u.Told >= before.Seq {
				t.Fatalf("%s has acknowledged all, and hears %s", e.To, e.Kind)
			}
		}
	})
}

// The session of a user that the call watches is asked at once, and then again when it is due.
func TestRewatchAsksAtOnce(t *testing.T) {
	asked := func(events []Event) []UserID {
		var out []UserID
		for _, e := range events {
			if e.Kind == EventWatch {
				out = append(out, e.To)
			}
		}
		return out
	}
	p := newPlay(Advanced)
	_, _ = p.do(OpInvite, "A1", "B")
	p.tick(watchFor / 2)
	before := p.s
	for _, c := range []struct {
		user UserID
		want []UserID
	}{{"A", []UserID{"A"}}, {"A", []UserID{"A"}}, {"B", nil}, {"E", nil}} {
		if events, err := p.step(Command{Op: OpRewatch, User: c.user}); err != nil || !slices.Equal(asked(events), c.want) {
			t.Errorf("rewatch %s: %v, %v", c.user, events, err)
		}
	}
	if p.s.Revision != before.Revision || p.s.Version != before.Version || p.s.Seq != before.Seq {
		t.Errorf("it is a change: %+v", p.s)
	}
	if got := asked(p.tick(watchFor - 1)); len(got) > 0 {
		t.Errorf("asked again at once: %v", got)
	}
	if got := asked(p.tick(1)); !slices.Equal(got, []UserID{"A"}) {
		t.Errorf("asked when it is due: %v", got)
	}
	_, _ = p.do(OpAccept, "B1")
	if events, _ := p.step(Command{Op: OpRewatch, User: "A"}); len(asked(events)) > 0 {
		t.Errorf("asked after an accept: %v", events)
	}
}
