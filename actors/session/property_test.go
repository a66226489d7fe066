package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carillon/actors/call"
)

// twin watches a session from outside and knows only what a network would show: who logged in, what was said to whom.
type twin struct {
	t      *rapid.T
	s      *State
	rules  Rules
	now    time.Time
	conns  []*twinConn
	calls  map[call.ID]*twinCall
	serial uint64 // of connections and frames
	fresh  time.Time
}

type twinConn struct {
	conn    Conn
	device  call.DeviceID
	open    bool // until it is kicked out, hung up, logged out or broken
	welcome bool
	since   time.Time          // it logged in
	asked   []call.ID          // by its login, no word yet
	told    map[call.ID]uint64 // while it was asked: an older word comes too late
	got     []string           // frames
	sent    uint64             // deliveries
	heard   uint64             // of them, as the session knows
	audited time.Time
}

// waits reports whether a word of the call can still go into the answer to the connection's login.
func (c *twinConn) waits(id call.ID, now time.Time) bool {
	return c.open && !c.welcome && slices.Contains(c.asked, id) && now.Sub(c.since) < syncWait
}

// twinCall is a call as its own actor sees it.
type twinCall struct {
	seq     uint64
	watches time.Time // it last asked
	offline bool      // what it believes
	told    bool      // a word of presence has not been heard yet
}

func newTwin(t *rapid.T) *twin {
	w := &twin{
		t: t, now: testStart, calls: map[call.ID]*twinCall{},
		rules: Rules{Node: "n", MaxDevices: rapid.IntRange(1, 3).Draw(t, "max"), HeartbeatTimeout: 35 * time.Second},
	}
	w.s = New(w.rules, w.now)
	w.fresh = w.now.Add(w.rules.HeartbeatTimeout)
	for id := call.ID(1); id <= 3; id++ {
		w.calls[id] = &twinCall{}
	}
	return w
}

func (w *twin) call() (call.ID, *twinCall) {
	id := call.ID(rapid.IntRange(1, len(w.calls)).Draw(w.t, "call"))
	return id, w.calls[id]
}

func (w *twin) pick() *twinConn {
	if len(w.conns) == 0 {
		return &twinConn{conn: Conn{Node: "n", ID: 99_999}}
	}
	recent := min(len(w.conns), 6)
	return w.conns[len(w.conns)-1-rapid.IntRange(0, recent-1).Draw(w.t, "connection")]
}

func (w *twin) find(c Conn) *twinConn {
	i := slices.IndexFunc(w.conns, func(o *twinConn) bool { return o.conn == c })
	if i < 0 {
		w.t.Fatalf("an effect for connection %v, which there never was", c)
	}
	return w.conns[i]
}

// step plays a message and holds its effects against what is known.
func (w *twin) step(msg any) []Effect {
	effects := w.s.Step(msg, w.now)
	tell, told := msg.(Tell)
	acks := 0
	for _, e := range effects {
		switch e := e.(type) {
		case Deliver:
			c := w.reached(e.Conn, "a delivery")
			if !c.welcome || !told {
				w.t.Fatalf("a delivery to %v, welcome %t, by %T", e.Conn, c.welcome, msg)
			}
			w.numbered(c, e.Number)
			w.frames(c, e.Frames)
		case Welcome:
			w.welcomed(e)
		case Kick:
			w.reached(e.Conn, "a kick").open = false
		case Hang:
			w.reached(e.Conn, "a hang-up").open = false
		case Bye:
			w.find(e.Conn).open = false
		case Recall:
			c := w.find(e.Conn)
			if _, doubt := msg.(Doubt); c.open && !doubt {
				w.t.Fatalf("connection %v is recalled although it lives", e.Conn)
			}
			c.open = false
		case Audit:
			w.audited(e)
		case Ask:
			if c := w.reached(e.Login.Conn, "a question"); !slices.Contains(c.asked, e.Call) {
				w.t.Fatalf("call %s is asked for %v although it was not to be, or has said its word", e.Call, e.Login.Conn)
			}
		case Ack:
			if acks++; !told || e != (Ack{tell.Call, tell.Epoch, tell.From, tell.Seq}) {
				w.t.Fatalf("%+v acknowledges %+v", e, msg)
			}
		case Presence:
			w.calls[e.Call].told = true
			if e.Online != w.online() {
				w.t.Fatalf("call %s is told online %t, it is %t", e.Call, e.Online, w.online())
			}
		}
	}
	if want := map[bool]int{true: 1}[told && tell.Seq > 0]; acks != want {
		w.t.Fatalf("%+v is acknowledged %d times", msg, acks)
	}
	if gone, ok := msg.(Broken); ok && len(w.conns) > 0 {
		w.find(gone.Conn).open = false
	}
	w.bounds()
	return effects
}

