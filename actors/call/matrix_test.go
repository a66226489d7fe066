package call

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files and the expectations of the scripts")

// stand is a user state, and how a call gets there with X (or A, the caller) in it.
type stand struct {
	name  string
	actor DeviceID
	reach func(*play)
	// acts are the commands tried; nil = all of them.
	acts []act
	// common and open say where the stand can be reached at all.
	common, open bool
}

// act is one thing done in a stand.
type act struct {
	name string
	do   func(*play, DeviceID) ([]Event, error)
}

func by(op Op, users ...UserID) func(*play, DeviceID) ([]Event, error) {
	return func(p *play, d DeviceID) ([]Event, error) { return p.step(p.command(op, d, users...)) }
}

func owners(op Op) func(*play, DeviceID) ([]Event, error) {
	return func(p *play, d DeviceID) ([]Event, error) {
		return p.step(Command{Op: op, User: owner(d), Device: d})
	}
}

// until ticks once at the next instant at which f changes the call, however late.
func until(f func(*State, *Participant) Millis) func(*play, DeviceID) ([]Event, error) {
	return func(p *play, _ DeviceID) ([]Event, error) {
		var at Millis
		for i := range p.s.Users {
			at = earlier(at, f(&p.s, &p.s.Users[i]))
		}
		if at == 0 || p.s.Closed {
			return nil, errNever
		}
		p.now = at.Time()
		return p.step(Command{Op: OpTick})
	}
}

var errNever = errors.New("never")

// everything is the operations, then what the owner does by itself. E never took part, B is pending, A is the caller,
// F rejected.
var everything = []act{
	{"callInvite", by(OpInvite, "B")},
	{"callAccept", by(OpAccept)},
	{"callReject", by(OpReject)},
	{"callCancel", by(OpCancel)},
	{"callCancel B", by(OpCancel, "B")},
	{"callCancel E", by(OpCancel, "E")},
	{"callCancel A B F", by(OpCancel, "A", "B", "F")},
	{"callingInvite E", by(OpAdd, "E")},
	{"callingInvite B", by(OpAdd, "B")},
	{"callingInvite A", by(OpAdd, "A")},
	{"callingInvite F", by(OpAdd, "F")},
	{"callingInvite E B F", by(OpAdd, "E", "B", "F")},
	{"callJoin", by(OpJoin)},
	{"callQuit", by(OpQuit)},
	{"callEnd", by(OpEnd)},
	{"(receipt)", owners(OpReceipt)},
	{"(offline)", owners(OpOffline)},
	{"(online)", owners(OpOnline)},
	{"(stop)", owners(OpStop)},
	{"(park)", owners(OpPark)},
	{"(rewatch)", owners(OpRewatch)},
	{"(tick: receipt check)", until((*State).notReceivedAt)},
	{"(tick: invitation)", until(func(s *State, p *Participant) Millis {
		if !s.Open() {
			return 0
		}
		return p.Deadline
	})},
	{"(tick: max duration)", until(func(s *State, _ *Participant) Millis {
		if !s.Open() {
			return 0
		}
		return s.Created.add(s.Rules.MaxDuration)
	})},
	{"(tick: linger)", until(func(s *State, _ *Participant) Millis {
		if s.Open() {
			return 0
		}
		return s.lingerEnd()
	})},
}

// cancels are the commands of one who invited D.
var cancels = []act{
	{"callCancel", by(OpCancel)},
	{"callCancel D", by(OpCancel, "D")},
	{"callCancel B", by(OpCancel, "B")},
	{"callCancel B D", by(OpCancel, "B", "D")},
	{"callCancel A", by(OpCancel, "A")},
}

func must(p *play, op Op, d DeviceID, users ...UserID) {
	if _, err := p.do(op, d, users...); err != nil {
		panic(fmt.Sprintf("%s by %s: %v", op, d, err))
	}
}

// base is A's call with X, B pending and F, who rejected.
func base(p *play) {
	must(p, OpInvite, "A1", "X", "B", "F")
	must(p, OpReject, "F1")
}

// invited is base with X a member who invited D and left, invited again by A for ten seconds.
func invited(p *play) {
	base(p)
	must(p, OpAccept, "X1")
	must(p, OpAdd, "X1", "D")
	must(p, OpQuit, "X1")
	again := p.command(OpAdd, "A1", "X")
	again.Timeout = 10 * time.Second
	events, _ := p.step(again)
	p.acknowledge(events)
}

