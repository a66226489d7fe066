package actors

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/transport/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/*.json with what the tests get; read the difference")

// testCall has every field set: an advanced call with one user in each place that a user can be in.
func testCall() call.State {
	at := func(s int) call.Millis { return call.At(simStart.Add(time.Duration(s) * time.Second)) }
	s := call.State{
		ID: 7230974095118051554, Version: 9, Revision: 12, Seq: 14, Mode: call.Advanced, Caller: "alice",
		InviteCommand: call.CommandID{1}, InviteErrors: []call.UserError{{User: "nobody", Code: call.NoUser}},
		Created: at(0), Timeout: 90 * time.Second, AloneTimeout: time.Minute, CheckReceived: true, ExtendedData: "hello",
		EverAccepted: true,
	}
	user := func(u call.UserID, state call.UserState, c call.Change) *call.Participant {
		s.Users = append(s.Users, call.Participant{User: u, State: state, Change: c, Inviter: "alice", InvitedFor: 90 * time.Second})
		return &s.Users[len(s.Users)-1]
	}
	alice := user("alice", call.Accepted, call.Change{Seq: 1, By: "alice", Device: "a1", At: at(0)})
	alice.Inviter, alice.InvitedFor, alice.Main, alice.AcceptedAt, alice.ExtendedData = "", 0, "a1", at(0), "hello"
	bob := user("bob", call.Inviting, call.Change{Seq: 9, By: "carol", Device: "c1", At: at(30)})
	bob.Inviter, bob.InvitedFor, bob.InvitedAt, bob.Deadline, bob.InviteData = "carol", 20*time.Second, at(30), at(50), "come too"
	carol := user("carol", call.Accepted, call.Change{Seq: 4, By: "carol", Device: "c1", At: at(5)})
	carol.Main, carol.AcceptedAt, carol.ExtendedData = "c1", at(5), "here"
	dave := user("dave", call.Rejected, call.Change{Seq: 5, By: "dave", Device: "d1", Reason: call.ReasonRejected, At: at(6)})
	dave.ExtendedData = "busy"
	user("erin", call.Timeout, call.Change{Seq: 8, Reason: call.ReasonNoAnswer, At: at(20)})
	frank := user("frank", call.Quit, call.Change{Seq: 7, By: "frank", Device: "f1", At: at(15)})
	frank.AcceptedAt, frank.QuitAt, frank.Main = at(7), at(15), "f1"
	user("grace", call.BeCancelled, call.Change{Seq: 6, By: "alice", Device: "a1", Reason: call.ReasonCancelled, At: at(8)})
	s.Outcomes = []call.Outcome{
		{User: "carol", Command: call.CommandID{2}, Op: call.OpJoin, Times: call.Times{Created: at(0), Accepted: at(5), Joined: at(5)}},
		{User: "frank", Command: call.CommandID{3}, Op: call.OpQuit, Times: call.Times{Created: at(0), Accepted: at(7), Quit: at(15)}},
		{User: "carol", Command: call.CommandID{4}, Op: call.OpAdd, Errors: []call.UserError{{User: "dave", Code: call.WrongState}}},
		{User: "bob", Command: call.CommandID{5}, Op: call.OpQuit, Code: call.WrongState, Message: "user bob is Inviting, not Accepted"},
	}
	return s
}

func ended(s call.State) call.State {
	s.Ended, s.EndReason, s.EndSeq, s.EndedBy, s.EndDevice = call.At(simStart.Add(time.Minute)), call.ReasonEndedByUser, s.Seq, "carol", "c1"
	return s
}

// TestSnapshots: one call in the eyes of each of its users, and of one who has no part in it.
func TestSnapshots(t *testing.T) {
	s, now := testCall(), simStart.Add(40*time.Second)
	over := ended(testCall())
	var out golden
	for _, u := range []call.UserID{"alice", "bob", "carol", "dave", "frank", "mallory"} {
		out.add(string(u), shown(t, &s, u, call.DeviceID(u[:1]+"1"), now))
	}
	out.add("carol, another device", shown(t, &s, "carol", "c2", now))
	out.add("bob, past his deadline", shown(t, &s, "bob", "b1", now.Add(time.Minute)))
	out.add("alice, after the end", shown(t, &over, "alice", "a1", now))
	out.add("bob, after the end", shown(t, &over, "bob", "b1", now))
	out.check(t, "snapshots")
}

// TestEvents: one event of each kind.
func TestEvents(t *testing.T) {
	s, now := testCall(), simStart.Add(40*time.Second)
	over := ended(testCall())
	then := testCall()
	then.Version = 8
	base := call.Event{Version: 9, By: "carol", ByDev: "c1", At: call.At(now)}
	event := func(k call.Kind, to call.UserID, more func(*call.Event)) *call.Event {
		e := base
		e.Kind, e.To, e.Devices = k, to, call.AllDevices
		if more != nil {
			more(&e)
		}
		return &e
	}
	var out golden
	add := func(name string, s *call.State, e *call.Event) { out.add(name, one(t, eventFrame(s, e, now))) }
	add("created, the device that invited", &s, event(call.EventCreated, "alice", func(e *call.Event) { e.Devices, e.Device = call.OnlyDevice, "a1" }))
	add("created, his others", &s, event(call.EventCreated, "alice", func(e *call.Event) { e.Devices, e.Device = call.OtherThan, "a1" }))
	add("received", &s, event(call.EventReceived, "bob", nil))
	add("cancelled", &s, event(call.EventCancelled, "grace", func(e *call.Event) {
		e.Inviter, e.ExtendedData, e.Reason = "alice", "never mind", call.ReasonCancelled
	}))
	add("timeout", &s, event(call.EventTimeout, "erin", func(e *call.Event) { e.By, e.ByDev, e.Reason = "", "", call.ReasonNoAnswer }))
	add("ended", &over, event(call.EventEnded, "alice", func(e *call.Event) { e.Reason, e.ExtendedData = call.ReasonEndedByUser, "bye" }))
	add("user state", &s, event(call.EventUserState, "alice", func(e *call.Event) { e.Changed = []call.UserID{"frank", "dave"} }))
	add("user state, the call as it was then", &over, event(call.EventUserState, "alice", func(e *call.Event) {
		e.Changed, e.Then, e.Version = []call.UserID{"bob"}, &then, 8
	}))
	out.check(t, "events")
}

// TestAnswers: the answer to each operation, first told and told again, and to those that came to nothing.
func TestAnswers(t *testing.T) {
	s, now := testCall(), simStart.Add(40*time.Second)
	s.Users = s.Users[:2] // short, for the reader
	var out golden
	answer := func(name string, user call.UserID, id byte, r *call.Refusal) {
		c := &command{Command: call.Command{User: user, Device: call.DeviceID(user[:1] + "1"), Command: call.CommandID{id}}, Request: 3}
		out.add(name, one(t, answerFrame(&s, c, r, now)))
	}
	answer("invite", "alice", 1, nil)
	answer("join", "carol", 2, nil)
	answer("quit", "frank", 3, nil)
	answer("callingInvite", "carol", 4, nil)
	answer("quit, refused", "bob", 5, &call.Refusal{Code: call.WrongState, Message: "user bob is Inviting, not Accepted"})
	answer("accept, by a stranger", "mallory", 6, &call.Refusal{Code: call.NotInvited, Message: "user mallory is not invited"})
	none := call.State{}
	out.add("no such call", one(t, answerFrame(&none, &command{Request: 4}, &call.Refusal{Code: call.NoSuchCall, Message: "call does not exist"}, now)))
	out.add("too frequent", one(t, refusal(5, &call.Refusal{Code: call.TooFrequent, Message: "requests: too many from this device"}, 1500*time.Microsecond)))
	out.check(t, "answers")
}

// shown is a snapshot as a client reads it.
func shown(t *testing.T, s *call.State, viewer call.UserID, device call.DeviceID, now time.Time) *wire.CallSnapshot {
	t.Helper()
	out := &wire.CallSnapshot{}
	if err := proto.Unmarshal(snapshotOf(s, viewer, device, now), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// one is the frame that the bytes are, and nothing behind it.
func one(t *testing.T, b []byte) *wire.ServerFrame {
	t.Helper()
	in := wire.NewReader(bytes.NewReader(b), wire.MaxServerFrame)
	body, err := in.Next()
	f := &wire.ServerFrame{}
	if err != nil || proto.Unmarshal(body, f) != nil || in.Buffered() {
		t.Fatalf("not one frame: %x, %v", b, err)
	}
	return f
}

// golden is a file of named messages.
type golden struct{ buf bytes.Buffer }

func (g *golden) add(name string, m proto.Message) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		panic(err)
	}
	separator := ",\n"
	if g.buf.Len() == 0 {
		separator = ""
	}
	fmt.Fprintf(&g.buf, "%s%q: ", separator, name)
	if err := json.Indent(&g.buf, raw, "", "  "); err != nil {
		panic(err)
	}
}

func (g *golden) check(t *testing.T, name string) {
	t.Helper()
	path := "testdata/" + name + ".json"
	got := fmt.Sprintf("{\n%s\n}\n", g.buf.Bytes())
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(compact(t, []byte(got)), compact(t, want)) {
		t.Errorf("%s: got\n%s\nrewrite with -update, and read the difference", path, got)
	}
}

// compact undoes the spaces that protojson puts in at random.
func compact(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestEnumsAreTheWires: states, reasons and modes go over the wire as numbers, so the two lists must agree for ever.
func TestEnumsAreTheWires(t *testing.T) {
	for n, name := range wire.UserState_name {
		if u := call.UserState(n); n > 0 && "USER_STATE_"+screaming(u.String()) != name {
			t.Errorf("state %d is %s here and %s there", n, u, name)
		}
	}
	for n, name := range wire.Reason_name {
		if r := call.Reason(n); n > 0 && "REASON_"+screaming(r.String()) != name {
			t.Errorf("reason %d is %s here and %s there", n, r, name)
		}
	}
	for n, name := range wire.CallMode_name {
		if m := call.Mode(n); n > 0 && "CALL_MODE_"+screaming(m.String()) != name {
			t.Errorf("mode %d is %s here and %s there", n, m, name)
		}
	}
}

// screaming makes NotYetReceived and not_yet_received NOT_YET_RECEIVED.
func screaming(s string) string {
	var out []byte
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' && i > 0 {
			out = append(out, '_')
		}
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		out = append(out, c)
	}
	return string(out)
}

// TestNames: what an identifier may be (SPEC 4).
func TestNames(t *testing.T) {
	for id, want := range map[string]bool{
		"": false, "a": true, "Z9": true, "a b": true, "!#$%&()+-:;<=.>?@[]^_ {}|~": true, "a,b": false, "a\"b": false, "a'b": false,
		"a*b": false, "a/b": false, "a\\b": false, "a`b": false, "é": false, "a\x00": false, "a\n": false,
		"12345678901234567890123456789012": true, "123456789012345678901234567890123": false,
	} {
		if got := validID(id, maxUserID); got != want {
			t.Errorf("%q: %t", id, got)
		}
	}
}

// TestCallIDs: an intent has one ID, in its caller's shard; another attempt, caller, intent or secret has another.
func TestCallIDs(t *testing.T) {
	cfg := testConfig(nil)
	other := testConfig(nil)
	other.Secret = []byte("another")
	seen := map[call.ID]string{}
	for name, id := range map[string]call.ID{
		"first": cfg.callID("alice", call.CommandID{1}, 0), "attempt": cfg.callID("alice", call.CommandID{1}, 1),
		"intent": cfg.callID("alice", call.CommandID{2}, 0), "caller": cfg.callID("bob", call.CommandID{1}, 0),
		"secret": other.callID("alice", call.CommandID{1}, 0),
	} {
		if was, twice := seen[id]; twice || id == 0 {
			t.Errorf("%s and %s: %s", name, was, id)
		}
		seen[id] = name
		if shard := call.UserID("alice").Shard(); name != "caller" && id.Shard() != shard {
			t.Errorf("%s: shard %d, want %d", name, id.Shard(), shard)
		}
	}
	if again := testConfig(nil); seen[again.callID("alice", call.CommandID{1}, 0)] != "first" {
		t.Error("an intent has two IDs")
	}
}
