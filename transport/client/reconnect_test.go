package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"carillon/transport/wire"
)

func TestKickedOut(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "by close code": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, p := w.connect(w.config())
				if told {
					p.tell(&wire.Event{Kind: &wire.Event_KickedOut{KickedOut: &wire.KickedOut{ByDeviceId: "phone"}}})
					if e := event[KickedOut](w); e.ByDeviceID != "phone" {
						t.Errorf("event %+v", e)
					}
				}
				p.hangUp(wire.CloseKickedOut)
				if e := w.became(Disconnected); !errors.Is(e.Reason, ErrKickedOut) {
					t.Errorf("reason %v", e.Reason)
				}
				wait(t, c.Done())
				if _, err := invite(context.Background(), c)(); !errors.Is(err, ErrKickedOut) || !errors.Is(err, NotLoggedIn) {
					t.Errorf("err = %v", err)
				}
			})
		})
	}
}

// What each close code means for the client.
func TestCloseCodes(t *testing.T) {
	for code, want := range map[wire.CloseCode]error{
		wire.CloseLoggedOut: ErrLoggedOut, wire.CloseProtocol: ErrProtocol, wire.CloseLoginRefused: TokenInvalid,
		wire.CloseKickedOut: ErrKickedOut, wire.CloseTokenExpired: TokenExpired,
		wire.CloseSlowConsumer: nil, wire.CloseGoingAway: nil, wire.CloseOverloaded: nil, 99: nil,
	} {
		inWorld(t, func(t *testing.T, w *world) {
			_, p := w.connect(w.config())
			p.hangUp(code)
			if want != nil {
				if e := w.became(Disconnected); !errors.Is(e.Reason, want) {
					t.Errorf("code %d: reason %v, want %v", code, e.Reason, want)
				}
				return
			}
			w.became(Reconnecting)
			w.login(nil)
			w.became(Connected)
		})
	}
}

func TestExpiredTokenIsReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		n := 0
		cfg.TokenSource = func(context.Context) (string, error) {
			n++
			return []string{"", "first", "second"}[n], nil
		}
		_, p := w.connect(cfg)
		p.hangUp(wire.CloseTokenExpired)
		if _, login := w.login(nil); login.Token != "second" {
			t.Errorf("token %q", login.Token)
		}
	})
}

func TestTokenIsRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		n := 0
		cfg.TokenSource = func(context.Context) (string, error) {
			n++
			return []string{"", "first", "second"}[n], nil
		}
		_, p := w.connect(cfg)
		soon := &wire.Event{Kind: &wire.Event_TokenWillExpire{TokenWillExpire: &wire.TokenWillExpire{SecondsLeft: 30}}}
		p.tell(soon)
		if e := event[TokenWillExpire](w); e.Left != 30*time.Second {
			t.Errorf("event %+v", e)
		}
		f := wait(t, p.frames)
		if f.GetRenewToken().GetToken() != "second" {
			t.Errorf("sent %v", f)
		}
		p.answer(f, &wire.Response{})
		synctest.Wait()
		p.hangUp(wire.CloseGoingAway)
		if _, login := w.login(nil); login.Token != "second" {
			t.Errorf("next login with %q", login.Token)
		}
	})
}

func TestRefusedTokenIsNotKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		done := later(t, func() (any, error) { return nil, c.RenewToken(context.Background(), "bad") })
		p.answer(wait(t, p.frames), &wire.Response{Code: uint32(TokenInvalid)})
		if _, err := done(); !errors.Is(err, TokenInvalid) {
			t.Errorf("err = %v", err)
		}
		p.hangUp(wire.CloseGoingAway)
		if _, login := w.login(nil); login.Token != "secret" {
			t.Errorf("next login with %q", login.Token)
		}
	})
}

// The client sends padded heartbeats while it has nothing else to say, and only then.
func TestHeartbeat(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		idle := time.NewTimer(95 * time.Second)
		<-idle.C
		beats := len(p.beats())
		if beats < 8 || beats > 11 {
			t.Errorf("%d heartbeats in 95 s at one per 10 s", beats)
		}
		for _, h := range p.beats() {
			if len(h.Padding) < wire.MinHeartbeat {
				t.Errorf("padding of %d bytes", len(h.Padding))
			}
		}
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for range 12 {
			<-tick.C
			done := later(t, func() (CallInvitationList, error) { return c.QueryCallInvitationList(context.Background(), 1, 0) })
			p.answer(wait(t, p.frames), &wire.Response{})
			if _, err := done(); err != nil {
				t.Error(err)
			}
		}
		if extra := len(p.beats()) - beats; extra > 1 {
			t.Errorf("%d heartbeats although requests were sent", extra)
		}
	})
}

func TestMissingEchoReconnects(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, p := w.connect(w.config())
		p.setDeaf()
		w.login(nil)
		if e := w.became(Reconnecting); !errors.Is(e.Reason, errNoEcho) {
			t.Errorf("reason %v", e.Reason)
		}
		if n := len(p.beats()); n > 3 {
			t.Errorf("%d heartbeats before the client gave up", n)
		}
	})
}

