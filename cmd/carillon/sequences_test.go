package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"carillon/transport/wire"
)

// scene is a call of a (devices a1, a2) that rings b (b1, b2) and c; everybody has heard of it.
type scene struct {
	*cast
	mode              string // as printed
	id                uint64
	a1, a2, b1, b2, c *rawClient
}

// row is one line of SEQUENCES.md.
type row struct {
	name     string
	advanced bool // has no meaning in common mode
	brisk    bool // somebody must go offline: short heartbeats
	play     func(*testing.T, venue, wire.CallMode)
}

var rows = []row{
	{"01 a invites", false, false, rowInvite},
	{"02 the first device acknowledges", false, false, rowReceipt},
	{"03 b accepts", false, false, rowAccept},
	{"04 b rejects", false, false, rowReject},
	{"05 b does not answer", false, false, rowTimeout},
	{"05 nobody answers", false, false, rowTimeoutOfAll},
	{"06 a cancels everything", false, false, rowCancelAll},
	{"07 a cancels b", false, false, rowCancelOne},
	{"08 a logs out", false, false, rowCallerLogsOut},
	{"08 a goes silent", false, true, rowCallerSilent},
	{"08 a goes, another device stays", false, false, rowCallerOnAnotherDevice},
	{"09 a goes after an accept", false, true, rowCallerGoesAfterAccept},
	{"10 b comes late", false, false, rowLateInvitee},
	{"11 b invites d", true, false, rowCallingInvite},
	{"12 b changes device", true, false, rowSwitchDevice},
	{"13 e joins", true, false, rowJoin},
	{"14 b quits", true, false, rowQuit},
	{"15 b ends the call", true, false, rowEnd},
	{"16 a comes back", false, false, rowResume},
}

func TestSequences(t *testing.T) {
	t.Parallel()
	for engine, tune := range map[string]func(*Config){"memory": func(*Config) {}, "pebble": pebble} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			calm := newNode(t, func(cfg *Config) {
				tune(cfg)
				cfg.Call.NotReceivedAfter = 300 * time.Millisecond
			})
			brisk := newNode(t, func(cfg *Config) {
				tune(cfg)
				cfg.Heartbeat.Interval, cfg.Heartbeat.Timeout = 300*time.Millisecond, 3*time.Second
			})
			playRows(t, calm, brisk)
		})
	}
}

// playRows plays every row in both modes, all at the same time.
func playRows(t *testing.T, calm, brisk venue) {
	for _, r := range rows {
		for _, mode := range []wire.CallMode{common, advanced} {
			if r.advanced && mode != advanced {
				continue
			}
			on := calm
			if r.brisk {
				on = brisk
			}
			t.Run(r.name+" "+printMode(mode), func(t *testing.T) {
				t.Parallel()
				r.play(t, on, mode)
			})
		}
	}
}

func newScene(t *testing.T, on venue, mode wire.CallMode, timeout uint32) *scene {
	k := newCast(t, on)
	s := &scene{
		cast: k, mode: printMode(mode),
		a1: k.join("a", "a1"), a2: k.join("a", "a2"), b1: k.join("b", "b1"), b2: k.join("b", "b2"), c: k.join("c", "c1"),
	}
	s.id = s.a1.must(&wire.CallInvite{Invitees: k.names("b", "c"), TimeoutS: timeout, Mode: mode, ExtendedData: "hi"}).GetCall().GetCallId()
	snapshot := fmt.Sprintf(`%s a v1 %ds "hi" [a ACCEPTED "hi", b INVITING, c INVITING] started/started`, s.mode, timeout)
	all(`Created v1 by a/a1: `+snapshot, s.a2)
	all(`Received v1 by a/a1: `+snapshot+` inviter a ringing`, s.b1, s.b2, s.c)
	return s
}

// all expects one line on each of the devices.
func all(line string, devices ...*rawClient) {
	for _, c := range devices {
		c.t.Helper()
		c.expect(line)
	}
}

// rest proves that nobody has heard anything more.
func (s *scene) rest(more ...*rawClient) {
	s.t.Helper()
	for _, c := range append([]*rawClient{s.a1, s.a2, s.b1, s.b2, s.c}, more...) {
		c.silent(s.id)
	}
}

