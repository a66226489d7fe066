package call

import (
	"testing"
	"time"
)

// The instants that answers carry (SPEC 1, Results), the first time and on a retry.
func TestAnswersCarryTheirTimes(t *testing.T) {
	p := newPlay(Advanced)
	created := At(p.now)
	must(p, OpInvite, "A1", "B")
	at := func(after time.Duration) Millis { return created.add(after) }
	for i, step := range []struct {
		op   Op
		d    DeviceID
		want Times
	}{
		{OpAccept, "B1", Times{Created: created, Accepted: at(time.Second)}},
		{OpJoin, "B2", Times{Created: created, Accepted: at(time.Second), Joined: at(2 * time.Second)}},
		{OpQuit, "B2", Times{Created: created, Accepted: at(time.Second), Quit: at(3 * time.Second)}},
		{OpJoin, "B2", Times{Created: created, Accepted: at(4 * time.Second), Joined: at(4 * time.Second)}},
		{OpJoin, "B2", Times{}}, // refused: it is the main device
		{OpEnd, "A1", Times{Created: created, Accepted: created, Ended: at(6 * time.Second)}},
	} {
		p.tick(time.Second)
		c := p.command(step.op, step.d)
		for _, attempt := range []string{"first", "retry"} {
			events, _ := p.step(c)
			p.acknowledge(events)
			if o, found := p.s.Outcome(c.User, c.Command); !found || o.Times != step.want {
				t.Errorf("%d: %s by %s, %s: %+v, want %+v", i, step.op, step.d, attempt, o.Times, step.want)
			}
			p.now = p.now.Add(time.Millisecond)
		}
		p.now = p.now.Add(-2 * time.Millisecond)
	}
}

// Watching costs one question per ten seconds, and only while something hangs on it.
func TestWhoIsWatched(t *testing.T) {
	p := newPlay(Advanced)
	watched := func() []UserID {
		events, _ := p.step(Command{Op: OpTick})
		var out []UserID
		for _, e := range events {
			if e.Kind == EventWatch {
				out = append(out, e.To)
			}
		}
		return out
	}
	_, _ = p.step(p.command(OpInvite, "A1", "B"))
	if got := watched(); len(got) != 0 || !p.s.Watches("A") || p.s.Watches("B") || p.s.Watches("Z") {
		t.Errorf("asked again at once: %v; watches A %v, B %v", got, p.s.Watches("A"), p.s.Watches("B"))
	}
	p.now = p.now.Add(watchFor)
	if got := watched(); len(got) != 1 || got[0] != "A" {
		t.Errorf("after %v the session of %v is asked, want A", watchFor, got)
	}
	must(p, OpAccept, "B1")
	p.now = p.now.Add(watchFor)
	if got := watched(); len(got) != 0 || p.s.Watches("A") {
		t.Errorf("after the accept %v is watched", got)
	}
}

// A call is quiet when only users' commands and far deadlines can move it.
func TestQuiet(t *testing.T) {
	p := newPlay(Advanced)
	must(p, OpInvite, "A1", "B")
	if p.s.Quiet() {
		t.Error("quiet while B is pending")
	}
	events, _ := p.step(p.command(OpAccept, "B1"))
	if p.s.Quiet() {
		t.Error("quiet while the accept is not acknowledged")
	}
	p.acknowledge(events)
	if !p.s.Quiet() || !p.s.Deadline().Equal(start.Add(24*time.Hour)) {
		t.Errorf("quiet %v, deadline %v; want quiet until the longest duration", p.s.Quiet(), p.s.Deadline())
	}
}
