package main

import (
	"fmt"
	"testing"

	"carillon/transport/wire"
)

// answered is a scene in which b has accepted on b1.
func answered(t *testing.T, on venue, mode wire.CallMode) *scene {
	s := newScene(t, on, mode, 90)
	s.b1.must(&wire.CallAccept{CallId: s.id, ExtendedData: "yes"})
	for _, c := range []*rawClient{s.a1, s.b1, s.b2, s.c} {
		c.skip(s.id)
	}
	return s
}

func rowCallingInvite(t *testing.T, on venue, mode wire.CallMode) {
	s := answered(t, on, mode)
	d := s.join("d", "d1")
	s.b1.send(&wire.CallingInvite{CallId: s.id, Invitees: s.names("d"), TimeoutS: 40, ExtendedData: "come"})
	invited := `USC v3 by b/b1: [d INVITING] started`
	all(invited, s.a1, s.c)
	users := `[a ACCEPTED "hi", b ACCEPTED "come", c INVITING, d INVITING]`
	s.b1.expect(invited, fmt.Sprintf(`result advanced a v3 90s "hi" %s started/started inviter a main`, users))
	d.expect(fmt.Sprintf(`Received v3 by b/b1: advanced a v3 40s "come" %s started/started inviter b ringing`, users))
	s.rest(d)

	d.must(&wire.CallReject{CallId: s.id})
	all(`USC v4 by d/d1 rejected: [d REJECTED rejected] started`, s.a1, s.b1, s.c)
	s.rest(d)
	s.b1.must(&wire.CallingInvite{CallId: s.id, Invitees: s.names("d")})
	all(`USC v5 by b/b1: [d INVITING] started`, s.a1, s.c)
	if again := d.print(d.next()); again != `Received v5 by b/b1: advanced a v5 90s "hi" [a ACCEPTED "hi", b ACCEPTED, c INVITING, d INVITING] started/started inviter b ringing` {
		t.Errorf("invited again, d heard\n\t%s", again)
	}
	s.rest(d)
}

func rowSwitchDevice(t *testing.T, on venue, mode wire.CallMode) {
	s := answered(t, on, mode)
	s.b2.send(&wire.CallJoin{CallId: s.id, ExtendedData: "here"})
	f := s.b2.next()
	if got, want := s.b2.print(f), `result advanced a v3 90s "hi" [a ACCEPTED "hi", b ACCEPTED "here", c INVITING] started/started inviter a main`; got != want {
		t.Fatalf("join answered\n\t%s\nwant\n\t%s", got, want)
	}
	if times := f.GetResponse().GetTimes(); times.GetJoinTimeMs() == 0 || times.GetCreateTimeMs() == 0 || times.GetAcceptTimeMs() == 0 {
		t.Errorf("join's times: %v", times)
	}
	s.b1.expect(`USC v3 by b/b2 moved_to_other_device: [b ACCEPTED "here"] started`)
	s.rest()
	s.c.must(&wire.CallAccept{CallId: s.id})
	all(`USC v4 by c/c1: [c ACCEPTED] started`, s.a1, s.b2)
	s.rest()
}

func rowJoin(t *testing.T, on venue, mode wire.CallMode) {
	s := answered(t, on, mode)
	e := s.join("e", "e1")
	e2 := s.join("e", "e2")
	e.send(&wire.CallJoin{CallId: s.id, ExtendedData: "me"})
	e.expect(`result advanced a v3 90s "hi" [a ACCEPTED "hi", b ACCEPTED "yes", c INVITING, e ACCEPTED "me"] started/started main`)
	all(`USC v3 by e/e1: [e ACCEPTED "me"] started`, s.a1, s.b1, s.c)
	s.rest(e, e2)
	s.c.must(&wire.CallReject{CallId: s.id})
	all(`USC v4 by c/c1 rejected: [c REJECTED rejected] started`, s.a1, s.b1, e)
	s.rest(e, e2)
}

func rowQuit(t *testing.T, on venue, mode wire.CallMode) {
	s := answered(t, on, mode)
	s.b1.send(&wire.CallQuit{CallId: s.id, ExtendedData: "bye"})
	quit := `USC v3 by b/b1: [b QUIT "bye"] started`
	all(quit, s.a1, s.c)
	s.b1.either(quit, `result advanced a v3 90s "hi" [a ACCEPTED "hi", b QUIT "bye", c INVITING] started/ended inviter a`)
	s.rest()
	s.c.must(&wire.CallAccept{CallId: s.id})
	s.a1.expect(`USC v4 by c/c1: [c ACCEPTED] started`)
	s.rest()
}

func rowEnd(t *testing.T, on venue, mode wire.CallMode) {
	s := answered(t, on, mode)
	d := s.join("d", "d1")
	s.a1.must(&wire.CallingInvite{CallId: s.id, Invitees: s.names("d")})
	d.must(&wire.CallReject{CallId: s.id})
	for _, c := range []*rawClient{s.a1, s.a2, s.b1, s.b2, s.c, d} {
		c.skip(s.id)
	}
	s.b1.send(&wire.CallEnd{CallId: s.id, ExtendedData: "enough"})
	ended := `Ended v5 by b/b1 ended_by_user: caller a operated b advanced "enough"`
	all(ended, s.a1, s.c)
	s.b1.expect(ended, `result advanced a v5 90s "hi" [a ACCEPTED, b ACCEPTED "enough", c INVITING, d REJECTED rejected] ended/ended inviter a main ended_by_user`)
	s.rest(d)
}
