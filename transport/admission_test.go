package transport

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

func wantRefused(t *testing.T, r *rig) {
	t.Helper()
	var te *quic.TransportError
	if _, err := r.tryDial(); !errors.As(err, &te) || te.ErrorCode != quic.ConnectionRefused {
		t.Errorf("dial: %v, want CONNECTION_REFUSED", err)
	}
}

func TestConnectionCap(t *testing.T) {
	inBubble(t, func(cfg *Config) { cfg.Limits.MaxConnections = 2 }, func(t *testing.T, r *rig) {
		first, g := r.login("alice", "")
		r.login("bob", "")
		wantRefused(t, r)
		if r.server.Stats().RefusedConnections.Load() == 0 {
			t.Error("the refusal was not counted")
		}
		_ = first.conn.CloseWithError(0, "")
		<-g.closed
		synctest.Wait()
		r.login("carol", "")
	})
}

// TestDeadHandshakesLeave says that a handshake that never ends gives its place back.
func TestDeadHandshakesLeave(t *testing.T) {
	inBubble(t, func(cfg *Config) { cfg.Limits.MaxConnections = 1 }, func(t *testing.T, r *rig) {
		tr, closeTransport := r.dialer()
		go func() { _, _ = tr.Dial(t.Context(), serverAddr, clientTLS(), nil) }()
		elapse(1500 * time.Microsecond) // the first packet has arrived, the answer not
		closeTransport()
		synctest.Wait()
		wantRefused(t, r)
		elapse(3 * handshakeIdle)
		r.login("alice", "")
	})
}

func TestDoor(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1000, 0)
	limits := Limits{MaxConnections: 100, MaxPerAddress: 2, MaxHandshakes: 100, HandshakesPerSecond: 100}

	t.Run("per address", func(t *testing.T) {
		d := newDoor(limits, new(Stats), easy)
		first, _ := d.enter(a, now)
		_, _ = d.enter(a, now)
		if _, err := d.enter(a, now); !errors.Is(err, errTooManyFromAddress) {
			t.Errorf("third from one address: %v", err)
		}
		if _, err := d.enter(b, now); err != nil {
			t.Errorf("another address: %v", err)
		}
		first.leave()
		if _, err := d.enter(a, now); err != nil {
			t.Errorf("after one has left: %v", err)
		}
	})
	t.Run("handshakes", func(t *testing.T) {
		limits := limits
		limits.MaxHandshakes, limits.MaxPerAddress = 16, 100
		d := newDoor(limits, new(Stats), easy)
		first, _ := d.enter(a, now)
		for range 3 {
			_, _ = d.enter(a, now)
		}
		if _, err := d.enter(a, now); !errors.Is(err, errTooManyHandshakes) {
			t.Errorf("more than a quarter from one address: %v", err)
		}
		if _, err := d.enter(b, now); err != nil {
			t.Errorf("another address: %v", err)
		}
		first.handshakeDone()
		first.handshakeDone()
		if _, err := d.enter(a, now); err != nil {
			t.Errorf("after one is done: %v", err)
		}
		if _, err := d.enter(a, now); !errors.Is(err, errTooManyHandshakes) {
			t.Errorf("one that is done twice made two places: %v", err)
		}
		for i := byte(3); d.all.handshakes < 16; i++ {
			if _, err := d.enter(netip.AddrFrom4([4]byte{192, 0, 2, i}), now); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.enter(netip.AddrFrom4([4]byte{192, 0, 3, 1}), now); !errors.Is(err, errTooManyHandshakes) {
			t.Errorf("more than all: %v", err)
		}
	})
	t.Run("busy", func(t *testing.T) {
		limits := limits
		limits.MaxHandshakes = 32
		d := newDoor(limits, new(Stats), easy)
		victim, other := &net.UDPAddr{IP: a.AsSlice()}, &net.UDPAddr{IP: b.AsSlice()}
		_, _ = d.enter(a, now)
		if d.busy(victim) || d.busy(other) {
			t.Error("busy with one handshake")
		}
		_, _ = d.enter(a, now)
		if !d.busy(victim) || d.busy(other) {
			t.Error("a quarter of an address's share must make that address, and only that, prove itself")
		}
		for i := byte(3); d.all.handshakes < 8; i++ {
			_, _ = d.enter(netip.AddrFrom4([4]byte{192, 0, 2, i}), now)
		}
		if !d.busy(other) {
			t.Error("not busy with a quarter of all handshakes")
		}
	})
	t.Run("rate", func(t *testing.T) {
		limits := limits
		limits.HandshakesPerSecond, limits.MaxPerAddress = 4, 100
		d := newDoor(limits, new(Stats), easy)
		for i, tt := range []struct {
			from netip.Addr
			want error
		}{{a, nil}, {a, nil}, {a, errTooManyHandshakes}, {b, nil}, {b, nil}, {netip.IPv6Loopback(), errTooManyHandshakes}} {
			if _, err := d.enter(tt.from, now); !errors.Is(err, tt.want) {
				t.Errorf("arrival %d: %v, want %v", i, err, tt.want)
			}
		}
		if _, err := d.enter(a, now.Add(500*time.Millisecond)); err != nil {
			t.Errorf("half a second later: %v", err)
		}
	})
	t.Run("forgets", func(t *testing.T) {
		d := newDoor(limits, new(Stats), easy)
		v, _ := d.enter(a, now)
		stays, _ := d.enter(b, now)
		v.leave()
		if d.forget(now); d.addresses[a] == nil {
			t.Error("an address was forgotten with its arrival")
		}
		if d.forget(now.Add(time.Second)); d.addresses[a] != nil || d.addresses[b] == nil {
			t.Errorf("a second later: %v, want only %v", d.addresses, b)
		}
		stays.leave()
		if d.forget(now.Add(time.Second)); len(d.addresses) != 0 || d.all.connections != 0 || d.all.handshakes != 0 {
			t.Errorf("after all have left: %+v", d)
		}
	})
}

