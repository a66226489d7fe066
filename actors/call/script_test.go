package call

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScripts plays testdata/*.txt. A line "= name" begins a scenario with no call and no device; "> …" does something;
// the lines below it are what each device hears, in order, the answer last, and how the call stands. Devices that were
// connected and heard nothing are listed as silent. -update rewrites these lines.
//
//	> advanced check timeout=20s alone=10s lease=20s max=1h users=4 invited-only   the next call's mode and options
//	> login A1 A2           devices connect: the sync, and the ringing of what is pending
//	> drop A1               a connection breaks; within the grace the user is not offline
//	> offline A             the session says so: no device is left
//	> A1 invite B C "data"  also cancel, accept, reject, add (for=10s), join, quit, end, receipt
//	> A1 again              the last command once more; "A1 again quit" with other content
//	> wait 5s               time passes and every deadline is met on time
//	> late 5s               time passes and the timer comes only then
//	> sleep 5s              time passes and the timer does not come at all
//	> stop                  the server ends the call
//	> lose, heal            what is told does not arrive any more; it does again
//	> crash                 the owner forgets what was not saved
//	> move                  the call goes to another owner, who goes on from what is stored
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, f, replay(string(text)))
		})
	}
}

// replay gives a script back with what each command came to below it.
func replay(text string) []byte {
	var out bytes.Buffer
	s := newStage()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "= "):
			s = newStage()
		case strings.HasPrefix(line, "> "):
			out.WriteString(line + "\n")
			out.WriteString(s.run(strings.Fields(line[2:])))
			continue
		case line != "" && line[0] != '#':
			continue
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes()
}

// stage is one call and the devices around it.
type stage struct {
	*play
	saved   State               // as the store has it
	devices []DeviceID          // connected
	seen    map[DeviceID]uint64 // the call's version that a device knows
	heard   map[DeviceID][]string
	last    map[DeviceID]Command
	lost    bool
}

func newStage() *stage {
	return &stage{play: newPlay(Common), seen: map[DeviceID]uint64{}, last: map[DeviceID]Command{}}
}

func (s *stage) run(words []string) string {
	s.heard = map[DeviceID][]string{}
	switch verb, rest := words[0], words[1:]; verb {
	case "common", "advanced":
		s.configure(words)
		return ""
	case "login":
		for _, d := range rest {
			s.login(DeviceID(d))
		}
		if s.s.Version == 0 {
			return ""
		}
	case "drop":
		s.disconnect(func(d DeviceID) bool { return slices.Contains(rest, string(d)) })
		return ""
	case "offline":
		s.disconnect(func(d DeviceID) bool { return string(owner(d)) == rest[0] })
		_ = s.apply(Command{Op: OpOffline, User: UserID(rest[0])})
	case "wait":
		s.wait(duration(rest[0]))
	case "late":
		s.now = s.now.Add(duration(rest[0]))
		_ = s.apply(Command{Op: OpTick})
	case "sleep":
		s.now = s.now.Add(duration(rest[0]))
		return ""
	case "stop":
		_ = s.apply(Command{Op: OpStop})
	case "lose", "heal":
		s.lost = verb == "lose"
		return ""
	case "crash":
		s.s = s.saved.Resume()
		_ = s.apply(Command{Op: OpTick})
	case "move":
		_ = s.apply(Command{Op: OpPark})
		s.s = s.saved.Resume()
		_ = s.apply(Command{Op: OpTick})
	default:
		s.act(DeviceID(verb), rest[0], rest[1:])
	}
	return s.report()
}

func duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		panic(err)
	}
	return d
}

func (s *stage) configure(words []string) {
	s.config.Mode = map[string]Mode{"common": Common, "advanced": Advanced}[words[0]]
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "check":
			s.config.CheckReceived = true
		case "timeout":
			s.ring = duration(value)
		case "alone":
			s.config.AloneTimeout = duration(value)
		case "lease":
			s.config.Rules.MemberLease = duration(value)
		case "max":
			s.config.Rules.MaxDuration = duration(value)
		case "invited-only":
			s.config.Rules.InvitedOnly = true
		case "users":
			s.config.Rules.MaxUsers, _ = strconv.Atoi(value)
		default:
			panic("unknown option " + w)
		}
	}
}

// login connects a device. What the session does with the call's word is SPEC 5: the state, and the ringing.
func (s *stage) login(d DeviceID) {
	s.devices = append(s.devices, d)
	_ = s.apply(Command{Op: OpOnline, User: owner(d)})
	p := s.s.Find(owner(d))
	_, known := s.seen[d]
	if p == nil || (!s.s.LiveFor(p.User) && (!known || s.s.Version <= s.seen[d])) {
		return
	}
	s.hear(d, "sync["+s.standing()+"]")
	s.seen[d] = s.s.Version
	if s.s.LiveFor(p.User) && p.State.Pending() && !known {
		e := s.s.Ring(p)
		s.hear(d, fmt.Sprintf("%s %s left", e.print(&s.s), p.Remaining(s.now)))
	}
}

func (s *stage) disconnect(which func(DeviceID) bool) {
	s.devices = slices.DeleteFunc(s.devices, which)
}

var verbs = map[string]Op{
	"invite": OpInvite, "cancel": OpCancel, "accept": OpAccept, "reject": OpReject, "add": OpAdd, "join": OpJoin,
	"quit": OpQuit, "end": OpEnd, "receipt": OpReceipt,
}

func (s *stage) act(d DeviceID, verb string, words []string) {
	c := s.last[d]
	if verb == "again" {
		if len(words) > 0 {
			c.Op = verbs[words[0]]
		}
	} else {
		c = s.command(verbs[verb], d)
		for _, w := range words {
			switch {
			case w[0] == '"':
				c.ExtendedData = strings.Trim(w, `"`)
			case strings.HasPrefix(w, "for="):
				c.Timeout = duration(w[4:])
			case strings.HasPrefix(w, "unknown:"):
				c.Errors = append(c.Errors, UserError{UserID(w[8:]), NoUser})
			default:
				c.Users = append(c.Users, UserID(w))
			}
		}
	}
	s.last[d] = c
	err := s.apply(c)
	if c.Op == OpReceipt {
		return
	}
	answer := "ok"
	if err != nil {
		answer = fmt.Sprint(codeOf(err))
	}
	if o, found := s.s.Outcome(c.User, c.Command); found && len(o.Errors) > 0 {
		answer += " (" + printErrors(o.Errors) + ")"
	}
	s.hear(d, answer)
	if s.s.Find(c.User) != nil {
		s.seen[d] = s.s.Version
	}
}

// apply steps, saves and delivers; sessions acknowledge what they were told, also for users without devices.
func (s *stage) apply(c Command) error {
	before := s.s.Revision
	events, err := s.step(c)
	if s.s.Revision != before {
		s.saved = s.s
	}
	if s.lost {
		return err
	}
	for i := range events {
		e := &events[i]
		for _, d := range s.devices {
			if e.Kind != EventWatch && e.reaches(d) && e.Version >= s.seen[d] {
				s.seen[d] = e.Version
				s.hear(d, fmt.Sprintf("v%d %s", e.Version, e.print(&s.s)))
			}
		}
	}
	for _, e := range events {
		if e.Seq > 0 {
			_ = s.apply(Command{Op: OpTold, User: e.To, From: e.From, Seq: e.Seq})
		}
	}
	return err
}

func (s *stage) hear(d DeviceID, what string) { s.heard[d] = append(s.heard[d], what) }

func (s *stage) wait(d time.Duration) {
	end := s.now.Add(d)
	for at := s.s.Deadline(); !at.IsZero() && !at.After(end); at = s.s.Deadline() {
		if at.After(s.now) {
			s.now = at
		}
		_ = s.apply(Command{Op: OpTick})
	}
	s.now = end
}

func (s *stage) report() string {
	var out strings.Builder
	var silent []string
	slices.Sort(s.devices)
	for _, d := range s.devices {
		if len(s.heard[d]) == 0 {
			silent = append(silent, string(d))
			continue
		}
		fmt.Fprintf(&out, "%s: %s\n", d, strings.Join(s.heard[d], " | "))
	}
	if len(silent) > 0 {
		fmt.Fprintf(&out, "silent: %s\n", strings.Join(silent, " "))
	}
	fmt.Fprintf(&out, "call: %s\n", s.standing())
	return out.String()
}

// standing is the call in a line.
func (s *stage) standing() string {
	users := make([]string, len(s.s.Users))
	for i := range s.s.Users {
		users[i] = printUser(&s.s.Users[i])
		if m := s.s.Users[i].Main; m != "" && s.s.Users[i].State == Accepted {
			users[i] += " on " + string(m)
		}
	}
	out := fmt.Sprintf("v%d %s: %s", s.s.Version, printCall(&s.s), strings.Join(users, ", "))
	if s.s.Closed {
		out += "; closed"
	}
	return out
}