// reached finds a connection that must still be there.
func (w *twin) reached(c Conn, what string) *twinConn {
	found := w.find(c)
	if !found.open {
		w.t.Fatalf("%s to %v, which has ended", what, c)
	}
	return found
}

func (w *twin) welcomed(e Welcome) {
	c := w.reached(e.Login.Conn, "a welcome")
	if c.welcome {
		w.t.Fatalf("%v is welcome twice", c.conn)
	}
	if !slices.Equal(e.Missing, c.asked) {
		w.t.Fatalf("%v: missing %v, want %v", c.conn, e.Missing, c.asked)
	}
	c.welcome = true
	w.numbered(c, e.Number)
	for _, h := range e.Held {
		if h.Conn != c.conn {
			w.t.Fatalf("%v gets what was held for %v", c.conn, h.Conn)
		}
		w.frames(c, h.Frames)
	}
}

// frames: each names its device (or none) and carries a serial number that only grows.
func (w *twin) frames(c *twinConn, b []byte) {
	for _, f := range strings.Split(strings.TrimSuffix(string(b), ";"), ";") {
		if whom := strings.SplitN(f, " ", 3)[1]; whom != "all" && whom != "only-"+string(c.device) && (!strings.HasPrefix(whom, "not-") || whom == "not-"+string(c.device)) {
			w.t.Fatalf("device %s hears %q", c.device, f)
		}
		if len(c.got) > 0 && f <= c.got[len(c.got)-1] {
			w.t.Fatalf("device %s hears %q after %q", c.device, f, c.got[len(c.got)-1])
		}
		c.got = append(c.got, f)
	}
}

// online is held against SPEC 5 by TestPresence.
func (w *twin) online() bool { return w.s.Online(w.now) }

func (w *twin) bounds() {
	open := 0
	for _, c := range w.conns {
		if c.open {
			open++
		}
	}
	if n := w.s.Connected(); n > w.rules.MaxDevices || n != open {
		w.t.Fatalf("%d devices are connected, the twin counts %d, limit %d", n, open, w.rules.MaxDevices)
	}
	if len(w.s.devices) > 2*w.rules.MaxDevices || len(w.s.watchers) > maxWatchers {
		w.t.Fatalf("%d devices and %d watchers remembered", len(w.s.devices), len(w.s.watchers))
	}
	for _, d := range w.s.devices {
		if j := d.joining; j != nil && (j.size > maxHeld || len(j.await) > MaxCalls) {
			w.t.Fatalf("%d bytes held, %d calls awaited", j.size, len(j.await))
		}
	}
	if next := w.s.Deadline(); !next.IsZero() && !next.After(w.now) {
		w.t.Fatalf("after a step at %v the session is due at %v", w.now, next)
	}
	if w.s.Idle() && !w.s.Deadline().IsZero() {
		w.t.Fatalf("idle, and due at %v", w.s.Deadline())
	}
}

// pass lets time go by, with a timer that is punctual, late, or not there at all.
func (w *twin) pass(d time.Duration, timer string) {
	until := w.now.Add(d)
	for timer == "punctual" {
		next := w.s.Deadline()
		if next.IsZero() || next.After(until) {
			break
		}
		w.now = next
		w.step(Tick{})
	}
	w.now = until
	if timer == "late" {
		w.step(Tick{})
	}
}

func (w *twin) login() {
	w.serial++
	c := &twinConn{conn: Conn{Node: rapid.SampledFrom([]string{"n", "m"}).Draw(w.t, "node"), ID: w.serial}, open: true, since: w.now, told: map[call.ID]uint64{}}
	c.device = call.DeviceID(fmt.Sprint("d", rapid.IntRange(1, 5).Draw(w.t, "device")))
	w.conns = append(w.conns, c)
	m := Login{Device: c.device, Conn: c.conn, Request: 1}
	for id := range call.ID(len(w.calls)) {
		if rapid.Bool().Draw(w.t, "asked") {
			m.Calls = append(m.Calls, id+1)
		}
	}
	c.asked = slices.Clone(m.Calls)
	w.step(m)
}

// word is what an asked call says, as new as the call or older: one that an event has overtaken is not believed.
func (w *twin) word() {
	w.step(Tick{}) // what is due comes first: questions are repeated even if the answer is on its way
	c := w.pick()
	id, k := w.call()
	seq := k.seq - uint64(rapid.IntRange(0, int(min(k.seq, 2))).Draw(w.t, "older"))
	if c.waits(id, w.now) && seq >= c.told[id] {
		c.asked = slices.DeleteFunc(c.asked, func(a call.ID) bool { return a == id })
	}
	w.step(Synced{Call: id, Conn: c.conn, Seq: seq, Snapshot: []byte("S")})
	if c.open && !c.welcome && len(c.asked) == 0 {
		w.t.Fatalf("every call has said its word for %v, which is not welcome", c.conn)
	}
}

