package call

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// An owner who uses memory again sees what one sees who does not, also when a write fails and the step is forgotten, or
// when he takes the call from the store.
func TestScratchIsNotSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlay(t)
		events, _ := p.step(drawInvite(t, p))
		p.acknowledge(events)
		mine, scratch := p.s.clone(), &Scratch{}
		for range rapid.IntRange(1, most).Draw(t, "commands") {
			drawPause(t, p)
			c := drawLikely(t, p)
			want, wantEvents, wantErr := Step(p.s, c, p.now)
			got, gotEvents, gotErr := scratch.Step(mine, c, p.now)
			if !reflect.DeepEqual(got, want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("%s with scratch gives\n%+v, %v\nexpected\n%+v, %v", c.Op, got, gotErr, want, wantErr)
			}
			if len(gotEvents) != len(wantEvents) || len(wantEvents) > 0 && !reflect.DeepEqual(gotEvents, wantEvents) {
				t.Fatalf("%s with scratch tells\n%+v\nexpected\n%+v", c.Op, gotEvents, wantEvents)
			}
			if !reflect.DeepEqual(mine, p.s) {
				t.Fatalf("%s with scratch has changed the state that it was given", c.Op)
			}
			if rapid.Bool().Draw(t, "told") {
				scratch.Lend(scratch.Return())
			}
			switch rapid.SampledFrom([]string{"saved", "saved", "not saved", "loaded"}).Draw(t, "then") {
			case "saved":
				p.s, mine = want, got
			case "loaded":
				p.s = want
				mine = want.clone()
			}
		}
	})
}