// TestRetryUnderPressure says that clients get in, with one round trip more, when their addresses must be proved.
func TestRetryUnderPressure(t *testing.T) {
	inBubble(t, func(cfg *Config) { cfg.Limits.MaxHandshakes = 4 }, func(_ *testing.T, r *rig) {
		r.server.door.mu.Lock()
		r.server.door.all.handshakes = 2 // as if two were stuck
		r.server.door.mu.Unlock()
		r.login("alice", "")
	})
}

func TestAddressOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "::1": "::",
	} {
		got := addressOf(&net.UDPAddr{IP: net.ParseIP(in), Port: 1})
		if got.String() != want {
			t.Errorf("addressOf(%s) is %v, want %s", in, got, want)
		}
	}
	if addressOf(&net.TCPAddr{}).IsValid() {
		t.Error("an address that is not UDP has an address to count by")
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	now := time.Unix(1000, 0)
	if wait := b.charge(now, 10, 20, 20); wait != 0 {
		t.Errorf("within the burst: wait %v", wait)
	}
	if wait := b.charge(now, 10, 20, 5); wait != 500*time.Millisecond {
		t.Errorf("5 over the burst at 10 a second: wait %v", wait)
	}
	if wait := b.charge(now.Add(time.Second), 10, 20, 5); wait != 0 {
		t.Errorf("a second later: wait %v", wait)
	}
	if wait := b.charge(now.Add(time.Hour), 10, 20, 21); wait != 100*time.Millisecond {
		t.Errorf("after an hour the bucket is full and no fuller: wait %v", wait)
	}
}

func easy() Strain { return Easy }