// A cut is noticed by the missing echo; afterwards the client is back.
func TestCut(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		w.connect(w.config())
		w.net.setCut(true)
		w.became(Reconnecting)
		w.net.setCut(false)
		w.login(nil)
		w.became(Connected)
	})
}

func TestGoAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		other := w.listen("1.0.0.2:7443")
		cfg := w.config()
		cfg.RequestTimeout = 5 * time.Second
		c, p := w.connect(cfg)
		start := time.Now()
		p.tell(&wire.Event{Kind: &wire.Event_GoAway{GoAway: &wire.GoAway{ReconnectAfterMs: 3000, ReconnectTo: "1.0.0.2:7443"}}})
		if e := event[GoAway](w); e.ReconnectAfter != 3*time.Second || e.ReconnectTo != "1.0.0.2:7443" {
			t.Errorf("event %+v", e)
		}
		early := later(t, invite(context.Background(), c))
		f := wait(t, p.frames) // it still serves
		wake := time.NewTimer(4 * time.Second)
		<-wake.C
		late := later(t, invite(context.Background(), c))
		synctest.Wait()
		if len(p.frames) > 0 || len(other.peers) > 0 {
			t.Error("moved, or began something, although an operation is under way")
		}
		p.answer(f, &wire.Response{})
		if _, err := early(); err != nil {
			t.Error(err)
		}
		next, _ := acceptLogin(t, other, nil)
		next.answer(wait(t, next.frames), &wire.Response{})
		if _, err := late(); err != nil {
			t.Error(err)
		}
		if code := p.closeCode(t); code != wire.CloseGoingAway || time.Since(start) < 3*time.Second {
			t.Errorf("closed with %d after %v", code, time.Since(start))
		}
		_ = c.Close()
		other.close()
	})
}

// The server closed before the time it had given: the client comes back no sooner than told.
func TestGoAwayThenClosed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, p := w.connect(w.config())
		start := time.Now()
		p.tell(&wire.Event{Kind: &wire.Event_GoAway{GoAway: &wire.GoAway{ReconnectAfterMs: 20000}}})
		event[GoAway](w)
		p.hangUp(wire.CloseGoingAway)
		w.login(nil)
		if d := time.Since(start); d < 20*time.Second {
			t.Errorf("back after %v of the bubble's time", d)
		}
	})
}

func frameBytes(parts ...byte) []byte { return append([]byte{byte(len(parts))}, parts...) }

// Nonsense from a server ends the connection with the protocol's code, and the client tries again.
func TestGarbage(t *testing.T) {
	for name, garbage := range map[string][]byte{
		"not a message": frameBytes(0xff, 0xff, 0xff),
		"too long":      {0xff, 0xff, 0xff, 0x7f},
		"endless":       {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				_, p := w.connect(w.config())
				_, _ = p.stream.Write(garbage)
				if code := p.closeCode(t); code != wire.CloseProtocol {
					t.Errorf("closed with %d", code)
				}
				w.login(nil)
			})
		})
	}
}

func TestUnknownIsIgnored(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		_, p := w.connect(w.config())
		p.send(&wire.ServerFrame{})
		p.send(&wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: &wire.Response{RequestId: 99}}})
		p.tell(&wire.Event{CallId: 7, Version: 1})
		_, _ = p.stream.Write(frameBytes(0xfa, 0x01, 0x00)) // field 31, of a later version
		p.tell(timeoutEvent(7, 1))
		event[CallInvitationTimeout](w)
		w.silent()
	})
}

// The server ended the stream but not the connection.
func TestEndOfStream(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		_, p := w.connect(w.config())
		_ = p.stream.Close()
		w.login(nil)
		w.became(Reconnecting)
	})
}

// A server that does not read is left; what it did not take goes to the next connection.
func TestServerThatDoesNotRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		release := make(chan struct{})
		w.server.handle = func(q *peer, f *wire.ClientFrame) {
			if q == p {
				<-release
			}
			if f.GetLogin() != nil {
				q.answer(f, &wire.Response{Result: &wire.Response_Login{Login: &wire.LoginResult{}}})
			} else {
				q.answer(f, &wire.Response{})
			}
		}
		outcomes := make(chan error, maxOutstanding)
		for range maxOutstanding {
			go func() {
				_, err := c.CallReject(context.Background(), 7, CallRejectConfig{ExtendedData: strings.Repeat("x", 60000)})
				outcomes <- err
			}()
		}
		w.became(Reconnecting)
		close(release)
		for range maxOutstanding {
			if err := wait(t, outcomes); err != nil {
				t.Error(err)
			}
		}
	})
}

// A login that is refused for good ends the client, also long after Dial.
func TestLoginRefusedWhileReconnecting(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		p.hangUp(wire.CloseGoingAway)
		next := wait(t, w.server.peers)
		next.answer(wait(t, next.frames), &wire.Response{Code: uint32(TooFrequent)})
		next = wait(t, w.server.peers) // a passing reason: again
		next.answer(wait(t, next.frames), &wire.Response{Code: uint32(BadParameter), Message: "userID"})
		if e := w.became(Disconnected); !errors.Is(e.Reason, BadParameter) {
			t.Errorf("reason %v", e.Reason)
		}
		wait(t, c.Done())
	})
}
