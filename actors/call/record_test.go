package call

import (
	"errors"
	"testing"
	"time"
)

// What a participant's record says after each way of coming and going (SPEC 1, Results; the wire's CallUser).
func TestTimesOfAParticipant(t *testing.T) {
	p := newPlay(Advanced)
	p.config.Rules.MemberLease = 20 * time.Second
	must(p, OpInvite, "A1", "B")
	b := func() *Participant { return p.s.Find("B") }
	must(p, OpAccept, "B1")
	p.tick(time.Second)
	must(p, OpQuit, "B1")
	if b().AcceptedAt != At(start) || b().QuitAt != At(p.now) {
		t.Errorf("after the quit: accepted %d, quit %d", b().AcceptedAt, b().QuitAt)
	}
	again := p.command(OpAdd, "A1", "B")
	again.ExtendedData, again.Timeout = "come back", 7*time.Second
	_, _ = p.step(again)
	if b().AcceptedAt != 0 || b().QuitAt != 0 || b().Main != "" || b().InviteData != "come back" || b().InvitedFor != 7*time.Second {
		t.Errorf("invited again: %+v", b())
	}
	must(p, OpReject, "B1")
	plain := p.command(OpAdd, "A1", "B") // no data: the call's own
	_, _ = p.step(plain)
	if b().InviteData != "" || b().InvitedFor != p.ring {
		t.Errorf("invited with the call's own data and timeout: %q, %v", b().InviteData, b().InvitedFor)
	}
	must(p, OpAccept, "B1")
	_, _ = p.step(Command{Op: OpOffline, User: "B"})
	gone := p.now
	p.tick(10 * time.Second)
	_, _ = p.step(Command{Op: OpOffline, User: "B"}) // said again: the lease runs from the first word
	p.tick(10 * time.Second)
	if want := At(gone.Add(20 * time.Second)); b().State != Quit || b().QuitAt != want {
		t.Errorf("lease over: %s, quit at %d, want %d", b().State, b().QuitAt, want)
	}
	must(p, OpJoin, "B2")
	if b().QuitAt != 0 || b().AcceptedAt != At(p.now) {
		t.Errorf("joined: accepted %d, quit %d", b().AcceptedAt, b().QuitAt)
	}
}

func TestARefusedInvitationNamesEveryInvitee(t *testing.T) {
	p := newPlay(Common)
	_, err := p.step(p.command(OpInvite, "A1", "A"))
	var r *Refusal
	if !errors.As(err, &r) || r.Code != BadParameter || len(r.Errors) != 1 || r.Errors[0] != (UserError{"A", BadParameter}) {
		t.Errorf("inviting oneself: %v", err)
	}
	c := p.command(OpInvite, "A1", "B", "C", "D", "E", "F", "G", "H", "I")
	c.Errors = []UserError{{"~", BadParameter}, {"Z", NoUser}}
	if _, err := p.step(c); codeOf(err) != TooMany {
		t.Errorf("ten named, two of them wrong: %v, want %d", err, TooMany)
	}
}

// Alone is the caller, not another member who stayed.
func TestAMemberLeftBehindIsNotAlone(t *testing.T) {
	p := newPlay(Advanced)
	p.config.AloneTimeout = 10 * time.Second
	must(p, OpInvite, "A1", "B")
	must(p, OpAccept, "B1")
	must(p, OpQuit, "A1")
	if p.tick(time.Minute); !p.s.Open() {
		t.Errorf("ended as %s", p.s.EndReason)
	}
}

// Closing is a write, and the last one.
func TestClosingIsAWrite(t *testing.T) {
	p := newPlay(Advanced)
	must(p, OpInvite, "A1", "B")
	events, _ := p.step(Command{Op: OpStop})
	before := p.s.Revision
	if p.acknowledge(events); !p.s.Closed || p.s.Revision != before+1 {
		t.Errorf("closed %v, revision %d after %d", p.s.Closed, p.s.Revision, before)
	}
}

// An acknowledgement of what was never told says nothing.
func TestAcknowledgementsAreNotTrusted(t *testing.T) {
	p := newPlay(Advanced)
	_, _ = p.step(p.command(OpInvite, "A1", "B"))
	for _, c := range []Command{{From: 0, Seq: 99}, {From: 5, Seq: 6}, {From: 1, Seq: 1}} {
		c.Op, c.User = OpTold, "B"
		_, _ = p.step(c)
		if p.s.Find("B").Told != 0 {
			t.Errorf("acknowledged %d to %d: told %d", c.From, c.Seq, p.s.Find("B").Told)
		}
	}
}

// A command ID is one user's: the same bytes from another user are another command.
func TestCommandIDsArePerUser(t *testing.T) {
	p := newPlay(Advanced)
	c := p.command(OpInvite, "A1", "B")
	_, _ = p.step(c)
	accept := p.command(OpAccept, "B1")
	accept.Command = c.Command
	if _, err := p.step(accept); err != nil || p.s.StateOf("B") != Accepted {
		t.Errorf("B's accept under A's command ID: %v, B is %s", err, p.s.StateOf("B"))
	}
}