// TestDoorUnderStrain: a node that is late takes up fewer handshakes at a time; one that refuses work lets fewer in.
func TestDoorUnderStrain(t *testing.T) {
	now, strain := time.Unix(1000, 0), Easy
	limits := Limits{MaxConnections: 1000, MaxPerAddress: 1000, MaxHandshakes: 320, HandshakesPerSecond: 160}
	d := newDoor(limits, new(Stats), func() Strain { return strain })
	enter := func(most int) int {
		var in []*visit
		for i := range byte(most) {
			if v, err := d.enter(netip.AddrFrom4([4]byte{192, 0, 2, i}), now); err == nil {
				in = append(in, v)
			}
		}
		for _, v := range in {
			v.leave()
		}
		return len(in)
	}
	if n := enter(50); n != 50 {
		t.Errorf("%d at ease", n)
	}
	strain = Late
	if n := enter(50); n != 40 {
		t.Errorf("%d handshakes at a time on a node that is late, want an eighth of 320", n)
	}
	now = now.Add(time.Minute)
	strain = Refusing
	if n := enter(50); n != 20 {
		t.Errorf("%d on a node that refuses work, want an eighth of 160 a second", n)
	}
}

// TestDoorCharges: an address whose connections come to nothing is soon refused; others are not, and it recovers.
func TestDoorCharges(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1000, 0)
	d := newDoor(Limits{MaxConnections: 1000, MaxPerAddress: 1000, MaxHandshakes: 1000, HandshakesPerSecond: 400}, new(Stats), easy)
	tries := 0
	for ; tries < 100; tries++ {
		v, err := d.enter(a, now)
		if err != nil {
			break
		}
		v.handshakeDone()
		v.failed(now)
		v.leave()
	}
	if tries != 5 { // 200 a second, 41 each: the last may fall short
		t.Errorf("refused after %d connections that came to nothing", tries)
	}
	if _, err := d.enter(b, now); err != nil {
		t.Errorf("another address: %v", err)
	}
	if _, err := d.enter(a, now.Add(20*time.Millisecond)); err == nil {
		t.Error("five failures are forgotten at once")
	}
	now = now.Add(40 * time.Millisecond) // 205 were spent of 200, and one is needed
	last, err := d.enter(a, now)
	if err != nil {
		t.Errorf("it has paid: %v", err)
	}
	for range 1000 {
		last.failed(now)
	}
	if _, err := d.enter(a, now.Add(time.Second)); err == nil {
		t.Error("many failures are forgotten within a second")
	}
	if _, err := d.enter(a, now.Add(1010*time.Millisecond)); err != nil {
		t.Errorf("in debt for more than a second: %v", err)
	}
}

// TestFailedConnectionsAreCharged: a login that is refused, and none of those that are not.
func TestFailedConnectionsAreCharged(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		spent := func() (sum float64) {
			r.server.door.mu.Lock()
			defer r.server.door.mu.Unlock()
			for _, one := range r.server.door.addresses {
				sum += one.arrivals.spent
			}
			return sum
		}
		p, g := r.login("alice", "")
		_ = p.conn.CloseWithError(0, "")
		<-g.closed
		synctest.Wait()
		if n := spent(); n > 1 {
			t.Errorf("a good connection was charged %v", n)
		}
		elapse(time.Second)
		q, err := r.tryDial()
		if err != nil {
			t.Fatal(err)
		}
		elapse(20 * time.Millisecond) // a handshake that the server has not finished may have a forged sender
		_ = q.conn.CloseWithError(0, "")
		for range 200 { // what is charged is paid off, so it has to be seen soon
			if elapse(time.Millisecond); spent() >= failed/2 {
				return
			}
		}
		t.Error("one without a login was not charged")
	})
}

// TestSlow: what a Handler adds holds the client back as frames do.
func TestSlow(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		p, g := r.login("alice", "")
		g.conn.Slow(600) // three seconds of frames, two of them are the burst's
		for range 3 {
			p.send(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, 100)}}})
		}
		elapse(500 * time.Millisecond)
		before := r.server.Stats().FramesIn.Load()
		elapse(time.Second)
		if after := r.server.Stats().FramesIn.Load(); after != before+2 {
			t.Errorf("%d frames were read after half a second, %d after a second and a half", before, after)
		}
	})
}
