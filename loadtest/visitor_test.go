package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// doorkeeper is a server that knows logins and logouts only; what is told right behind a login is rings.
type doorkeeper struct {
	addr  string
	rings *wire.Event
	code  uint32 // of a login
}

func (d *doorkeeper) serve(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	side := &quic.Transport{Conn: packets}
	l, err := side.Listen(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{wire.ALPN}, MinVersion: tls.VersionTLS13,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.addr = packets.LocalAddr().String()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept(t.Context())
			if err != nil {
				return
			}
			d.talk(t.Context(), conn)
		}
	}()
	t.Cleanup(func() {
		_ = side.Close()
		_ = packets.Close()
		<-ended
	})
}

// talk serves one connection to its end.
func (d *doorkeeper) talk(ctx context.Context, conn *quic.Conn) {
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return
	}
	for frames := wire.NewReader(stream, wire.MaxServerFrame); ; {
		b, err := frames.Next()
		f := &wire.ClientFrame{}
		if err != nil || proto.Unmarshal(b, f) != nil {
			return
		}
		answer := &wire.Response{RequestId: f.GetRequestId()}
		var out []byte
		switch {
		case f.GetLogin() != nil:
			answer.Code = d.code
			answer.Result = &wire.Response_Login{Login: &wire.LoginResult{}}
			out, _ = wire.AppendFrame(nil, &wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: answer}})
			if d.rings != nil {
				out, _ = wire.AppendFrame(out, &wire.ServerFrame{Body: &wire.ServerFrame_Event{Event: d.rings}})
			}
			_, _ = stream.Write(out)
		case f.GetLogout() != nil:
			out, _ = wire.AppendFrame(nil, &wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: answer}})
			_, _ = stream.Write(out)
			_ = stream.Close()
			<-conn.Context().Done() // as a client must not wait for, after an answer
			return
		}
	}
}

// visited is a run with a doorkeeper, and a call whose story begins with a visitor's login.
func visited(t *testing.T, d *doorkeeper) (*run, *call) {
	t.Helper()
	d.serve(t)
	r := &run{name: "r", agenda: newAgenda(), book: newBook(), tally: newTally(10)}
	var err error
	if r.crowd, err = newCrowd([]string{d.addr}, 1, r.agenda, r.book.tell); err != nil {
		t.Fatal(err)
	}
	r.crowd.open(t.Context())
	seats, room := r.crowd.reserve(1)
	if !room {
		t.Fatal("no seat")
	}
	s := &story{name: "visit", cast: 2, visits: [maxCast]bool{roleB: true}}
	p := &plot{story: s}
	p.logIn(devB)
	p.list(devB)
	c := &call{run: r, name: "call", counts: true, seats: seats, machine: newMachine(s, people[:2], usual, time.Now())}
	r.book.add(c)
	return r, c
}

// until waits for what the reader of a connection brings about.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(loginTimeout); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func (c *crowd) seated() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seats
}

func TestAVisitorComesAndGoes(t *testing.T) {
	ring := &wire.Event{CallId: 9, Version: 1, Kind: &wire.Event_CallInvitationReceived{CallInvitationReceived: &wire.CallSnapshot{ExtendedData: "call"}}}
	r, c := visited(t, &doorkeeper{rings: ring})
	c.begin(time.Now())
	over := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.machine.ending != going
	}
	until(t, "the visitor heard nothing", over)
	if lines := strings.Join(c.machine.lines(), "\n"); !strings.Contains(lines, "B hears sync without the call\n") || !strings.Contains(c.machine.why, "B hears Received v0") {
		t.Errorf("what is told behind the login must come behind it:\n%s", lines)
	}
	if r.crowd.seated() != 1 {
		t.Errorf("%d seats are taken", r.crowd.seated())
	}
	c.retire(time.Now())
	until(t, "the seat is not free", func() bool { return r.crowd.seated() == 0 })
	if count, why := r.crowd.lost(); count != 0 {
		t.Errorf("lost %d: %v", count, why)
	}
	if err := r.crowd.close(); err != nil {
		t.Error(err)
	}
}

