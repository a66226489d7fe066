package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/loadtest/link"
)

func TestParted(t *testing.T) {
	whole := job{Run: "r1", Seed: 7, Scenario: scenario{Users: 1003, Rate: 100, AuditCalls: 10}}
	parts, err := parted(whole, 3)
	if err != nil {
		t.Fatal(err)
	}
	users, audits, rate, names := 0, 0, 0.0, map[string]bool{}
	for i, p := range parts {
		users, audits, rate = users+p.Scenario.Users, audits+p.Scenario.AuditCalls, rate+p.Scenario.Rate
		names[p.Run] = true
		if p.Scenario.Users < 334 || p.Seed != uint64(7+i) || p.Delay != time.Duration(i)*10*time.Millisecond {
			t.Errorf("part %d: %+v", i, p)
		}
	}
	if users != 1003 || audits != 10 || rate < 99.99 || rate > 100.01 || len(names) != 3 {
		t.Errorf("%d users, %d to be audited, %v/s, %v", users, audits, rate, names)
	}
	if _, err := parted(job{Scenario: scenario{Users: 14}}, 3); err == nil || !strings.Contains(err.Error(), "users: 14") {
		t.Errorf("too few users: %v", err)
	}
}

// scripted is a worker that says what a test has it say. It ends with its connection.
func scripted(t *testing.T, play func(*link.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var playing sync.WaitGroup
	playing.Go(func() {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		c, err := link.Accept(raw, link.Party{Program: program()})
		if err != nil {
			return
		}
		var o order
		if c.Receive(&o) == nil {
			play(c)
		}
		for err == nil {
			err = c.Receive(&o)
		}
	})
	t.Cleanup(func() { l.Close(); playing.Wait() })
	return l.Addr().String()
}

// coordinator is a run whose workers do all.
func coordinator(t *testing.T, addrs ...string) *run {
	t.Helper()
	s, err := loadScenario("setup")
	if err != nil {
		t.Fatal(err)
	}
	s.Duration = 100 * time.Millisecond
	r, err := newRun(s, "r1", &target{addrs: []string{"127.0.0.1:1"}, about: "x"}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.crew, err = hire(t.Context(), addrs, link.Party{Program: program()}, job{Run: "r1", Scenario: s, Addrs: r.target.addrs, Sockets: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.crew.close() })
	return r
}

func hush(string, ...any) {}

// obedient plays a part as it must be, without calls.
func obedient(c *link.Conn) { obey(c, phases) }

// obey plays until it has been let into a phase.
func obey(c *link.Conn, until phase) {
	for p := warming; p <= min(until, auditing); p++ {
		_ = c.Send(word{Pulse: &pulse{Phase: p - 1, LoggedIn: 5, Online: 5, Begun: 3, Wrong: 1, Codes: map[uint32]int{tooFrequent: 1}}})
		_ = c.Send(word{Awaits: p})
		for o := (order{}); o.Begin != p; {
			if c.Receive(&o) != nil {
				return
			}
		}
	}
	if until == phases {
		_ = c.Send(word{Report: &report{Run: "r1w1", Calls: counts{Offered: 3, Right: 2, Wrong: 1}}})
	}
}

func TestCrew(t *testing.T) {
	r := coordinator(t, scripted(t, obedient), scripted(t, obedient))
	u, _, err := r.do(t.Context(), hush)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.pulse(); p.LoggedIn != 10 || p.Begun != 18 || p.Codes[tooFrequent] != 6 || p.Phase != auditing {
		t.Errorf("%+v", p)
	}
	if p := r.pulse(); p.Begun != 0 || p.Online != 10 {
		t.Errorf("again %+v", p)
	}
	whole, err := r.crew.merged(r.report(u, nil))
	if err != nil || whole.Calls.Right != 4 || whole.Run != "r1" || whole.Scenario.Users != r.scenario.Users || len(whole.Verdict) != 1 {
		t.Errorf("%v: %+v", err, whole)
	}
}

// Users of a part that is done are online until all are.
func TestStay(t *testing.T) {
	r := &report{Seconds: []second{{At: 1, Online: 5, InFlight: 3}, {At: 2.1, Online: 4, InFlight: 3}}}
	r.stay(&report{Seconds: []second{{At: 1}, {At: 3.9}}})
	if n := len(r.Seconds); n != 4 || r.Seconds[3].At != 4 || r.Seconds[3].Online != 4 || r.Seconds[3].InFlight != 0 {
		t.Errorf("%+v", r.Seconds)
	}
	(&report{}).stay(&report{})
}

// A worker that does not do as the others ends the run, with its name and the reason.
func TestBadWorkers(t *testing.T) {
	for want, play := range map[string]func(*link.Conn){
		"the connection was closed": func(c *link.Conn) { obey(c, warming); c.Close() },
		"awaits the audit":          func(c *link.Conn) { _ = c.Send(word{Awaits: auditing}) },
		"awaits the warm-up":        func(c *link.Conn) { _ = c.Send(word{Awaits: warming}); _ = c.Send(word{Awaits: warming}) },
		"reports before":            func(c *link.Conn) { obey(c, warming); _ = c.Send(word{Report: &report{}}) },
		"out of users?":             func(c *link.Conn) { obey(c, measuring); _ = c.Send(word{Failed: "out of users\x1b"}) },
		"no frame of a load test":   func(c *link.Conn) { obey(c, warming); _ = c.Send([]int{1}) },
	} {
		bad := scripted(t, play)
		r := coordinator(t, scripted(t, obedient), bad)
		_, _, err := r.do(t.Context(), hush)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%v, want %s of %s", err, want, bad)
		}
	}
}

// A worker that is there and does nothing is waited for only so long.
func TestALazyWorker(t *testing.T) {
	lazy := scripted(t, func(*link.Conn) {})
	r := coordinator(t, lazy)
	if err := r.crew.await(t.Context(), warming, 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), lazy+": is not ready for warm-up") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.crew.await(ctx, warming, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for p := loggingIn; p < phases; p++ {
		if d := r.phaseWithin(p); d < 10*time.Second || d > time.Hour {
			t.Errorf("%v may take %v", p, d)
		}
	}
}

// A worker that is not there, or has another secret, is named before anything begins.
func TestHire(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	s := scenario{Users: 100}
	if _, err := hire(t.Context(), []string{nobody}, link.Party{}, job{Scenario: s}); err == nil || !strings.Contains(err.Error(), nobody) {
		t.Errorf("%v", err)
	}
	there := scripted(t, obedient)
	if _, err := hire(t.Context(), []string{there}, link.Party{Program: "another"}, job{Scenario: s}); err == nil || !strings.Contains(err.Error(), "another build") {
		t.Errorf("%v", err)
	}
}

// The command line of a run on several machines, and what is wrong with others.
func TestRemoteOptions(t *testing.T) {
	o, err := parseOptions(strings.Fields("-worker :7400 -load-cpus 0"), io.Discard)
	if err != nil || o.worker != "127.0.0.1:7400" {
		t.Errorf("%s %v", o.worker, err)
	}
	o, err = parseOptions(strings.Fields("-workers 127.0.0.1:1,192.0.2.1:1 -secret "+longSecret+" -addr 192.0.2.2:7443 -insecure"), io.Discard)
	if err != nil || len(o.workers) != 2 || !o.trust.insecure {
		t.Errorf("%+v %v", o.remote, err)
	}
	o, err = parseOptions(strings.Fields("-spawn 1 -token-secret "+longSecret), io.Discard)
	if err != nil || !strings.Contains(strings.Join(o.settings, " "), "CARILLON_AUTH_MODE=jwt") {
		t.Errorf("%v %v", o.settings, err)
	}
	for line, want := range map[string]string{
		"-worker 0.0.0.0:7400":                              "16 bytes",
		"-worker 0.0.0.0:7400 -secret short":                "16 bytes",
		"-worker 7400":                                      "not host:port",
		"-worker :7400 -users 5":                            "-users",
		"-worker :7400 -load-cpus x":                        "-load-cpus",
		"-workers 192.0.2.1:1 -addr 127.0.0.1:1":            "16 bytes",
		"-workers 192.0.2.1:1 -spawn 1":                     "-spawn",
		"-workers 127.0.0.1:1,127.0.0.1:1 -addr a:1":        "twice",
		"-workers a -addr a:1":                              "not host:port",
		"-workers :7400 -addr a:1":                          "not host:port",
		"-addr a:1 -ca nowhere.pem":                         "-ca",
		"-addr a:1 -secret @nowhere":                        "-secret",
		"-addr a:1 -token-secret x":                         "-token-secret",
		"-addr a:1 -workers " + strings.Repeat("a:1,", 100): "more than 64",
	} {
		if _, err := parseOptions(strings.Fields(line), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}