// either expects two lines in whichever order.
func (c *rawClient) either(one, other string) {
	c.t.Helper()
	got := []string{c.print(c.next()), c.print(c.next())}
	want := []string{one, other}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Fatalf("%s/%s heard\n\t%s\n\t%s\nwant\n\t%s\n\t%s", c.user, c.device, got[0], got[1], want[0], want[1])
	}
}

// ended is the word for a call that in common mode is over when the last invitee has answered.
func (s *scene) ended() string {
	if s.mode == "common" {
		return "ended"
	}
	return "started"
}

func rowInvite(t *testing.T, on venue, mode wire.CallMode) {
	k, m := newCast(t, on), printMode(mode)
	a1, a2, b1, b2, c := k.join("a", "a1"), k.join("a", "a2"), k.join("b", "b1"), k.join("b", "b2"), k.join("c", "c1")
	a1.send(&wire.CallInvite{Invitees: k.names("b", "c"), TimeoutS: 30, Mode: mode, ExtendedData: "hi"})
	snapshot := fmt.Sprintf(`%s a v1 30s "hi" [a ACCEPTED "hi", b INVITING, c INVITING] started/started`, m)
	a1.expect(
		`USC v1 by a/a1: [a ACCEPTED "hi", b INVITING, c INVITING] started`,
		`Created v1 by a/a1: `+snapshot+` main`,
	)
	f := a1.next()
	if got, want := a1.print(f), `result `+snapshot+` main`; got != want {
		t.Fatalf("answer\n\t%s\nwant\n\t%s", got, want)
	}
	call := f.GetResponse().GetCall()
	if times := f.GetResponse().GetTimes(); times.GetTimeoutS() != 30 || times.GetCreateTimeMs() != call.GetCreateTimeMs() {
		t.Errorf("times %v of call %v", times, call)
	}
	all(`Created v1 by a/a1: `+snapshot, a2)
	all(`Received v1 by a/a1: `+snapshot+` inviter a ringing`, b1, b2, c)
	for _, c := range []*rawClient{a1, a2, b1, b2, c} {
		c.silent(call.GetCallId())
	}
}

func rowReceipt(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 90)
	s.b1.send(&wire.InvitationReceipt{CallId: s.id})
	all(`USC v1 by b/b1: [b RECEIVED] started`, s.a1, s.b1, s.b2, s.c)
	s.b2.send(&wire.InvitationReceipt{CallId: s.id})
	s.b1.send(&wire.InvitationReceipt{CallId: s.id})
	s.rest()
}

func rowAccept(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 90)
	s.b1.send(&wire.CallAccept{CallId: s.id, ExtendedData: "yes"})
	accepted := `USC v2 by b/b1: [b ACCEPTED "yes"] started`
	all(accepted, s.a1, s.c)
	s.b1.either(accepted, fmt.Sprintf(
		`result %s a v2 90s "hi" [a ACCEPTED "hi", b ACCEPTED "yes", c INVITING] started/started inviter a main`, s.mode))
	s.b2.expect(`USC v2 by b/b1 answered_elsewhere: [b ACCEPTED "yes"] started`)
	s.rest()

	s.c.send(&wire.CallAccept{CallId: s.id})
	accepted = fmt.Sprintf(`USC v3 by c/c1: [c ACCEPTED] %s`, s.ended())
	all(accepted, s.a1, s.b1)
	s.c.skip(s.id)
	s.rest()
}

func rowReject(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 90)
	s.b1.send(&wire.CallReject{CallId: s.id, ExtendedData: "no"})
	rejected := `USC v2 by b/b1 rejected: [b REJECTED "no" rejected] started`
	all(rejected, s.a1, s.c)
	s.b1.either(rejected, fmt.Sprintf(
		`result %s a v2 90s "hi" [a ACCEPTED "hi", b REJECTED "no" rejected, c INVITING] started/ended inviter a`, s.mode))
	s.b2.expect(`USC v2 by b/b1 answered_elsewhere: [b REJECTED "no" rejected] started`)
	s.rest()

	s.c.send(&wire.CallReject{CallId: s.id})
	s.a1.expect(fmt.Sprintf(`USC v3 by c/c1 rejected: [c REJECTED rejected] %s`, s.ended()))
	s.c.skip(s.id)
	s.rest()
}