func then(first func(*play), more ...func(*play)) func(*play) {
	return func(p *play) {
		first(p)
		for _, f := range more {
			f(p)
		}
	}
}

func doing(op Op, d DeviceID, users ...UserID) func(*play) {
	return func(p *play) { must(p, op, d, users...) }
}

func waiting(d time.Duration) func(*play) { return func(p *play) { p.tick(d) } }

func acknowledged(u UserID) func(*play) {
	return func(p *play) {
		events, _ := p.step(Command{Op: OpReceipt, User: u, Device: DeviceID(u + "1")})
		p.acknowledge(events)
	}
}

// lapsed is X accepted, gone, and his lease over.
func lapsed(p *play) {
	p.config.Rules.MemberLease = 20 * time.Second
	base(p)
	must(p, OpAccept, "X1")
	_, _ = p.step(Command{Op: OpOffline, User: "X"})
	p.tick(20 * time.Second)
}

// expired is X invited for ten seconds into A's call, in common mode with everybody else.
func expired(p *play) {
	if p.config.Mode == Common {
		base(p)
		p.tick(p.ring)
		return
	}
	must(p, OpInvite, "A1", "B", "F")
	must(p, OpReject, "F1")
	c := p.command(OpAdd, "A1", "X")
	c.Timeout = 10 * time.Second
	events, _ := p.step(c)
	p.acknowledge(events)
	p.tick(10 * time.Second)
}

func outside(p *play) {
	must(p, OpInvite, "A1", "B", "F")
	must(p, OpReject, "F1")
}

var stands = []stand{
	{"Outsider", "X1", outside, nil, true, true},
	{"Inviting", "X1", base, nil, true, true},
	{"Received", "X1", then(base, acknowledged("X")), nil, true, true},
	{"NotYetReceived", "X1", then(func(p *play) { p.config.CheckReceived = true }, base, waiting(5*time.Second)), nil, true, true},
	{"Accepted, main device", "X1", then(base, doing(OpAccept, "X1")), nil, true, true},
	{"Accepted, other device", "X2", then(base, doing(OpAccept, "X1")), nil, true, true},
	{"Rejected", "X1", then(base, doing(OpReject, "X1")), nil, true, true},
	{"BeCancelled", "X1", then(base, doing(OpCancel, "A1", "X")), nil, true, true},
	{"Timeout", "X1", expired, nil, true, true},
	{"Quit", "X1", then(base, doing(OpAccept, "X1"), doing(OpQuit, "X1")), nil, false, true},
	{"Quit, lease over", "X1", lapsed, nil, true, true},
	{"caller Accepted, nobody else has", "A1", base, nil, true, true},
	{"caller Accepted, other device, nobody else has", "A2", base, nil, true, true},
	{"caller Accepted, X has too", "A1", then(base, doing(OpAccept, "X1")), nil, true, true},
	{"caller Quit, nobody has accepted", "A1", then(base, doing(OpQuit, "A1")), nil, false, true},
	{"caller Inviting again", "A1", then(base, doing(OpAccept, "X1"), doing(OpQuit, "A1"), doing(OpAdd, "X1", "A")), nil, false, true},
	{"caller Cancelled", "A1", then(base, doing(OpCancel, "A1")), nil, true, false},
	{"inviter of D, Accepted", "X1", then(base, doing(OpAccept, "X1"), doing(OpAdd, "X1", "D")), cancels, false, true},
	{"inviter of D, Accepted, other device", "X2", then(base, doing(OpAccept, "X1"), doing(OpAdd, "X1", "D")), cancels, false, true},
	{"inviter of D, Quit", "X1", then(base, doing(OpAccept, "X1"), doing(OpAdd, "X1", "D"), doing(OpQuit, "X1")), cancels, false, true},
	{"inviter of D, Inviting", "X1", invited, cancels, false, true},
	{"inviter of D, Received", "X1", then(invited, acknowledged("X")), cancels, false, true},
	{"inviter of D, Rejected", "X1", then(invited, doing(OpReject, "X1")), cancels, false, true},
	{"inviter of D, BeCancelled", "X1", then(invited, doing(OpCancel, "A1", "X")), cancels, false, true},
	{"inviter of D, Timeout", "X1", then(invited, waiting(10*time.Second)), cancels, false, true},
}

