package transport

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
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
