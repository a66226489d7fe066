package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"carillon/transport/wire"
)

// deed is what moves a call on.
type deed uint8

// The deeds: the operations, the login and the look into the list of a visitor, and the time-out, which is the server's.
const (
	invite deed = iota
	accept
	reject
	cancel
	add // callingInvite
	join
	quit
	end
	login
	list
	expire
	deeds
)

var deedNames = [deeds]string{
	"invite", "accept", "reject", "cancel", "callingInvite", "join", "quit", "end", "log in", "list", "time-out",
}

func (d deed) String() string { return deedNames[d] }

// invites reports whether the deed makes devices ring that are there.
func (d deed) invites() bool { return d == invite || d == add }

// answers reports whether the deed waits for the invitees to have heard the ring for a while.
func (d deed) answers() bool { return d == accept || d == reject || d == cancel }

// step is facts that a device hears in any order.
type step []fact

// stage is one deed and all that follows from it: what each device hears, step by step. The next stage begins when all have
// heard all of it.
type stage struct {
	do    deed
	by    device
	who   []role // whom it invites
	hears [maxDevices][]step

	// How the call is after it.
	version uint64
	after   states
	over    bool
	listens [maxDevices]bool // who hears of what changes
}

// rings reports whether a device rings in the stage.
func (g *stage) rings() bool {
	for _, steps := range g.hears {
		for _, facts := range steps {
			if slices.ContainsFunc(facts, func(f fact) bool { return f.kind == received }) {
				return true
			}
		}
	}
	return false
}

// story is what must happen in one kind of call, to the last event.
type story struct {
	name   string
	mode   wire.CallMode
	cast   int
	visits [maxCast]bool // who is a user of this call only, offline until one of his devices logs in
	stages []stage

	// How the call is told of when it is over.
	version uint64
	last    states
	reason  wire.Reason

	// detours are what becomes of it when time runs out after a stage, for those who are pending; nil: nobody is.
	detours []*story
}

// visitors are the devices that log in for the call.
func (s *story) visitors() (n int) {
	for _, g := range s.stages {
		if g.do == login {
			n++
		}
	}
	return n
}

// pause is how long a stage waits, after the last ring if there was one, or else after the stage before it.
func (s *story) pause(n int, t timing) (wait time.Duration, afterRing bool) {
	begun := slices.ContainsFunc(s.stages[:n], func(g stage) bool { return g.do == invite })
	switch do := s.stages[n].do; {
	case !begun:
		return 0, false
	case do == expire:
		return t.timeout, true
	case do == login:
		return t.ring, false
	case do.answers() && s.stages[n-1].rings():
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
	fmt.Fprintf(&b, "%s (%s)", s.name, short(s.mode.String(), "CALL_MODE_"))
	for r, visits := range s.visits {
		if visits {
			fmt.Fprintf(&b, ", %v is offline", role(r))
		}
	}
	b.WriteByte('\n')
	for _, g := range s.stages {
		fmt.Fprintf(&b, "  %v: %v", g.by, g.do)
		for _, r := range g.who {
			fmt.Fprint(&b, " ", r)
		}
		b.WriteByte('\n')
		for d, steps := range g.hears {
			for _, facts := range steps {
				for i, f := range facts {
					mark := " "
					if i > 0 {
						mark = "&"
					}
					fmt.Fprintf(&b, "    %-2v%s %v\n", device(d), mark, f)
				}
			}
		}
	}
	return b.String()
}