// TestMatrix holds every user state against every operation, in both modes, the call open and ended.
func TestMatrix(t *testing.T) {
	var out bytes.Buffer
	out.WriteString("# Every user state x every operation (SPEC 1 to 3). Written by: go test ./actors/call -run Matrix -update\n" +
		"# A is the caller; B is pending, F has rejected, E never took part; the acting device is in the heading.\n" +
		"# An entry: refusal code, or the actor's state afterwards (= when it stays), the call where it has ended, the version's growth; errorUsers;\n" +
		"# then who hears what, in order: \"X\" all devices of X, \"X1\" that one, \"X~X1\" all but that one.\n")
	for _, mode := range []Mode{Common, Advanced} {
		for _, open := range []bool{true, false} {
			printStands(&out, mode, open)
		}
	}
	golden(t, "testdata/matrix.golden", out.Bytes())
}

// printStands prints each stand; those in which everything comes to the same share their body.
func printStands(out *bytes.Buffer, mode Mode, open bool) {
	var bodies []string
	heads := map[string][]string{}
	for _, s := range stands {
		if (mode == Common && !s.common) || (open && !s.open) {
			continue
		}
		head, body := s.print(mode, open)
		if !slices.Contains(bodies, body) {
			bodies = append(bodies, body)
		}
		heads[body] = append(heads[body], head)
	}
	for _, b := range bodies {
		fmt.Fprintf(out, "\n%s%s", strings.Join(heads[b], ""), b)
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s:%d\n got: %s\nwant: %s\nrewrite with -update, and read the difference", path, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s has %d lines, got %d", path, len(w), len(g))
}

// print tries every act, each on a call of its own; acts that come to the same share a line.
func (s *stand) print(mode Mode, open bool) (head, body string) {
	p := s.in(mode, open)
	phase := "open"
	if !p.s.Open() {
		phase = printCall(&p.s)
	}
	if open && !p.s.Open() {
		return fmt.Sprintf("== %s, open: %s\n", mode, s.name), "cannot be: the call is " + phase + "\n"
	}
	users := make([]string, len(p.s.Users))
	for i := range p.s.Users {
		users[i] = printUser(&p.s.Users[i])
	}
	head = fmt.Sprintf("== %s, %s: %s, by %s  (%s)\n", mode, phase, s.name, s.actor, strings.Join(users, ", "))
	acts := s.acts
	if acts == nil {
		acts = everything
	}
	var results []string
	names := map[string][]string{}
	for _, a := range acts {
		r := s.try(a, mode, open)
		if r == "" {
			continue
		}
		if !slices.Contains(results, r) {
			results = append(results, r)
		}
		names[r] = append(names[r], a.name)
	}
	for _, r := range results {
		body += fmt.Sprintf("%s\n    %s\n", strings.Join(names[r], ", "), r)
	}
	return head, body
}

func (s *stand) in(mode Mode, open bool) *play {
	p := newPlay(mode)
	s.reach(p)
	if !open {
		events, _ := p.step(Command{Op: OpStop})
		if len(events) > 0 { // leave one tell open, so that the call lingers
			p.acknowledge(events[:len(events)-1])
		}
	}
	return p
}

// try is what an act comes to; empty where it cannot happen.
func (s *stand) try(a act, mode Mode, open bool) string {
	p := s.in(mode, open)
	before := p.s
	events, err := a.do(p, s.actor)
	if errors.Is(err, errNever) {
		return ""
	}
	var out []string
	var r *Refusal
	if errors.As(err, &r) {
		out = append(out, fmt.Sprint(r.Code))
		if len(r.Errors) > 0 {
			out = append(out, "errorUsers "+printErrors(r.Errors))
		}
	} else {
		state := p.s.StateOf(owner(s.actor)).String()
		if p.s.StateOf(owner(s.actor)) == before.StateOf(owner(s.actor)) {
			state = "="
		}
		out = append(out, state)
		if o, found := p.s.Outcome(owner(s.actor), lastCommand(p)); found && len(o.Errors) > 0 {
			out = append(out, "errorUsers "+printErrors(o.Errors))
		}
	}
	if before.Open() && !p.s.Open() {
		out = append(out, printCall(&p.s))
	}
	if d := p.s.Version - before.Version; d != 0 {
		out = append(out, fmt.Sprintf("+%d", d))
	}
	if p.s.Closed != before.Closed {
		out = append(out, "closed")
	}
	for _, e := range awake(events) {
		out = append(out, e.printAudience()+": "+e.print(&p.s))
	}
	return strings.Join(out, " | ")
}

// lastCommand is the ID of the command that the play gave out last.
func lastCommand(p *play) CommandID {
	p.ids--
	return p.command(OpAccept, "A1").Command
}
