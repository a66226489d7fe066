package session

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carillon/actors/call"
)

var testStart = time.UnixMilli(1_700_000_000_000)

// stage is one session and its clock, driven by the words of a script.
//
//	login d1 c1 1 2*7       device d1 on connection c1; calls 1 and 2 must be asked, 2 was named with version 7
//	word 1 c1 seq=3 S R     call 1 says its word for c1: snapshot S, ring R ("-" for none)
//	seen c1, broken c1, logout c1
//	tell 1 0..3 all:x only-d1:y not-d1:z answer-c1:w   frames are words; "x*5000" is x, 5000 times
//	watch 1 online, heard 1 offline, heard 1 online done
//	wait 5s                 time passes and every deadline is met on time; effects carry the time they came after
//	late 5s                 time passes, and only then is there a tick
//	sleep 5s                time passes and nobody says so
//	state                   who is there, and when the session next changes by itself
type stage struct {
	t    testing.TB
	s    *State
	now  time.Time
	rule Rules
}

func newStage(t testing.TB) *stage {
	r := Rules{Node: "n", MaxDevices: 2, HeartbeatTimeout: 35 * time.Second}
	return &stage{t: t, s: New(r, testStart), now: testStart, rule: r}
}

// replay gives a script back with what each line came to below it.
func replay(t testing.TB, text string) string {
	s := newStage(t)
	var out strings.Builder
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "> ")
		if !ok {
			continue
		}
		fmt.Fprintf(&out, "> %s\n", command)
		for _, e := range s.run(strings.Fields(command)) {
			fmt.Fprintf(&out, "  %s\n", e)
		}
	}
	return out.String()
}

func (s *stage) run(words []string) []string {
	switch words[0] {
	case "wait":
		return s.wait(s.duration(words[1]))
	case "late":
		s.now = s.now.Add(s.duration(words[1]))
		return show(s.s.Step(Tick{}, s.now))
	case "sleep":
		s.now = s.now.Add(s.duration(words[1]))
		return nil
	case "state":
		return []string{s.state()}
	}
	return show(s.s.Step(s.message(words), s.now))
}

// wait lets time pass as an owner with punctual timers sees it.
func (s *stage) wait(d time.Duration) []string {
	var out []string
	from, until := s.now, s.now.Add(d)
	for {
		next := s.s.Deadline()
		if next.IsZero() || next.After(until) {
			s.now = until
			return out
		}
		if next.Before(s.now) {
			s.t.Fatalf("the deadline is %v in the past", s.now.Sub(next))
		}
		s.now = next
		for _, e := range show(s.s.Step(Tick{}, s.now)) {
			out = append(out, fmt.Sprintf("+%v %s", s.now.Sub(from), e))
		}
		if again := s.s.Deadline(); !again.IsZero() && !again.After(s.now) {
			s.t.Fatalf("after a step at its deadline the next one is %v later", again.Sub(s.now))
		}
	}
}

func (s *stage) state() string {
	there := "offline"
	if s.s.Online(s.now) {
		there = "online"
	}
	next := "nothing to come"
	if d := s.s.Deadline(); !d.IsZero() {
		next = "next in " + d.Sub(s.now).String()
	}
	idle := ""
	if s.s.Idle() {
		idle = ", idle"
	}
	return fmt.Sprintf("%s, %d connected, %s%s", there, s.s.Connected(), next, idle)
}

func (s *stage) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *stage) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func conn(name string) Conn {
	n, _ := strconv.ParseUint(strings.TrimPrefix(name, "c"), 10, 64)
	return Conn{Node: "n", ID: n}
}

