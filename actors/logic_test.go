package actors

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/persistence"
	"carillon/transport/wire"
)

// desk is the host and the peers of one actor's logic, with a clock that the test turns.
type desk struct {
	t     testing.TB
	now   time.Time
	alarm time.Time
	rests bool
	lives uint64
	sent  []any // what the logic told others
	cfg   Config
}

func newDesk(t testing.TB) *desk {
	store := persistence.NewMemory(persistence.Config{Logger: quiet})
	t.Cleanup(func() { _ = store.Close() })
	d := &desk{t: t, now: simStart, cfg: testConfig(store)}
	d.cfg.Now = d.Now
	return d
}

func (d *desk) Now() time.Time                    { return d.now }
func (d *desk) WakeAt(t time.Time)                { d.alarm = t }
func (d *desk) Rest()                             { d.rests = true }
func (d *desk) Retire()                           { d.rests = true }
func (d *desk) ToCall(_ call.ID, msg any)         { d.sent = append(d.sent, msg) }
func (d *desk) ToSession(_ call.UserID, msg any)  { d.sent = append(d.sent, msg) }
func (d *desk) ToGateway(_ session.Conn, msg any) { d.sent = append(d.sent, msg) }
func (d *desk) Hurry(bool)                        {}
func (d *desk) Epoch() uint64                     { d.lives++; return d.lives }
func (d *desk) Resumed() time.Time                { return time.Time{} }
func (d *desk) take() []any                       { out := d.sent; d.sent = nil; return out }
func (d *desk) invite(id call.ID, c *command) *command {
	c.Op, c.Command.Command = call.OpInvite, call.CommandID{1}
	c.Invite.ID, c.Invite.Rules = id, d.cfg.Calls
	return c
}

// frames are what a message carries to devices.
func (d *desk) frames(msg any) []*wire.ServerFrame {
	var raw []byte
	switch m := msg.(type) {
	case session.Tell:
		for _, it := range m.Items {
			raw = append(raw, it.Frame...)
		}
		raw = append(raw, m.Answer...)
	case session.Synced:
		raw = m.Ring
	case output:
		raw = m.Frames
	}
	var out []*wire.ServerFrame
	in := wire.NewReader(bytes.NewReader(raw), wire.MaxServerFrame)
	for {
		b, err := in.Next()
		if err != nil {
			return out
		}
		f := &wire.ServerFrame{}
		if err := proto.Unmarshal(b, f); err != nil {
			d.t.Fatal(err)
		}
		out = append(out, f)
	}
}

