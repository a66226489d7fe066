package actors

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// ringing is a call of A with B and C that rings on B's device, and all have acknowledged that.
func (d *desk) ringing() *callActor {
	a := newCall(7, &d.cfg, d, d)
	a.Receive(d.invite(7, &command{Command: call.Command{
		User: "A", Device: "A1", Users: []call.UserID{"B", "C"}, Timeout: 10 * time.Second, Invite: &call.Invite{Mode: call.Advanced},
	}}))
	d.heard(a)
	a.Receive(&command{Command: call.Command{Op: call.OpReceipt, User: "B", Device: "B1"}})
	d.heard(a)
	return a
}

// heard acknowledges all.
func (d *desk) heard(a *callActor) {
	for _, msg := range d.take() {
		if m, ok := msg.(session.Tell); ok && m.Seq > 0 {
			for _, u := range a.state.Users {
				a.Receive(told{Epoch: m.Epoch, User: u.User, From: m.From, Seq: m.Seq})
			}
		}
	}
	d.take()
}

func (d *desk) stored() call.State {
	s, err := d.cfg.Store.Load(context.Background(), 7)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// TestACallLeaves: what it has only in memory is written down if it rings, and is not late.
func TestACallLeaves(t *testing.T) {
	for _, c := range []struct {
		what   string
		before func(*desk, *callActor)
		late   bool
		writes uint64
	}{
		{"ringing", func(*desk, *callActor) {}, false, 1},
		{"ringing, but others have taken over", func(*desk, *callActor) {}, true, 0},
		{"ringing, and nothing has changed since the last write", func(d *desk, a *callActor) {
			a.Receive(&command{Command: call.Command{Op: call.OpReject, User: "C", Device: "C1", Command: call.CommandID{3}}})
			d.take()
		}, false, 0},
		{"answered", func(d *desk, a *callActor) {
			for i, u := range []call.UserID{"B", "C"} {
				a.Receive(&command{Command: call.Command{Op: call.OpAccept, User: u, Device: "1", Command: call.CommandID{byte(3 + i)}}})
			}
			d.heard(a)
		}, false, 0},
		{"written by another meanwhile", func(d *desk, _ *callActor) {
			other := newCall(7, &d.cfg, d, d)
			other.Receive(&command{Command: call.Command{Op: call.OpReject, User: "C", Device: "C1", Command: call.CommandID{3}}})
			d.take()
		}, false, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			d := newDesk(t)
			a := d.ringing()
			c.before(d, a)
			before := d.stored()
			a.Receive(leave{Late: c.late})
			after := d.stored()
			if after.Revision != before.Revision+c.writes || after.Version != before.Version || !d.rests || a.phase != PhaseNone {
				t.Errorf("revision +%d, version +%d, retired %t, phase %d", after.Revision-before.Revision, after.Version-before.Version, d.rests, a.phase)
			}
			for _, msg := range d.take() {
				if m, ok := msg.(session.Tell); ok && c.what == "ringing" {
					t.Errorf("told %+v", m)
				}
			}
		})
	}
	d := newDesk(t)
	if newCall(7, &d.cfg, d, d).Receive(leave{}); !d.rests || len(d.take()) > 0 {
		t.Error("a call that was not loaded")
	}
}

// TestACallIsTakenUp: the next owner of a call that was written down tells nobody again, and asks for the caller at once.
func TestACallIsTakenUp(t *testing.T) {
	d := newDesk(t)
	d.ringing().Receive(leave{})
	d.take()
	next := newCall(7, &d.cfg, d, d)
	next.Receive(wake{})
	if sent := d.take(); !reflect.DeepEqual(sent, []any{session.Watch{Call: 7}}) || next.state.StateOf("B") != call.Received {
		t.Errorf("says %+v; B is %s", sent, next.state.StateOf("B"))
	}
}

// TestACallAsksMovedSessions: only those of users whose presence matters to it, and that have moved.
func TestACallAsksMovedSessions(t *testing.T) {
	d := newDesk(t)
	a := d.ringing()
	for _, c := range []struct {
		moved []uint16
		asks  []any
	}{
		{[]uint16{call.UserID("A").Shard(), call.UserID("B").Shard()}, []any{session.Watch{Call: 7}}},
		{[]uint16{call.UserID("B").Shard()}, nil},
		{nil, nil},
	} {
		a.Receive(moved{setOf(c.moved)})
		if sent := d.take(); !reflect.DeepEqual(sent, c.asks) {
			t.Errorf("%v moved: says %+v", c.moved, sent)
		}
	}
}

// TestACallInDoubt reads what another owner has written, and then nothing of the old life is acknowledged any more.
func TestACallInDoubt(t *testing.T) {
	d := newDesk(t)
	a := d.ringing()
	epoch := a.epoch
	a.Receive(doubt{})
	if a.epoch != epoch || a.state.StateOf("B") != call.Received {
		t.Error("a call that nobody else has written is loaded anew")
	}
	other := newCall(7, &d.cfg, d, d)
	other.Receive(&command{Command: call.Command{Op: call.OpReject, User: "C", Device: "C1", Command: call.CommandID{3}}})
	a.Receive(doubt{})
	if a.epoch == epoch || a.state.StateOf("C") != call.Rejected {
		t.Errorf("C is %s in epoch %d, before %d", a.state.StateOf("C"), a.epoch, epoch)
	}
}

// TestASessionLeaves: the next owner gets what it knew, and then the logins that are not answered.
func TestASessionLeaves(t *testing.T) {
	play := func(late bool) (*desk, session.Conn) {
		d := newDesk(t)
		a := newSession("B", &d.cfg, d, d)
		d.cfg.Store = manyCalls{d.cfg.Store, 2}
		c := session.Conn{Node: "n", ID: 5}
		a.Receive(&attach{Device: "B1", Conn: c, Request: 9, Known: []known{{Call: 2, Version: 6}}, At: d.now})
		a.Receive(session.Watch{Call: 4, Offline: true})
		d.take()
		d.now = d.now.Add(time.Second)
		a.Receive(leave{Late: late})
		if !d.rests {
			t.Error("it stays")
		}
		return d, c
	}
	d, conn := play(false)
	sent := d.take()
	if len(sent) != 2 {
		t.Fatalf("sent %+v", sent)
	}
	if h := sent[0].(session.Handover); len(h.Devices) != 1 || h.Devices[0].Device != "B1" || len(h.Watchers) != 1 || h.Watchers[0].Call != 4 {
		t.Errorf("handed over %+v", h)
	}
	want := &attach{Device: "B1", Conn: conn, Request: 9, Known: []known{{Call: 2, Version: 6}}, At: d.now}
	if !reflect.DeepEqual(sent[1], want) {
		t.Errorf("the login begins anew with %+v, want %+v", sent[1], want)
	}
	if d, _ := play(true); len(d.take()) > 0 {
		t.Error("one that is late has something to say")
	}
	d = newDesk(t)
	a := newSession("B", &d.cfg, d, d)
	a.Receive(session.Tell{Call: 1, Seq: 1})
	d.take()
	if a.Receive(leave{}); len(d.take()) > 0 || !d.rests {
		t.Error("a session of nobody is handed over")
	}
}

// TestASessionInDoubt recalls its devices.
func TestASessionInDoubt(t *testing.T) {
	d := newDesk(t)
	a := newSession("B", &d.cfg, d, d)
	a.Receive(&attach{Device: "B1", Conn: session.Conn{Node: "n", ID: 5}, Request: 9, At: d.now})
	d.take()
	if a.Receive(doubt{}); fmt.Sprint(d.take()) != "[{}]" {
		t.Error("not recalled")
	}
}