func (s *stage) message(words []string) any {
	switch arg := words[1:]; words[0] {
	case "login":
		return s.login(arg)
	case "word":
		return Synced{
			Call: call.ID(s.number(arg[0])), Conn: conn(arg[1]), Seq: s.number(strings.TrimPrefix(arg[2], "seq=")),
			Snapshot: frames(arg[3]), Ring: frames(arg[4]),
		}
	case "seen":
		return Seen{Conn: conn(arg[0])}
	case "broken":
		return Broken{conn(arg[0])}
	case "logout":
		return Logout{Conn: conn(arg[0]), Request: 9}
	case "tell":
		return s.tell(arg)
	case "watch":
		return Watch{Call: call.ID(s.number(arg[0])), Offline: arg[1] == "offline"}
	case "heard":
		return Heard{Call: call.ID(s.number(arg[0])), Offline: arg[1] == "offline", Done: slices.Contains(arg, "done")}
	}
	s.t.Fatalf("unknown command %q", words)
	return nil
}

func (s *stage) login(arg []string) Login {
	l := Login{Device: call.DeviceID(arg[0]), Conn: conn(arg[1]), Request: 1}
	for _, c := range arg[2:] {
		id, version, named := strings.Cut(c, "*")
		l.Calls = append(l.Calls, call.ID(s.number(id)))
		if named {
			l.Known, l.Versions = append(l.Known, call.ID(s.number(id))), append(l.Versions, s.number(version))
		}
	}
	return l
}

func (s *stage) tell(arg []string) Tell {
	from, to, _ := strings.Cut(arg[1], "..")
	m := Tell{Call: call.ID(s.number(arg[0])), Epoch: 5, From: s.number(from), Seq: s.number(to)}
	for _, item := range arg[2:] {
		whom, what, _ := strings.Cut(item, ":")
		kind, device, _ := strings.Cut(whom, "-")
		it := Item{Device: call.DeviceID(device), Frame: frames(what)}
		switch kind {
		case "all":
			it.Devices = call.AllDevices
		case "only":
			it.Devices = call.OnlyDevice
		case "not":
			it.Devices = call.OtherThan
		case "answer":
			m.AnswerTo, m.Answer = conn(device), it.Frame
			continue
		default:
			s.t.Fatalf("unknown audience %q", whom)
		}
		m.Items = append(m.Items, it)
	}
	return m
}

func frames(text string) []byte {
	if text == "-" {
		return nil
	}
	what, times, many := strings.Cut(text, "*")
	if !many {
		return []byte(what + ";")
	}
	n, _ := strconv.Atoi(times)
	return []byte(strings.Repeat(what, n) + ";")
}

func brief(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%d bytes", len(b))
	}
	return string(b)
}

// show says in words what must happen.
func show(effects []Effect) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, e := range effects {
		switch e := e.(type) {
		case Deliver:
			say("c%d hears %s%s", e.Conn.ID, brief(e.Frames), map[int]string{1: " answered"}[e.Answers])
		case Welcome:
			say("c%d is welcome%s", e.Login.Conn.ID, welcome(e))
		case Bye:
			say("c%d logged out", e.Conn.ID)
		case Kick:
			say("c%d kicked out by %s", e.Conn.ID, e.By)
		case Hang:
			say("c%d hung up, %s", e.Conn.ID, map[bool]string{true: "silent", false: "overflow"}[e.Silent])
		case Recall:
			say("c%d recalled", e.Conn.ID)
		case Ask:
			say("call %s: word for c%d?", e.Call, e.Login.Conn.ID)
		case Ack:
			say("call %s: ack %d..%d", e.Call, e.From, e.Seq)
		case Presence:
			say("call %s: %s", e.Call, map[bool]string{true: "online", false: "offline"}[e.Online])
		}
	}
	return out
}

func welcome(e Welcome) string {
	out := ""
	for _, s := range e.Synced {
		out += fmt.Sprintf(", %s[%s%s]", s.Call, brief(s.Snapshot), brief(s.Ring))
	}
	for _, id := range e.Missing {
		out += fmt.Sprintf(", %s missing", id)
	}
	for _, h := range e.Held {
		out += ", held " + brief(h.Frames)
	}
	return out
}