// TestOvertakenChange: an event whose change was overtaken in the same step speaks of the call as it was then.
func TestOvertakenChange(t *testing.T) {
	d := newDesk(t)
	a := newCall(7, &d.cfg, d, d)
	a.Receive(d.invite(7, &command{Command: call.Command{
		User: "A", Device: "A1", Users: []call.UserID{"B"}, Timeout: 10 * time.Second, Invite: &call.Invite{Mode: call.Advanced},
	}}))
	a.Receive(told{Epoch: a.epoch, User: "A", Seq: a.state.Seq})
	d.take()
	d.now = d.now.Add(20 * time.Second) // the timer is late: B has timed out, and A ends the call
	a.Receive(&command{Command: call.Command{Op: call.OpEnd, User: "A", Device: "A1", Command: call.CommandID{2}}})
	var got []string
	for _, msg := range d.take() {
		for _, f := range d.frames(msg) {
			if e := f.GetEvent(); e.GetCallUserStateChanged() != nil {
				got = append(got, fmt.Sprintf("version %d, %v", e.GetVersion(), e.GetCallUserStateChanged().GetCallState()))
			}
		}
	}
	if want := "version 2, CALL_STATE_STARTED"; strings.Join(got, "; ") != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// slowReads turns the clock while it reads.
type slowReads struct {
	Store
	d  *desk
	by time.Duration
}

func (s slowReads) Load(ctx context.Context, id call.ID) (call.State, error) {
	s.d.now = s.d.now.Add(s.by)
	return s.Store.Load(ctx, id)
}

// TestLoginAfterASlowRead: what a login is told to ring is no longer than what is left when it is told.
func TestLoginAfterASlowRead(t *testing.T) {
	d := newDesk(t)
	a := newCall(7, &d.cfg, d, d)
	a.Receive(d.invite(7, &command{Command: call.Command{
		User: "A", Device: "A1", Users: []call.UserID{"B"}, Timeout: 10 * time.Second, Invite: &call.Invite{Mode: call.Common},
	}}))
	d.take()
	d.cfg.Store = slowReads{d.cfg.Store, d, 4 * time.Second}
	a.Receive(ask{User: "B", Device: "B1", Conn: session.Conn{Node: "n", ID: 1}})
	for _, msg := range d.take() {
		if w, ok := msg.(session.Synced); ok {
			if ms := d.frames(w)[0].GetEvent().GetCallInvitationReceived().GetRemainingMs(); ms != 6000 {
				t.Errorf("rings for %d ms, want 6000", ms)
			}
			return
		}
	}
	t.Error("no word for the login")
}

// manyCalls is a store whose user has as many live calls as a login can name.
type manyCalls struct {
	Store
	n int
}

func (m manyCalls) PendingFor(context.Context, call.UserID) ([]call.ID, error) {
	out := make([]call.ID, m.n)
	for i := range out {
		out[i] = call.ID(i + 1)
	}
	return out, nil
}

// TestFullLogin: as many calls as a store ever gives may not be all; the device is told.
func TestFullLogin(t *testing.T) {
	for n, cut := range map[int]bool{session.MaxCalls - 1: false, session.MaxCalls: true} {
		d := newDesk(t)
		d.cfg.Store = manyCalls{d.cfg.Store, n}
		a := newSession("B", &d.cfg, d, d)
		a.Receive(&attach{Device: "B1", Conn: session.Conn{Node: "n", ID: 1}, Request: 1})
		d.now = d.now.Add(3 * time.Second)
		a.Receive(wake{})
		sent := d.take()
		answer := d.frames(sent[len(sent)-1])[0].GetResponse().GetLogin()
		if answer == nil || answer.GetSyncTruncated() != cut {
			t.Errorf("%d calls: %v", n, answer)
		}
	}
}

// TestLongLogin: however many long invitations ring, a login's answer fits what a connection may hold.
func TestLongLogin(t *testing.T) {
	d := newDesk(t)
	a := newSession("B", &d.cfg, d, d)
	conn := session.Conn{Node: "n", ID: 1}
	word := session.Synced{Conn: conn, Snapshot: marshal(&wire.CallSnapshot{ExtendedData: strings.Repeat("x", 5000)})}
	word.Ring = frame(&wire.ServerFrame{Body: &wire.ServerFrame_Event{Event: &wire.Event{Kind: &wire.Event_CallInvitationReceived{
		CallInvitationReceived: &wire.CallSnapshot{ExtendedData: strings.Repeat("x", 5000)},
	}}}})
	d.cfg.Store = manyCalls{d.cfg.Store, 150}
	a.Receive(&attach{Device: "B1", Conn: conn, Request: 1})
	d.take()
	for id := range 150 {
		word.Call = call.ID(id + 1)
		a.Receive(word)
	}
	sent := d.take()
	out := sent[len(sent)-1].(output)
	frames := d.frames(out)
	if login := frames[0].GetResponse().GetLogin(); !login.GetSyncTruncated() || len(login.GetSync()) < 60 || len(frames)-1 > len(login.GetSync()) {
		t.Errorf("%d snapshots, %d rings, truncated %t", len(login.GetSync()), len(frames)-1, login.GetSyncTruncated())
	}
	if len(out.Frames) > wire.MaxServerFrame {
		t.Errorf("%d bytes at once", len(out.Frames))
	}
}

// TestPhasesBalance: calls that leave memory leave their phase, whichever way they go.
func TestPhasesBalance(t *testing.T) {
	var counts [PhaseEnding + 1]int
	d := newDesk(t)
	d.cfg.Watch.Phase = func(from, to Phase) { counts[from]--; counts[to]++ }
	a := newCall(7, &d.cfg, d, d)
	a.Receive(d.invite(7, &command{Command: call.Command{
		User: "A", Device: "A1", Users: []call.UserID{"B"}, Timeout: 10 * time.Second, Invite: &call.Invite{Mode: call.Advanced},
	}}))
	if counts[PhaseRinging] != 1 {
		t.Errorf("ringing: %v", counts)
	}
	a.Receive(&command{Command: call.Command{Op: call.OpAccept, User: "B", Device: "B1", Command: call.CommandID{2}}})
	if counts[PhaseRinging] != 0 || counts[PhaseAnswered] != 1 {
		t.Errorf("answered: %v", counts)
	}
	for _, u := range []call.UserID{"A", "B"} {
		a.Receive(told{Epoch: a.epoch, User: u, From: 0, Seq: a.state.Seq})
	}
	d.now = d.now.Add(time.Hour)
	a.Receive(wake{})
	if !d.rests || !d.alarm.Equal(a.state.Deadline()) || counts != [PhaseEnding + 1]int{} {
		t.Errorf("resting %t, alarm %v, %v", d.rests, d.alarm, counts)
	}
}
