package client

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"carillon/transport/wire"
)

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestDialLogsIn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dialled := w.dial(w.config())
		_, login := w.login(&wire.LoginResult{SessionId: "s7", Node: "n3", ServerTimeMs: 1234, HeartbeatIntervalMs: 9000, SyncTruncated: true})
		c, err := dialled()
		if err != nil {
			t.Fatal(err)
		}
		if login.UserId != "alice" || login.DeviceId != "phone" || login.Platform != wire.Platform_PLATFORM_LINUX || login.Token != "secret" || len(login.KnownCalls) != 0 {
			t.Errorf("login %v", login)
		}
		s := c.Session()
		if s.ID != "s7" || s.Node != "n3" || s.Address != serverAddress || s.Heartbeat != 9*time.Second || !s.ServerTime.Equal(time.UnixMilli(1234)) || !s.SyncTruncated {
			t.Errorf("session %+v", s)
		}
		if c.State() != Connected || c.Err() != nil {
			t.Errorf("state %v, err %v", c.State(), c.Err())
		}
		if e := wait(t, w.changes); e.State != Connecting {
			t.Errorf("first change %+v, want Connecting", e)
		}
		if e := wait(t, w.changes); e.State != Connected || e.Address != serverAddress {
			t.Errorf("second change %+v, want Connected", e)
		}
	})
}

func TestDialRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dialled := w.dial(w.config())
		p := wait(t, w.server.peers)
		p.answer(wait(t, p.frames), &wire.Response{Code: uint32(TokenExpired), Message: "token: expired"})
		_, err := dialled()
		var e *Error
		if !errors.Is(err, TokenExpired) || !errors.As(err, &e) || e.Message != "token: expired" {
			t.Errorf("err = %v", err)
		}
		wait(t, p.gone)
		if e := w.became(Disconnected); !errors.Is(e.Reason, TokenExpired) {
			t.Errorf("disconnected because of %v", e.Reason)
		}
	})
}

// A login that is closed with code 2 before its answer arrives is a token refusal too.
func TestDialRefusedByCloseCode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dialled := w.dial(w.config())
		p := wait(t, w.server.peers)
		wait(t, p.frames)
		p.hangUp(wire.CloseLoginRefused)
		if _, err := dialled(); !errors.Is(err, TokenInvalid) {
			t.Errorf("err = %v, want TokenInvalid", err)
		}
	})
}

func TestDialFetchesTokens(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		tokens := []string{"first", "second"}
		cfg.TokenSource = func(context.Context) (string, error) {
			token := tokens[0]
			tokens = tokens[1:]
			return token, nil
		}
		dialled := w.dial(cfg)
		p := wait(t, w.server.peers)
		f := wait(t, p.frames)
		if f.GetLogin().GetToken() != "first" {
			t.Errorf("token %q", f.GetLogin().GetToken())
		}
		p.answer(f, &wire.Response{Code: uint32(TokenInvalid)})
		if _, login := w.login(nil); login.Token != "second" {
			t.Errorf("token %q after the refusal", login.Token)
		}
		if _, err := dialled(); err != nil {
			t.Error(err)
		}
	})
}

func TestDialGivesUpAfterOneFreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		asked := 0
		cfg.TokenSource = func(context.Context) (string, error) { asked++; return "bad", nil }
		dialled := w.dial(cfg)
		for range 2 {
			p := wait(t, w.server.peers)
			p.answer(wait(t, p.frames), &wire.Response{Code: uint32(TokenInvalid)})
		}
		if _, err := dialled(); !errors.Is(err, TokenInvalid) || asked != 2 {
			t.Errorf("err = %v after %d tokens", err, asked)
		}
	})
}

func TestDialTokenSourceFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		boom := errors.New("no network")
		cfg.TokenSource = func(context.Context) (string, error) { return "", boom }
		if _, err := w.dial(cfg)(); !errors.Is(err, boom) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestDialTriesAddressesInTurn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.Addresses = []string{"1.0.0.9:1", serverAddress}
		c, _ := w.connect(cfg)
		if c.Session().Address != serverAddress {
			t.Errorf("address %q", c.Session().Address)
		}
	})
}

