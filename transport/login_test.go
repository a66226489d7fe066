package transport

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"carillon/transport/wire"
)

// seconds accepts tokens that say for how many seconds from now they are valid; "ever" never expires.
type seconds struct{}

func (seconds) Verify(_, token string, now time.Time) (time.Time, error) {
	if token == "ever" {
		return time.Time{}, nil
	}
	n, err := strconv.Atoi(token)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("internal detail: %w", err)
	case n <= 0:
		return time.Time{}, tokenExpired()
	}
	return now.Add(time.Duration(n) * time.Second), nil
}

func withTokens(cfg *Config) { cfg.Authenticator = seconds{} }

func TestLoginRefused(t *testing.T) {
	for token, want := range map[string]uint32{"garbage": codeTokenInvalid, "0": codeTokenExpired} {
		t.Run(token, func(t *testing.T) {
			inBubble(t, withTokens, func(t *testing.T, r *rig) {
				c := r.dial()
				answer := c.response(c.send(loginFrame("alice", token)))
				if answer.GetCode() != want || strings.Contains(answer.GetMessage(), "internal") {
					t.Errorf("answer %v, want code %d and no internals", answer, want)
				}
				c.wantClose(wire.CloseLoginRefused)
				g := <-r.gateways
				<-g.closed
				if g.logins.Load() != 0 {
					t.Error("the handler heard of the login")
				}
			})
		})
	}
}

func TestSecondLogin(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		if code := c.login("bob", ""); code != codeParameter {
			t.Errorf("second login: %d, want %d", code, codeParameter)
		}
		c.beat()
		if c.recv().GetHeartbeat() == nil {
			t.Error("the connection is no longer served")
		}
		if g.logins.Load() != 1 {
			t.Errorf("the handler heard of %d logins", g.logins.Load())
		}
	})
}

// TestRenewBeforeLogin says that a token is renewed only after the handler has said that the login succeeded.
func TestRenewBeforeLogin(t *testing.T) {
	silent := func(cfg *Config) {
		cfg.Open = func(*Conn) Handler { return mute{} }
	}
	inBubble(t, silent, func(t *testing.T, r *rig) {
		c := r.dial()
		if code := c.renew("ever"); code != codeNotLoggedIn {
			t.Errorf("before the login frame: %d", code)
		}
		c.send(loginFrame("alice", ""))
		if code := c.renew("ever"); code != codeNotLoggedIn {
			t.Errorf("before its answer: %d", code)
		}
	})
}

// mute is a Handler that does nothing.
type mute struct{}

func (mute) Login(*wire.ClientFrame)  {}
func (mute) Handle(*wire.ClientFrame) {}
func (mute) Closed()                  {}

func TestTokenExpiry(t *testing.T) {
	inBubble(t, withTokens, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "40")
		begin := time.Now()
		e := c.recv().GetEvent()
		if left := e.GetTokenWillExpire().GetSecondsLeft(); left != 30 {
			t.Errorf("%d s left, want 30", left)
		}
		// The bubble's clock is exact but for the network's few milliseconds.
		if after := time.UnixMilli(e.GetTimeMs()).Sub(begin); after < 9*time.Second || after > 10*time.Second {
			t.Errorf("warned after %v, want 10 s", after)
		}
		if reason := c.wantClose(wire.CloseTokenExpired); reason != "token expired" {
			t.Errorf("reason %q", reason)
		}
	})
}

func TestShortTokenWarnsAtOnce(t *testing.T) {
	inBubble(t, withTokens, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "7")
		if left := c.recv().GetEvent().GetTokenWillExpire().GetSecondsLeft(); left != 7 {
			t.Errorf("%d s left, want 7", left)
		}
		c.wantClose(wire.CloseTokenExpired)
	})
}

func TestRenewToken(t *testing.T) {
	inBubble(t, withTokens, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "20")
		if c.recv().GetEvent().GetTokenWillExpire() == nil {
			t.Fatal("no warning")
		}
		for token, want := range map[string]uint32{"garbage": codeTokenInvalid, "0": codeTokenExpired, "29": codeTokenShort} {
			if code := c.renew(token); code != want {
				t.Errorf("renew with %q: %d, want %d", token, code, want)
			}
		}
		if code := c.renew("60"); code != 0 {
			t.Errorf("renew: %d", code)
		}
		if left := c.recv().GetEvent().GetTokenWillExpire().GetSecondsLeft(); left != 30 {
			t.Errorf("%d s left of the new token, want 30", left)
		}
		if code := c.renew("ever"); code != 0 {
			t.Errorf("renew: %d", code)
		}
		for range 20 {
			elapse(10 * time.Second)
			c.beat()
			if c.recv().GetHeartbeat() == nil {
				t.Error("something else than the heartbeat of a connection that never expires")
			}
		}
	})
}

// TestFailedRenewalKeepsTheOldToken says that the connection ends with the old token then.
func TestFailedRenewalKeepsTheOldToken(t *testing.T) {
	inBubble(t, withTokens, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "31")
		if code := c.renew("1"); code != codeTokenShort {
			t.Errorf("renew: %d", code)
		}
		if left := c.recv().GetEvent().GetTokenWillExpire().GetSecondsLeft(); left != 30 {
			t.Errorf("%d s left, want 30", left)
		}
		c.wantClose(wire.CloseTokenExpired)
	})
}

func TestTooManyRenewals(t *testing.T) {
	inBubble(t, withTokens, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "ever")
		var codes []uint32
		for range renewalBurst + 1 {
			codes = append(codes, c.renew("ever"))
		}
		if codes[renewalBurst-1] != 0 || codes[renewalBurst] != codeTooFrequent {
			t.Errorf("codes %v, want the last one to be %d", codes, codeTooFrequent)
		}
		elapse(2 * time.Second)
		if code := c.renew("ever"); code != 0 {
			t.Errorf("2 s later: %d", code)
		}
	})
}

// TestLoginWhileUnanswered says that a token that runs out before the handler has answered closes too, without a warning.
func TestLoginWhileUnanswered(t *testing.T) {
	unanswered := func(cfg *Config) {
		withTokens(cfg)
		cfg.Open = func(*Conn) Handler { return mute{} }
	}
	inBubble(t, unanswered, func(t *testing.T, r *rig) {
		c := r.dial()
		c.send(loginFrame("alice", "5"))
		if f, err := c.next(); err == nil {
			t.Errorf("frame %v, want none", f)
		}
		c.wantClose(wire.CloseTokenExpired)
	})
}

func TestAuthErrorIsAnError(t *testing.T) {
	var refusal *AuthError
	if err := tokenInvalid("why"); !errors.As(err, &refusal) || err.Error() != "token: why" || refusal.Code != codeTokenInvalid {
		t.Errorf("%v", err)
	}
}
