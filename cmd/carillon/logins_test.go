package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

func TestLoginParameters(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	for name, tc := range map[string]struct {
		user, device, field string
		platform            wire.Platform
	}{
		"no user":            {"", "d1", "user_id", 0},
		"long user":          {letters(33), "d1", "user_id", 0},
		"user with a slash":  {"a/b", "d1", "user_id", 0},
		"no device":          {"a", "", "device_id", 0},
		"long device":        {"a", letters(65), "device_id", 0},
		"device with a star": {"a", "d*", "device_id", 0},
		"longest names":      {letters(32), letters(64), "", 0},
		"odd names":          {"!#$%&()+-:;<=.>?@[]^_ {}|~", "!#$%&()+-:;<=.>?@[]^_ {}|~", "", 0},
		"unknown platform":   {"p", "d1", "", 99},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dialRaw(t, n.Addr().String())
			r := c.do(&wire.Login{UserId: tc.user, DeviceId: tc.device, Platform: tc.platform})
			if tc.field == "" {
				if r.GetCode() != 0 || r.GetLogin().GetSessionId() == "" || r.GetLogin().GetServerTimeMs() == 0 || r.GetLogin().GetNode() != "n1" {
					t.Errorf("login answered %v", r)
				}
				c.must(&wire.QueryCallInvitationList{})
				return
			}
			if r.GetCode() != 6000001 || !strings.Contains(r.GetMessage(), tc.field) {
				t.Errorf("login answered %d %q, want 6000001 and the name %s", r.GetCode(), r.GetMessage(), tc.field)
			}
			if code := c.ends(); code != wire.CloseLoginRefused {
				t.Errorf("closed with %d, want %d", code, wire.CloseLoginRefused)
			}
		})
	}
}

func TestNothingBeforeALogin(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	c := dialRaw(t, n.Addr().String())
	for _, m := range []proto.Message{
		&wire.CallInvite{Invitees: []string{"b"}}, &wire.CallInvite{}, &wire.CallEnd{CallId: 1}, &wire.Logout{},
		&wire.RenewToken{Token: "x"}, &wire.QueryCallInvitationList{},
	} {
		if r := c.do(m); r.GetCode() != 6000121 {
			t.Errorf("%T before a login: %d %s, want 6000121", m, r.GetCode(), r.GetMessage())
		}
	}
	c.must(&wire.Login{UserId: "a", DeviceId: "a1"})
	if r := c.do(&wire.Login{UserId: "b", DeviceId: "b1"}); r.GetCode() != 6000001 {
		t.Errorf("second login: %d %s, want 6000001", r.GetCode(), r.GetMessage())
	}
	r := c.must(&wire.CallInvite{Invitees: []string{"b"}})
	if r.GetCall().GetCaller() != "a" {
		t.Errorf("after a second login the caller is %s", r.GetCall().GetCaller())
	}
	c.must(&wire.RenewToken{Token: "any"})
}

func TestSameDeviceAgain(t *testing.T) {
	t.Parallel()
	k := newCast(t, newNode(t, nil))
	old, b := k.join("a", "a1"), k.join("b", "b1")
	id := old.must(&wire.CallInvite{Invitees: k.names("b")}).GetCall().GetCallId()
	old.skip(id)
	b.skip(id)
	young := k.join("a", "a1", &wire.KnownCall{CallId: id, Version: 1})
	old.expect(`KickedOut by a1`)
	if code := old.ends(); code != wire.CloseKickedOut {
		t.Errorf("closed with %d, want %d", code, wire.CloseKickedOut)
	}
	young.silent(id)
	b.silent(id)
	young.must(&wire.CallCancel{CallId: id})
}

func TestOneDeviceTooMany(t *testing.T) {
	t.Parallel()
	k := newCast(t, newNode(t, nil))
	var devices []*rawClient
	for _, d := range numbered("d", 10) {
		devices = append(devices, k.join("a", d))
	}
	for i := range devices {
		if i != 4 {
			devices[i].must(&wire.QueryCallInvitationList{}) // a sign of life later than d4's login
		}
	}
	k.join("a", "d10").must(&wire.QueryCallInvitationList{})
	devices[4].expect(`KickedOut by d10`)
	if code := devices[4].ends(); code != wire.CloseKickedOut {
		t.Errorf("closed with %d, want %d", code, wire.CloseKickedOut)
	}
	for i, c := range devices {
		if i != 4 {
			c.must(&wire.QueryCallInvitationList{})
		}
	}
}