func TestDialUnreachable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.Addresses = []string{"1.0.0.9:1"}
		if _, err := w.dial(cfg)(); !errors.Is(err, ConnectionLost) {
			t.Errorf("err = %v, want ConnectionLost", err)
		}
	})
}

func TestDialCancelled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		done := later(t, func() (*Client, error) { return Dial(ctx, w.config()) })
		p := wait(t, w.server.peers)
		wait(t, p.frames)
		cancel()
		if _, err := done(); !errors.Is(err, ConnectionLost) {
			t.Errorf("err = %v, want ConnectionLost", err)
		}
	})
}

// A server that is overloaded is asked again, with jitter, until Dial's time is over.
func TestDialRetriesBusyServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dialled := w.dial(w.config())
		for range 3 {
			p := wait(t, w.server.peers)
			wait(t, p.frames)
			p.hangUp(wire.CloseOverloaded)
		}
		w.login(nil)
		if _, err := dialled(); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := func() Config { return Config{Addresses: []string{"127.0.0.1:1"}, UserID: "alice", DeviceID: "phone"} }
	for name, spoil := range map[string]func(*Config){
		"no address":       func(c *Config) { c.Addresses = nil },
		"no port":          func(c *Config) { c.Addresses = []string{"localhost"} },
		"no user":          func(c *Config) { c.UserID = "" },
		"no device":        func(c *Config) { c.DeviceID = "" },
		"negative queue":   func(c *Config) { c.EventQueue = -1 },
		"negative timeout": func(c *Config) { c.RequestTimeout = -1 },
		"backoff":          func(c *Config) { c.BackoffMin, c.BackoffMax = 2, 1 },
	} {
		cfg := good()
		spoil(&cfg)
		if _, err := Dial(t.Context(), cfg); !errors.Is(err, BadParameter) {
			t.Errorf("%s: err = %v, want BadParameter", name, err)
		}
	}
	remote := good()
	remote.Addresses, remote.Insecure = []string{"192.0.2.1:1"}, true
	if _, err := Dial(t.Context(), remote); !errors.Is(err, BadParameter) {
		t.Errorf("Insecure away from loopback: err = %v, want BadParameter", err)
	}
}

func TestRedirectIsFollowed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		other := w.listen("1.0.0.2:7443")
		dialled := w.dial(w.config())
		first, _ := w.login(&wire.LoginResult{Redirect: "1.0.0.2:7443"})
		acceptLogin(t, other, &wire.LoginResult{Node: "n2", Redirect: "1.0.0.3:7443"})
		c, err := dialled()
		if err != nil {
			t.Fatal(err)
		}
		if code := first.closeCode(t); code != wire.CloseGoingAway {
			t.Errorf("first connection closed with %d", code)
		}
		if s := c.Session(); s.Node != "n2" || s.Address != "1.0.0.2:7443" {
			t.Errorf("session %+v", s)
		}
		w.client = nil
		_ = c.Close()
		<-c.Done()
		other.close()
	})
}

// When the target cannot be reached the client stays where it is, and it is not kicked out by its own second login.
func TestRedirectUnreachable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		other := w.listen("1.0.0.2:7443")
		dialled := w.dial(w.config())
		first, _ := w.login(&wire.LoginResult{Redirect: "1.0.0.2:7443"})
		wait(t, wait(t, other.peers).frames) // the login, never answered
		c, err := dialled()
		if err != nil || c.Session().Address != serverAddress {
			t.Fatalf("err %v, session %+v", err, c.Session())
		}
		first.tell(&wire.Event{Kind: &wire.Event_KickedOut{KickedOut: &wire.KickedOut{}}})
		first.hangUp(wire.CloseKickedOut)
		w.login(nil)
		w.became(Reconnecting)
		w.became(Connected)
		other.close()
	})
}
