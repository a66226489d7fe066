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
//	seen c1, broken c1, logout c1; x1 is a connection of another node
//	seen x1 3, silent x1 3  it has got the deliveries up to 3; a silent one is no sign of life
//	tell 1 0..3 v=7 all:x only-d1:y not-d1:z answer-c1:w   frames are words; "x*5000" is x, 5000 times; e=6 is another
//	                        life of the call's owner, ring-7:x the invitation of change 7
//	watch 1 online, heard 1 offline, heard 1 online done
//	leave n                 the session goes to node n, which goes on with all that it was handed
//	handover d1=c1,5s,3/2 d2=-,5s w1=offline v1=7 fresh=10s   what another owner knew: d1 was last heard 5 s ago and has
//	                        got 2 of 3 deliveries, d2 is in grace; calls that watch; versions that calls have told
//	doubt                   another node may have used the session, too
//	wait 5s                 time passes and every deadline is met on time; effects carry the time they came after
//	late 5s                 time passes, and only then is there a tick
//	sleep 5s                time passes and nobody says so
//	state                   who is there, and when the session next changes by itself
type stage struct {
	t    testing.TB
	s    *State
	now  time.Time
	rule Rules
	sent map[Conn]uint64 // number of the last delivery
}

func newStage(t testing.TB) *stage {
	r := Rules{Node: "n", MaxDevices: 2, HeartbeatTimeout: 35 * time.Second}
	return &stage{t: t, s: New(r, testStart), now: testStart, rule: r, sent: map[Conn]uint64{}}
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
		return s.step(Tick{})
	case "sleep":
		s.now = s.now.Add(s.duration(words[1]))
		return nil
	case "state":
		return []string{s.state()}
	case "leave":
		return s.leave(words[1])
	}
	return s.step(s.message(words))
}

// step plays a message. Whatever it comes to, each connection's deliveries are numbered from 1 on without a gap.
func (s *stage) step(msg any) []string {
	effects := s.s.Step(msg, s.now)
	for _, e := range effects {
		var conn Conn
		var number uint64
		switch e := e.(type) {
		case Deliver:
			conn, number = e.Conn, e.Number
		case Welcome:
			conn, number = e.Login.Conn, e.Number
		default:
			continue
		}
		if s.sent[conn]++; number != s.sent[conn] {
			s.t.Errorf("delivery %d to %s is numbered %d", s.sent[conn], called(conn), number)
		}
	}
	return show(effects)
}

// leave hands the session over to a node, as its actor does.
func (s *stage) leave(node string) []string {
	handed, logins := s.s.Leave()
	s.rule.Node = node
	s.s = New(s.rule, s.now)
	out := s.step(handed)
	for _, l := range logins {
		out = append(out, s.step(l)...)
	}
	return out
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
		for _, e := range s.step(Tick{}) {
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
	if name == "-" {
		return Conn{}
	}
	n, _ := strconv.ParseUint(name[1:], 10, 64)
	return Conn{Node: map[byte]string{'c': "n", 'x': "m"}[name[0]], ID: n}
}

// called is conn the other way round.
func called(c Conn) string {
	return map[string]string{"n": "c", "m": "x"}[c.Node] + strconv.FormatUint(c.ID, 10)
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
	case "seen", "silent":
		m := Seen{Conn: conn(arg[0]), Silent: words[0] == "silent"}
		switch {
		case len(arg) > 2: // some time ago
			m.At = s.now.Add(-s.duration(arg[2]))
			fallthrough
		case len(arg) > 1:
			m.Heard = s.number(arg[1])
		}
		return m
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
	case "handover":
		return s.handover(arg)
	case "doubt":
		return Doubt{}
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

func (s *stage) handover(arg []string) Handover {
	var h Handover
	for _, word := range arg {
		key, value, _ := strings.Cut(word, "=")
		switch key[0] {
		case 'f':
			h.Fresh = call.At(s.now.Add(s.duration(value)))
		case 'w':
			h.Watchers = append(h.Watchers, Watching{
				Call: call.ID(s.number(key[1:])), Offline: value == "offline", Until: call.At(s.now.Add(watchLease)),
			})
		case 'v':
			h.Latest = append(h.Latest, Version{Call: call.ID(s.number(key[1:])), Version: s.number(value)})
		default:
			parts := append(strings.Split(value, ","), "0/0")
			sent, heard, _ := strings.Cut(parts[2], "/")
			d := Handed{
				Device: call.DeviceID(key), Conn: conn(parts[0]), Seen: call.At(s.now.Add(-s.duration(parts[1]))),
				Sent: s.number(sent), Heard: s.number(heard),
			}
			s.sent[d.Conn] = d.Sent
			h.Devices = append(h.Devices, d)
		}
	}
	return h
}

func (s *stage) tell(arg []string) Tell {
	from, to, _ := strings.Cut(arg[1], "..")
	m := Tell{Call: call.ID(s.number(arg[0])), Epoch: 5, From: s.number(from), Seq: s.number(to)}
	for _, item := range arg[2:] {
		if key, value, ok := strings.Cut(item, "="); ok {
			*map[string]*uint64{"v": &m.Version, "e": &m.Epoch}[key] = s.number(value)
			continue
		}
		whom, what, _ := strings.Cut(item, ":")
		kind, device, _ := strings.Cut(whom, "-")
		it := Item{Device: call.DeviceID(device), Frame: frames(what)}
		switch kind {
		case "all":
			it.Devices = call.AllDevices
		case "ring":
			it.Devices, it.Ring = call.AllDevices, s.number(device)
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
			say("%s hears %s%s", called(e.Conn), brief(e.Frames), map[int]string{1: " answered"}[e.Answers])
		case Welcome:
			say("%s is welcome%s", called(e.Login.Conn), welcome(e))
		case Bye:
			say("%s logged out", called(e.Conn))
		case Kick:
			say("%s kicked out by %s", called(e.Conn), e.By)
		case Hang:
			say("%s hung up, %s", called(e.Conn), map[bool]string{true: "silent", false: "overflow"}[e.Silent])
		case Recall:
			say("%s recalled", called(e.Conn))
		case Audit:
			say("%s asked whether it has got %d", called(e.Conn), e.Number)
		case Ask:
			say("call %s: word for %s?", e.Call, called(e.Login.Conn))
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