func TestAVisitorIsTurnedAway(t *testing.T) {
	for code, want := range map[uint32]ending{tooFrequent: refused, 6000103: wrong} {
		r, c := visited(t, &doorkeeper{code: code})
		c.begin(time.Now())
		until(t, "the seat is not free", func() bool { return r.crowd.seated() == 0 })
		c.mu.Lock()
		if c.machine.ending != want {
			t.Errorf("code %d ends the call as %d: %s", code, c.machine.ending, c.machine.why)
		}
		c.mu.Unlock()
		c.retire(time.Now())
		if count, why := r.crowd.lost(); count != 0 {
			t.Errorf("lost %d: %v", count, why)
		}
		if err := r.crowd.close(); err != nil {
			t.Error(err)
		}
	}
}

// A visitor who arrives when his call is over leaves at once, and whoever has not set out gives his seat up.
func TestAVisitorComesTooLate(t *testing.T) {
	r, c := visited(t, &doorkeeper{})
	c.begin(time.Now())
	c.retire(time.Now())
	until(t, "the seat is not free", func() bool { return r.crowd.seated() == 0 })
	if err := r.crowd.close(); err != nil {
		t.Error(err)
	}
	if count, why := r.crowd.lost(); count != 0 {
		t.Errorf("lost %d: %v", count, why)
	}
	seats, _ := r.crowd.reserve(2)
	one := &call{run: r, seats: seats, machine: newMachine(storyNamed("answered-elsewhere"), people[:3], usual, noon)}
	one.retire(noon)
	if r.crowd.seated() != 0 {
		t.Errorf("%d seats are taken", r.crowd.seated())
	}
}

// A connection that ends before the logout is a lost one.
func TestAVisitorIsLost(t *testing.T) {
	c := &crowd{visitors: map[*user]struct{}{}}
	seats, _ := c.reserve(3)
	for i, why := range []error{errLeft, errMute, errGone} {
		u := &user{name: "bob", crowd: c, seat: seats[i], lost: why}
		c.came(u)
		c.went(u)
	}
	count, why := c.lost()
	if got := strings.Join(why, "; "); count != 2 || got != "bob: no answer to the logout; bob: the connection is lost" || len(c.visitors) != 0 || c.seats != 0 {
		t.Errorf("lost %d: %s; %d seats are taken", count, got, c.seats)
	}
}

func TestSeatsAreLimited(t *testing.T) {
	c := &crowd{}
	seats, room := c.reserve(maxVisitors - 1)
	if !room || len(seats) != maxVisitors-1 {
		t.Fatalf("%d seats", len(seats))
	}
	if _, room = c.reserve(2); room || c.seats != maxVisitors-1 {
		t.Errorf("two more sit down, %d", c.seats)
	}
	seats[0].free()
	seats[0].free()
	if _, room = c.reserve(2); !room || c.seats != maxVisitors {
		t.Errorf("no room for two, %d", c.seats)
	}
	if _, room = c.reserve(0); !room {
		t.Error("a call without visitors needs no seat")
	}
}

// A call whose visitors have no seat is not begun, and is no failure.
func TestNoSeat(t *testing.T) {
	r, err := newRun(scenario{Mix: map[string]int{"late": 1}}, "r", &target{}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.crowd.seats = maxVisitors
	r.arrive(noon, noon, true)
	if r.tally.crowded != 1 || r.tally.offered != 0 || r.book.open() != 0 {
		t.Errorf("%d crowded, %d offered, %d open", r.tally.crowded, r.tally.offered, r.book.open())
	}
	out := &report{Calls: counts{Crowded: 1}}
	if out.judge(); len(out.Verdict) != 0 {
		t.Errorf("verdict %v", out.Verdict)
	}
}

// The cast of a call with a visitor: his name is of this call only, and he has no connection.
func TestVisitorsAreStrangers(t *testing.T) {
	r, err := newRun(scenario{}, "r", &target{}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"r-0", "r-1", "r-2", "r-3", "r-4"} {
		r.crowd.users = append(r.crowd.users, &user{name: name, device: firstID})
	}
	r.count = 7
	c := &call{}
	names := r.cast(c, storyNamed("switched"))
	if len(names) != 3 || names[roleB] != "r-B7" || c.devices[devB] != nil || c.devices[devA].name != names[roleA] || c.devices[devC].name != names[roleC] {
		t.Errorf("cast %v", names)
	}
}