func rowTimeout(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 3)
	s.c.must(&wire.CallAccept{CallId: s.id})
	for _, c := range []*rawClient{s.a1, s.b1, s.b2} {
		c.expect(`USC v2 by c/c1: [c ACCEPTED] started`)
	}
	s.c.skip(s.id)
	all(fmt.Sprintf(`USC v3 by server no_answer: [b TIMEOUT no_answer] %s`, s.ended()), s.a1, s.c)
	all(fmt.Sprintf(`Timeout v3 by server no_answer: %s`, s.mode), s.b1, s.b2)
	s.rest()
}

func rowTimeoutOfAll(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 1)
	s.a1.expect(fmt.Sprintf(`USC v2 by server no_answer: [b TIMEOUT no_answer, c TIMEOUT no_answer] %s`, s.ended()))
	all(fmt.Sprintf(`Timeout v2 by server no_answer: %s`, s.mode), s.b1, s.b2, s.c)
	s.rest()
}

func rowCancelAll(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 90)
	s.a1.send(&wire.CallCancel{CallId: s.id, ExtendedData: "bye"})
	users := `[a CANCELLED "bye" cancelled, b BE_CANCELLED cancelled, c BE_CANCELLED cancelled]`
	s.a1.expect(
		fmt.Sprintf(`USC v2 by a/a1 cancelled: %s ended`, users),
		fmt.Sprintf(`result %s a v2 90s "hi" %s ended/ended cancelled`, s.mode, users),
	)
	all(fmt.Sprintf(`Cancelled v2 by a/a1 cancelled: inviter a %s "bye"`, s.mode), s.b1, s.b2, s.c)
	s.rest()
}

func rowCancelOne(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 90)
	s.a1.send(&wire.CallCancel{CallId: s.id, Invitees: s.names("b"), ExtendedData: "not you"})
	s.a1.expect(
		`USC v2 by a/a1 cancelled: [b BE_CANCELLED cancelled] started`,
		fmt.Sprintf(`result %s a v2 90s "hi" [a ACCEPTED "not you", b BE_CANCELLED cancelled, c INVITING] started/started main`, s.mode),
	)
	all(fmt.Sprintf(`Cancelled v2 by a/a1 cancelled: inviter a %s "not you"`, s.mode), s.b1, s.b2)
	s.c.expect(`USC v2 by a/a1 cancelled: [b BE_CANCELLED cancelled] started`)
	s.rest()
}

// lonelyScene is a scene whose a has only one device.
func lonelyScene(t *testing.T, on venue, mode wire.CallMode) *scene {
	k := newCast(t, on)
	s := &scene{cast: k, mode: printMode(mode), a1: k.join("a", "a1"), b1: k.join("b", "b1"), b2: k.join("b", "b2"), c: k.join("c", "c1")}
	s.id = s.a1.must(&wire.CallInvite{Invitees: k.names("b", "c"), Mode: mode, ExtendedData: "hi"}).GetCall().GetCallId()
	for _, c := range []*rawClient{s.a1, s.b1, s.b2, s.c} {
		c.skip(s.id)
	}
	return s
}

func (s *scene) callerOffline() {
	s.t.Helper()
	all(fmt.Sprintf(`Cancelled v2 by server caller_offline: inviter a %s ""`, s.mode), s.b1, s.b2, s.c)
	for _, c := range []*rawClient{s.b1, s.b2, s.c} {
		c.silent(s.id)
	}
}

func rowCallerLogsOut(t *testing.T, on venue, mode wire.CallMode) {
	s := lonelyScene(t, on, mode)
	s.a1.send(&wire.Logout{})
	s.a1.expect(`result`)
	if code := s.a1.ends(); code != wire.CloseLoggedOut {
		t.Errorf("close code %d after a logout", code)
	}
	s.callerOffline()
}

func rowCallerSilent(t *testing.T, on venue, mode wire.CallMode) {
	s := lonelyScene(t, on, mode)
	s.a1.hush()
	s.callerOffline()
}

// rowCallerOnAnotherDevice: a1 logs out, then a3 goes silent; a2 stays, so a is not offline.
func rowCallerOnAnotherDevice(t *testing.T, on venue, mode wire.CallMode) {
	s := newScene(t, on, mode, 90)
	s.a1.must(&wire.Logout{})
	s.a2.must(&wire.QueryCallInvitationList{}) // what a's session said of the logout is on its way
	for _, c := range []*rawClient{s.a2, s.b1, s.b2, s.c} {
		c.silent(s.id)
	}
	s.a2.must(&wire.CallCancel{CallId: s.id})
}