func (w *twin) tell() {
	id, k := w.call()
	m := Tell{Call: id, Epoch: 7}
	if rapid.IntRange(0, 3).Draw(w.t, "with changes") > 0 {
		m.From = k.seq
		k.seq++
		m.Seq = k.seq
	}
	for range rapid.IntRange(0, 3).Draw(w.t, "items") {
		w.serial++
		it := Item{
			Devices: call.Audience(rapid.IntRange(1, 3).Draw(w.t, "audience")),
			Device:  call.DeviceID(fmt.Sprint("d", rapid.IntRange(1, 5).Draw(w.t, "of"))),
		}
		whom := map[call.Audience]string{call.AllDevices: "all", call.OnlyDevice: "only-" + string(it.Device), call.OtherThan: "not-" + string(it.Device)}
		size := rapid.SampledFrom([]int{0, 0, 0, 100, 30_000}).Draw(w.t, "size")
		it.Frame = fmt.Appendf(nil, "%09d %s %s;", w.serial, whom[it.Devices], strings.Repeat("x", size))
		m.Items = append(m.Items, it)
		for _, c := range w.conns {
			if c.waits(id, w.now) && it.reaches(c.device) {
				c.told[id] = max(c.told[id], m.Seq)
			}
		}
	}
	if c := w.pick(); c.welcome && rapid.Bool().Draw(w.t, "answer") {
		w.serial++
		m.AnswerTo, m.Answer = c.conn, fmt.Appendf(nil, "%09d only-%s answer;", w.serial, c.device)
	}
	w.step(m)
}

func (w *twin) move() {
	c := w.pick()
	id, k := w.call()
	switch rapid.SampledFrom([]string{"login", "word", "tell", "seen", "broken", "logout", "watch", "heard", "pass", "move", "doubt"}).Draw(w.t, "move") {
	case "login":
		w.login()
	case "word":
		w.word()
	case "tell":
		w.tell()
	case "seen":
		if len(w.conns) > 0 {
			m := Seen{Conn: c.conn, Heard: rapid.Uint64Range(c.heard, c.sent).Draw(w.t, "got"), Silent: rapid.Bool().Draw(w.t, "silent")}
			c.heard = m.Heard
			w.step(m)
		}
	case "broken":
		w.step(Broken{c.conn})
	case "logout":
		if len(w.conns) > 0 {
			w.step(Logout{Conn: c.conn})
		}
	case "watch":
		k.watches, k.told = w.now, false
		w.step(Watch{Call: id, Offline: k.offline})
	case "heard":
		if k.told {
			k.offline, k.told = !w.online(), false
			w.step(Heard{Call: id, Offline: k.offline})
		}
	case "move":
		w.moveTo(rapid.SampledFrom([]string{"n", "m"}).Draw(w.t, "to"))
	case "doubt":
		w.step(Doubt{})
	case "pass":
		d := rapid.SampledFrom([]time.Duration{time.Millisecond, 500 * time.Millisecond, 3 * time.Second, 20 * time.Second, 40 * time.Second}).Draw(w.t, "for")
		w.pass(d, rapid.SampledFrom([]string{"punctual", "punctual", "late", "none"}).Draw(w.t, "timer"))
	}
}

// converge: calls that hear what they are told soon hear no more, and believe what is so.
func (w *twin) converge() {
	for id, k := range w.calls {
		k.told = false
		w.step(Watch{Call: id, Offline: k.offline})
	}
	for id, k := range w.calls {
		if k.told {
			k.offline = !w.online()
			w.step(Heard{Call: id, Offline: k.offline})
		}
		if k.offline == w.online() {
			w.t.Fatalf("call %s believes offline %t, online is %t", id, k.offline, w.online())
		}
		k.told = false
	}
	there := w.online()
	for range 5 {
		w.now = w.now.Add(sayAgain)
		if w.step(Tick{}); w.online() != there {
			return // it changed by itself: there is something to say
		}
	}
	for id, k := range w.calls {
		if k.told {
			w.t.Fatalf("call %s has heard, and is told again", id)
		}
	}
}

func TestAnySession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTwin(t)
		for range rapid.IntRange(1, 60).Draw(t, "moves") {
			w.move()
		}
		w.converge()
	})
}