func TestStrictRegistration(t *testing.T) {
	t.Parallel()
	for engine, tune := range map[string]func(*Config){"memory": func(*Config) {}, "pebble": pebble} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, func(cfg *Config) {
				tune(cfg)
				cfg.Users.Registration = "strict"
			})
			s := &scene{cast: newCast(t, n)}
			s.a1 = s.join("a", "a1")
			s.join("b", "b1").must(&wire.Logout{})
			for _, tc := range []struct {
				invitees []string
				code     uint32
				users    string
			}{
				{[]string{"u", "v"}, 6000281, "u=6000281 v=6000281"},
				{[]string{"u", "a"}, 6000001, "u=6000281 a=6000001"},
				{[]string{"u", "b"}, 0, "u=6000281"},
			} {
				r := s.a1.do(&wire.CallInvite{Invitees: s.names(tc.invitees...), Mode: advanced})
				if r.GetCode() != tc.code || s.errorUsers(r) != tc.users {
					t.Errorf("inviting %v: %d, error users %s, want %d, %s", tc.invitees, r.GetCode(), s.errorUsers(r), tc.code, tc.users)
				}
				if s.id = r.GetCall().GetCallId(); tc.code != 0 && s.id != 0 {
					t.Errorf("inviting %v: refused with a call", tc.invitees)
				}
			}
			if r := s.a1.do(add("u")(s)); r.GetCode() != 6000281 || s.errorUsers(r) != "u=6000281" {
				t.Errorf("callingInvite: %d, error users %s, want 6000281, u=6000281", r.GetCode(), s.errorUsers(r))
			}
		})
	}
}

func TestOnlyTheInvitedJoin(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(cfg *Config) { cfg.Call.JoinPolicy = "invited" })
	s, e := rejected.set(t, n, advanced, "e")
	if r := e.do(joinIt(s)); r.GetCode() != 6000274 || r.GetCall() != nil {
		t.Errorf("an outsider joins: %d with call %v, want 6000274 without", r.GetCode(), r.GetCall())
	}
	s.b1.must(joinIt(s))
	s.a1.must(quitIt(s))
	s.a1.must(joinIt(s))
}

// TestTooFrequent: the burst passes, more is refused with the time to wait, and nothing of it is applied; heartbeats and
// receipts are free, and a parameter is refused first.
func TestTooFrequent(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(cfg *Config) {
		cfg.Limits.RequestsPerSecond, cfg.Limits.RequestsBurst, cfg.Limits.InFlightPerDevice = 1, 60, 200
	})
	k := newCast(t, n)
	a, b := k.join("a", "a1"), k.join("b", "b1")
	for range 100 {
		if err := a.write(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, 32)}}}); err != nil {
			t.Fatal(err)
		}
		a.send(&wire.InvitationReceipt{CallId: 4711})
	}
	for i, r := range a.burst(60, &wire.QueryCallInvitationList{}) {
		if r.GetCode() != 0 {
			t.Errorf("request %d of the burst: %d %s", i, r.GetCode(), r.GetMessage())
		}
	}
	made, refused, unseen := 0, 0, 0
	for refused < 10 || unseen < 3 { // a slow machine earns a request now and then
		for _, r := range a.burst(10, &wire.CallInvite{Invitees: k.names("b")}) {
			if r.GetCode() == 0 {
				made++
				continue
			}
			refused++
			if r.GetCode() != 6000005 || r.GetRetryAfterMs() == 0 || r.GetRetryAfterMs() > 1000 || r.GetCall() != nil {
				t.Fatalf("beyond the burst: %v", r)
			}
		}
		for _, r := range a.burst(3, &wire.CallEnd{CallId: 4711}) {
			if r.GetCode() == 6000005 {
				unseen++ // before anybody has looked whether there is such a call
			}
		}
		if r := a.do(&wire.CallInvite{}); r.GetCode() != 6000001 {
			t.Fatalf("a bad parameter beyond the rate: %d, want 6000001", r.GetCode())
		}
	}
	if calls := b.must(&wire.QueryCallInvitationList{}).GetList().GetCalls(); len(calls) != min(made, 20) {
		t.Errorf("%d calls of %d invitations that were not refused", len(calls), made)
	}
}

// burst sends n requests without waiting and gives their answers in the order of arrival.
func (c *rawClient) burst(n int, m proto.Message) []*wire.Response {
	c.t.Helper()
	for range n {
		c.send(m)
	}
	var out []*wire.Response
	for len(out) < n {
		if r := c.next().GetResponse(); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// TestBurstAtOnce: a device may send its burst without waiting for answers.
func TestBurstAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(cfg *Config) {
		cfg.Limits.RequestsPerSecond, cfg.Limits.RequestsBurst = Default().Limits.RequestsPerSecond, Default().Limits.RequestsBurst
		cfg.Persistence.Engine = "pebble"
	})
	k := newCast(t, n)
	a := k.join("a", "a1")
	for i, r := range a.burst(60, &wire.CallInvite{Invitees: k.names("b")}) {
		if r.GetCode() != 0 {
			t.Errorf("answer %d: %d %s", i, r.GetCode(), r.GetMessage())
		}
	}
}

func TestHeartbeatIsEchoed(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(cfg *Config) {
		cfg.Heartbeat.Interval, cfg.Heartbeat.Timeout = 100*time.Millisecond, 2*time.Second
	})
	c := newCast(t, n).join("a", "a1")
	if l := c.login; l.GetHeartbeatIntervalMs() != 100 || l.GetHeartbeatTimeoutMs() != 2000 {
		t.Errorf("login tells heartbeats %d and %d ms", l.GetHeartbeatIntervalMs(), l.GetHeartbeatTimeoutMs())
	}
	padding := slices.Repeat([]byte{7}, 40)
	for {
		echo := <-c.echoes
		if len(echo) == wire.MinHeartbeat {
			if err := c.write(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: padding}}}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !slices.Equal(echo, padding) {
			t.Errorf("padding comes back as %v", echo)
		}
		return
	}
}
