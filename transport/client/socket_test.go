package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// onLoopback starts a server on a real socket that answers logins and queries.
func onLoopback(t testing.TB) (*server, Config) {
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, packets, func(p *peer, f *wire.ClientFrame) {
		switch f.Body.(type) {
		case *wire.ClientFrame_Login:
			p.answer(f, &wire.Response{Result: &wire.Response_Login{Login: &wire.LoginResult{HeartbeatIntervalMs: 10000}}})
		case *wire.ClientFrame_QueryCallInvitationList:
			p.answer(f, &wire.Response{})
		}
	})
	t.Cleanup(s.close)
	return s, Config{
		Addresses: []string{packets.LocalAddr().String()}, UserID: "alice", DeviceID: "phone", TLS: &tls.Config{RootCAs: roots}, OnEvent: func(Event) {},
	}
}

func dialled(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := Dial(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The connection survives moving to new sockets.
func TestMigrate(t *testing.T) {
	s, cfg := onLoopback(t)
	c := dialled(t, cfg)
	p := wait(t, s.peers)
	for range maxMoves {
		before := p.conn.RemoteAddr().String()
		if err := c.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.QueryCallInvitationList(t.Context(), 1, 0); err != nil {
			t.Fatal(err)
		}
		if after := p.conn.RemoteAddr().String(); after == before {
			t.Errorf("the server still sees %s", after)
		}
	}
	if c.State() != Connected || len(s.peers) != 0 {
		t.Errorf("state %v, %d more connections", c.State(), len(s.peers))
	}
}

// A connection that has moved as often as it can is replaced.
func TestMigrateTooOften(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		for i := range maxMoves {
			if err := c.Migrate(context.Background()); err != nil {
				t.Fatalf("move %d: %v", i, err)
			}
		}
		done := later(t, func() (any, error) { return nil, c.Migrate(context.Background()) })
		w.login(nil)
		if _, err := done(); err != nil {
			t.Error(err)
		}
		if code := p.closeCode(t); code != wire.CloseGoingAway {
			t.Errorf("closed with %d", code)
		}
	})
}

func TestMigrateFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		var fail bool
		boom := errors.New("no interface")
		cfg.Listen = func() (net.PacketConn, error) {
			if fail {
				return nil, boom
			}
			return w.net.listen()
		}
		c, p := w.connect(cfg)
		fail = true
		if err := c.Migrate(context.Background()); !errors.Is(err, boom) {
			t.Errorf("no socket: err = %v", err)
		}
		fail = false
		w.net.setCut(true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.Migrate(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no path: err = %v", err)
		}
		w.net.setCut(false)
		done := later(t, func() (CallInvitationList, error) { return c.QueryCallInvitationList(context.Background(), 1, 0) })
		p.answer(wait(t, p.frames), &wire.Response{})
		if _, err := done(); err != nil {
			t.Errorf("after the failed move: %v", err)
		}
	})
}

// The watch moves the connection when the way to the server leaves from another address, and keeps trying.
func TestAddressWatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		local := "10.0.0.1"
		cfg := w.config()
		c, p := w.connect(cfg)
		c.route = func(string) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			if local == "" {
				return "", errors.New("network unreachable")
			}
			return local, nil
		}
		c.running.Go(c.watchAddress)
		set := func(s string) {
			mu.Lock()
			local = s
			mu.Unlock()
			tick := time.NewTimer(2 * c.cfg.MigrateEvery)
			<-tick.C
			synctest.Wait()
		}
		before := p.conn.RemoteAddr().String()
		set("10.0.0.1")
		set("")
		if now := p.conn.RemoteAddr().String(); now != before {
			t.Errorf("moved to %s without cause", now)
		}
		set("10.0.0.2")
		if now := p.conn.RemoteAddr().String(); now == before {
			t.Error("did not move")
		}
		if c.State() != Connected {
			t.Errorf("state %v", c.State())
		}
	})
}

func TestLocalAddress(t *testing.T) {
	if a, err := localAddress("127.0.0.1:9"); err != nil || a != "127.0.0.1" {
		t.Errorf("%q, %v", a, err)
	}
	if _, err := localAddress("127.0.0.1"); err == nil {
		t.Error("no error without a port")
	}
}

// Many clients share one socket, and cost one goroutine each besides the two of their QUIC connection.
func TestSharedTransport(t *testing.T) {
	_, cfg := onLoopback(t)
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Transport = &quic.Transport{Conn: packets}
	t.Cleanup(func() { _ = cfg.Transport.Close(); _ = packets.Close() })
	first := dialled(t, cfg)
	if err := first.Migrate(t.Context()); !errors.Is(err, BadParameter) {
		t.Errorf("Migrate on a shared socket: err = %v", err)
	}
	const n = 20
	before := runtime.NumGoroutine()
	for range n {
		dialled(t, cfg)
	}
	const each = 3 + 4 // the client's, and those of the server of this test
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before+n*each && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if got := runtime.NumGoroutine() - before; got > n*each {
		t.Errorf("%d goroutines for %d clients and their server", got, n)
	}
}

func TestInsecureOnLoopback(t *testing.T) {
	_, cfg := onLoopback(t)
	cfg.TLS = nil
	if _, err := Dial(t.Context(), cfg); !errors.Is(err, ConnectionLost) {
		t.Errorf("an unknown certificate: err = %v", err)
	}
	cfg.Insecure = true
	dialled(t, cfg)
}

// CONNECTION_REFUSED is what a full server says: Dial tries again.
func TestConnectionRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		refusals := 3
		at := net.UDPAddrFromAddrPort(mustAddrPort("1.0.0.2:7443"))
		full, err := startServer(simnetSocket(w.net, at), nil, func(tr *quic.Transport) {
			tr.ConnContext = func(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
				mu.Lock()
				defer mu.Unlock()
				if refusals--; refusals >= 0 {
					return nil, errors.New("full")
				}
				return ctx, nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg := w.config()
		cfg.Addresses = []string{"1.0.0.2:7443"}
		dialled := w.dial(cfg)
		acceptLogin(t, full, nil)
		c, err := dialled()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		full.close()
	})
}

// A server that is restarted on the same address is noticed by the next frame, through a stateless reset.
func TestServerRestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, _ := w.connect(w.config())
		w.net.setCut(true) // a crash says nothing
		w.server.close()
		w.net.setCut(false)
		w.server = w.listen(serverAddress)
		done := later(t, invite(context.Background(), c))
		e := w.became(Reconnecting)
		if !errors.As(e.Reason, new(*quic.StatelessResetError)) {
			t.Errorf("reason %v, want a stateless reset", e.Reason)
		}
		p, _ := w.login(nil)
		p.answer(wait(t, p.frames), &wire.Response{Call: snapshot(7, 1, user("alice", accepted))})
		if _, err := done(); err != nil {
			t.Error(err)
		}
	})
}

func TestDialByName(t *testing.T) {
	_, cfg := onLoopback(t)
	cfg.Addresses[0] = "localhost:" + cfg.Addresses[0][len("127.0.0.1:"):]
	c := dialled(t, cfg)
	if a := c.Session().Address; a != cfg.Addresses[0] {
		t.Errorf("address %q", a)
	}
	for _, bad := range []string{"127.0.0.1:0", "127.0.0.1:no-such-service", ":1:2"} {
		if hosts, err := resolve(t.Context(), bad); err == nil {
			t.Errorf("%s: %v", bad, hosts)
		}
	}
}
