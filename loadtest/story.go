package main

import (
	"fmt"
	"strings"
	"time"

	"carillon/transport/wire"
)

// deed is what moves a call on.
type deed uint8

// The deeds: the operations, and the time-out, which is the server's.
const (
	invite deed = iota
	accept
	reject
	cancel
	add // callingInvite
	join
	quit
	end
	expire
	deeds
)

var deedNames = [deeds]string{"invite", "accept", "reject", "cancel", "callingInvite", "join", "quit", "end", "time-out"}

func (d deed) String() string { return deedNames[d] }

// rings reports whether the deed makes somebody's device ring.
func (d deed) rings() bool { return d == invite || d == add }

// answers reports whether the deed waits for the invitees to have heard the ring for a while.
func (d deed) answers() bool { return d == accept || d == reject || d == cancel }

// step is facts that a device hears in any order.
type step []fact

// stage is one deed and all that follows from it: what each device hears, step by step. The next stage begins when all have
// heard all of it.
type stage struct {
	do    deed
	by    role
	who   []role // whom it invites
	hears [maxCast][]step
}

// story is what must happen in one kind of call, to the last event.
type story struct {
	name   string
	mode   wire.CallMode
	cast   int
	stages []stage

	// How the call is told of when it is over.
	version uint64
	last    states
	reason  wire.Reason
}

// pause is how long a stage waits, after the last ring or else after the stage before it.
func (s *story) pause(n int, t timing) (wait time.Duration, afterRing bool) {
	switch do := s.stages[n].do; {
	case do == invite:
		return 0, false
	case do == expire:
		return t.timeout, true
	case do.answers() && s.stages[n-1].do.rings():
		return t.ring, true
	default:
		return t.talk, false
	}
}

// lasts is how long a call takes with a server that takes no time.
func (s *story) lasts(t timing) (all time.Duration) {
	for n := range s.stages {
		wait, _ := s.pause(n, t)
		all += wait
	}
	return all
}

// String is the script, for people.
func (s *story) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", s.name, short(s.mode.String(), "CALL_MODE_"))
	for _, g := range s.stages {
		fmt.Fprintf(&b, "  %v: %v", g.by, g.do)
		for _, r := range g.who {
			fmt.Fprint(&b, " ", r)
		}
		b.WriteByte('\n')
		for r, steps := range g.hears {
			for _, facts := range steps {
				for i, f := range facts {
					mark := " "
					if i > 0 {
						mark = "&"
					}
					fmt.Fprintf(&b, "    %v %s %v\n", role(r), mark, f)
				}
			}
		}
	}
	return b.String()
}

// stories are the kinds of calls that a scenario can mix.
var stories = []*story{answeredStory(), rejectedStory(), cancelledStory(), timedOutStory(), groupStory()}

func storyNamed(name string) *story {
	for _, s := range stories {
		if s.name == name {
			return s
		}
	}
	return nil
}

func answeredStory() *story {
	p := newPlot("answered", wire.CallMode_CALL_MODE_COMMON)
	p.invite(roleA, roleB)
	p.move(accept, roleB)
	return p.end(wire.Reason_REASON_ALL_ANSWERED)
}

func rejectedStory() *story {
	p := newPlot("rejected", wire.CallMode_CALL_MODE_COMMON)
	p.invite(roleA, roleB)
	p.move(reject, roleB)
	return p.end(wire.Reason_REASON_REJECTED)
}

func cancelledStory() *story {
	p := newPlot("cancelled", wire.CallMode_CALL_MODE_COMMON)
	p.invite(roleA, roleB)
	p.cancel()
	return p.end(wire.Reason_REASON_CANCELLED)
}

func timedOutStory() *story {
	p := newPlot("timed-out", wire.CallMode_CALL_MODE_COMMON)
	p.invite(roleA, roleB)
	p.expire()
	return p.end(wire.Reason_REASON_NO_ANSWER)
}

// groupStory: B takes the call, C does not; B brings D, E comes by himself, B leaves, and A ends it for all.
func groupStory() *story {
	p := newPlot("group", wire.CallMode_CALL_MODE_ADVANCED)
	p.invite(roleA, roleB, roleC)
	p.move(accept, roleB)
	p.move(reject, roleC)
	p.invite(roleB, roleD)
	p.move(accept, roleD)
	p.move(join, roleE)
	p.move(quit, roleB)
	p.endForAll(roleA)
	return p.end(wire.Reason_REASON_ENDED_BY_USER)
}