// rowCallerGoesAfterAccept: a is offline once his second call, which nobody has answered, is cancelled; the first one is
// as it was.
func rowCallerGoesAfterAccept(t *testing.T, on venue, mode wire.CallMode) {
	s := lonelyScene(t, on, mode)
	d := s.join("d", "d1")
	s.b1.must(&wire.CallAccept{CallId: s.id})
	second := s.a1.must(&wire.CallInvite{Invitees: s.names("d"), Mode: mode}).GetCall().GetCallId()
	for _, c := range []*rawClient{s.b1, s.b2, s.c} {
		c.skip(s.id)
	}
	d.skip(second)
	s.a1.vanish()
	d.expect(fmt.Sprintf(`Cancelled v2 by server caller_offline: inviter a %s ""`, s.mode))
	for _, c := range []*rawClient{s.b1, s.b2, s.c} {
		c.silent(s.id)
	}
}

func rowLateInvitee(t *testing.T, on venue, mode wire.CallMode) {
	k, m := newCast(t, on), printMode(mode)
	a1, a2, c := k.join("a", "a1"), k.join("a", "a2"), k.join("c", "c1")
	id := a1.must(&wire.CallInvite{Invitees: k.names("b", "c"), Mode: mode, EnableNotReceivedCheck: true}).GetCall().GetCallId()
	a2.skip(id)
	c.expect(fmt.Sprintf(`Received v1 by a/a1: %s a v1 90s "" [a ACCEPTED, b INVITING, c INVITING] started/started inviter a ringing`, m))
	all(`USC v1 by server: [b NOT_YET_RECEIVED, c NOT_YET_RECEIVED] started`, a1, c)
	b := k.join("b", "b1")
	ring := fmt.Sprintf(`%s a v1 90s "" [a ACCEPTED, b NOT_YET_RECEIVED, c NOT_YET_RECEIVED] started/started inviter a ringing`, m)
	if sync := b.login.GetSync(); len(sync) != 1 || b.unmask(printSnapshot(sync[0])) != ring {
		t.Fatalf("sync %v, want %s", sync, ring)
	}
	f := b.next()
	if got, want := b.print(f), `Received v1 by a/: `+ring; got != want {
		t.Fatalf("b heard\n\t%s\nwant\n\t%s", got, want)
	}
	if left := f.GetEvent().GetCallInvitationReceived().GetRemainingMs(); left >= 90_000 {
		t.Errorf("remaining_ms %d of an invitation that has rung before", left)
	}
	b.send(&wire.InvitationReceipt{CallId: id})
	all(`USC v1 by b/b1: [b RECEIVED] started`, a1, b, c)
	for _, c := range []*rawClient{a1, a2, b, c} {
		c.silent(id)
	}
}

// rowResume: a1 loses its connection, misses b's accept, and is back inside the grace.
func rowResume(t *testing.T, on venue, mode wire.CallMode) {
	s := lonelyScene(t, on, mode)
	other := s.a1.must(&wire.CallInvite{Invitees: s.names("d"), Mode: mode}).GetCall().GetCallId()
	s.a1.vanish()
	s.b1.must(&wire.CallAccept{CallId: s.id})
	for _, c := range []*rawClient{s.b1, s.b2, s.c} {
		c.skip(s.id)
	}
	a1 := s.join("a", "a1", &wire.KnownCall{CallId: s.id, Version: 1})
	var sync []string
	for _, snap := range a1.login.GetSync() {
		sync = append(sync, a1.unmask(printSnapshot(snap)))
	}
	want := []string{
		fmt.Sprintf(`%s a v1 90s "" [a ACCEPTED, d INVITING] started/started main`, s.mode),
		fmt.Sprintf(`%s a v2 90s "hi" [a ACCEPTED "hi", b ACCEPTED, c INVITING] started/started main`, s.mode),
	}
	slices.Sort(sync)
	if !slices.Equal(sync, want) {
		t.Fatalf("sync\n\t%q\nwant\n\t%q", sync, want)
	}
	a1.silent(s.id)
	a1.silent(other)
	for _, c := range []*rawClient{s.b1, s.b2, s.c} {
		c.silent(s.id)
	}
}
