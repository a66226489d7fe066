package main

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"carillon/loadtest/link"
)

// startWorker starts a worker for a test, which has what it says.
func startWorker(t *testing.T) (addr string, said *journal) {
	t.Helper()
	return startWorkerTrusting(t, trust{})
}

// startWorkerWith is startWorker's for servers with tokens and a certificate.
func startWorkerWith(t *testing.T, ca string) (addr string, said *journal) {
	t.Helper()
	tr, err := newTrust(ca, false, longSecret)
	if err != nil {
		t.Fatal(err)
	}
	return startWorkerTrusting(t, tr)
}

func startWorkerTrusting(t *testing.T, tr trust) (addr string, said *journal) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said = &journal{}
	w := &worker{trust: tr, party: link.Party{Program: program()}, notes: said, busy: make(chan struct{}, 1), guest: make(chan struct{}, maxGuests)}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := w.serve(ctx, l); err != nil {
			t.Errorf("the worker ended: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); serving.Wait() })
	return l.Addr().String(), said
}

func dial(t *testing.T, addr string) *link.Conn {
	t.Helper()
	c, err := link.Dial(t.Context(), addr, link.Party{Program: program()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// failed is what a worker says at last.
func failed(t *testing.T, c *link.Conn) string {
	t.Helper()
	for {
		var w word
		if err := c.Receive(&w); err != nil {
			return err.Error()
		}
		if w.Failed != "" {
			return w.Failed
		}
	}
}

// deaf is an address that answers nothing.
func deaf(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

func goodJob(t *testing.T) job {
	t.Helper()
	s, err := loadScenario("setup")
	if err != nil {
		t.Fatal(err)
	}
	s.Users = 10
	return job{Run: "r1w1", Scenario: s, Addrs: []string{deaf(t)}, Sockets: 1}
}

// A worker takes no order that it cannot do, and says why.
func TestBadOrders(t *testing.T) {
	addr, _ := startWorker(t)
	for want, spoil := range map[string]func(*job){
		"run:":                 func(j *job) { j.Run = "../x" },
		"addrs:":               func(j *job) { j.Addrs = nil },
		"sockets:":             func(j *job) { j.Sockets = 1000 },
		"delay:":               func(j *job) { j.Delay = -1 },
		"users: 1 ":            func(j *job) { j.Scenario.Users = 1 },
		"mix.none":             func(j *job) { j.Scenario.Mix = map[string]int{"none": 1} },
		"-token-secret":        func(j *job) { j.Tokens = true },
		"not a loopback":       func(j *job) { j.Addrs = []string{"192.0.2.1:7443"} },
		"missing port":         func(j *job) { j.Addrs = []string{"127.0.0.1"} },
		"first order has no j": nil,
	} {
		o := order{Begin: warming}
		if spoil != nil {
			j := goodJob(t)
			spoil(&j)
			o = order{Job: &j}
		}
		c := dial(t, addr)
		if err := c.Send(o); err != nil {
			t.Fatal(err)
		}
		if got := failed(t, c); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		c.Close()
		waitFree(t, addr)
	}
}

// waitFree waits until the worker takes orders again.
func waitFree(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c := dial(t, addr)
		if err := c.Send(order{}); err != nil { // refused at once, or waits for more
			continue
		}
		if err := c.Send(order{Begin: warming}); err != nil {
			continue
		}
		got := failed(t, c)
		c.Close()
		if strings.Contains(got, "first order has no job") {
			return
		}
	}
	t.Fatal("the worker does not come back to work")
}

// A coordinator that goes away ends the run at once; meanwhile no other one has a worker; then another may.
func TestTheCoordinatorLeaves(t *testing.T) {
	addr, said := startWorker(t)
	c := dial(t, addr)
	j := goodJob(t)
	if err := c.Send(order{Job: &j}); err != nil {
		t.Fatal(err)
	}
	for at := starting; at != loggingIn; {
		var w word
		if err := c.Receive(&w); err != nil || w.Pulse == nil {
			t.Fatalf("%+v %v", w, err)
		}
		at = w.Pulse.Phase
	}
	if got := failed(t, dial(t, addr)); !strings.Contains(got, "at work") {
		t.Errorf("a second coordinator hears %q", got)
	}
	c.Close()
	waitFree(t, addr)
	if !strings.Contains(said.tail(), "the connection was closed") {
		t.Errorf("the worker says %s", said.tail())
	}
}

// Too many orders, and garbage, end a run.
func TestRudeCoordinators(t *testing.T) {
	addr, _ := startWorker(t)
	for want, rude := range map[string]func(*link.Conn){
		"too many orders": func(c *link.Conn) {
			for range 100 {
				_ = c.Send(order{Begin: warming}) // it stops to listen
			}
		},
		"no frame": func(c *link.Conn) { _ = c.Send("hello") },
	} {
		c := dial(t, addr)
		j := goodJob(t)
		if err := c.Send(order{Job: &j}); err != nil {
			t.Fatal(err)
		}
		rude(c)
		if got := failed(t, c); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		c.Close()
		waitFree(t, addr)
	}
}

// What is no coordinator is shown the door, and the worker goes on.
func TestNoise(t *testing.T) {
	addr, said := startWorker(t)
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := io.WriteString(raw, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(raw) // until it hangs up
	waitFree(t, addr)
	if !strings.Contains(said.tail(), "is no coordinator of mine") {
		t.Errorf("the worker says %s", said.tail())
	}
}
