package transport

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// Error codes that the transport itself answers with (SPEC.md section 4).
const (
	codeParameter    = 6000001
	codeTooFrequent  = 6000005
	codeTokenInvalid = 6000103
	codeTokenExpired = 6000106
	codeTokenShort   = 6000108
	codeNotLoggedIn  = 6000121
)

// tokenWarning is how long before its expiry a client is told, and the least life of a renewed token (SPEC.md section 5).
const tokenWarning = 30 * time.Second

// Renewals cost a signature check each: so many per second after a burst.
const (
	renewalRate  = 1
	renewalBurst = 5
)

// login is what a Conn knows of its user; Conn.mu guards it.
type login struct {
	begun    bool // a Login frame has come
	user     string
	expires  time.Time // zero: never
	complete bool      // the Handler's answer has been queued
	warned   bool      // of this token's expiry
	timer    *time.Timer
	renewals bucket
}

func (l *login) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// logIn checks a Login frame's token. It says whether the Handler is to hear of it.
func (c *Conn) logIn(request uint64, f *wire.Login) bool {
	c.mu.Lock()
	second := c.login.begun
	c.login.begun = true
	c.mu.Unlock()
	if second {
		c.respond(request, &AuthError{codeParameter, "login: a connection logs in once"})
		return false
	}
	expires, err := c.verify(f.GetUserId(), f.GetToken())
	if err != nil {
		c.cfg.Stats.LoginsRefused.Add(1)
		c.cfg.Logger.Info("login refused", "conn", c.id, "user", clip(f.GetUserId(), 64), "code", err.Code, "reason", err.Message)
		c.respond(request, err)
		c.Close(wire.CloseLoginRefused, err.Message)
		return false
	}
	c.cfg.Stats.LoginsAccepted.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != open {
		return false
	}
	c.login.user, c.login.expires = f.GetUserId(), expires
	c.armTimer()
	return true
}

// LoggedIn says that the Handler has sent its answer to the Login and that it was a success. From now on the client may
// renew its token and is told of its expiry and of a drain.
func (c *Conn) LoggedIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == open && !c.login.complete {
		c.login.complete = true
		c.armTimer()
	}
}

// renewToken answers a RenewToken. One that fails leaves the old token in force.
func (c *Conn) renewToken(request uint64, f *wire.RenewToken) {
	now := c.cfg.Now()
	c.mu.Lock()
	complete, user := c.login.complete, c.login.user
	tooFast := complete && !c.login.renewals.take(now, renewalRate, renewalBurst)
	c.mu.Unlock()
	switch {
	case !complete:
		c.respond(request, &AuthError{codeNotLoggedIn, "renewToken: not logged in"})
		return
	case tooFast:
		c.respond(request, &AuthError{codeTooFrequent, "renewToken: too many"})
		return
	}
	expires, err := c.verify(user, f.GetToken())
	if err == nil && !expires.IsZero() && expires.Sub(now) < tokenWarning {
		err = &AuthError{codeTokenShort, "token: less than 30 s left"}
	}
	if err != nil {
		c.respond(request, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != open {
		return
	}
	c.login.expires, c.login.warned = expires, false
	c.armTimer()
	c.send(responseFrame(request, nil))
}

func (c *Conn) verify(user, token string) (time.Time, *AuthError) {
	expires, err := c.cfg.Authenticator.Verify(user, token, c.cfg.Now())
	if err == nil {
		return expires, nil
	}
	var refusal *AuthError
	if !errors.As(err, &refusal) {
		refusal = &AuthError{codeTokenInvalid, "token: invalid"}
	}
	return time.Time{}, refusal
}

// armTimer sets the timer for what the token does next: its warning, or its end.
func (c *Conn) armTimer() {
	c.login.stopTimer()
	if c.login.expires.IsZero() {
		return
	}
	wait := c.login.expires.Sub(c.cfg.Now())
	if c.login.complete && !c.login.warned {
		wait -= tokenWarning
	}
	if c.login.timer == nil {
		c.login.timer = time.AfterFunc(max(0, wait), c.tokenDue)
		return
	}
	c.login.timer.Reset(max(0, wait))
}

// tokenDue warns or closes, whichever is due by now: a timer that was reset may fire once more.
func (c *Conn) tokenDue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != open || c.login.expires.IsZero() {
		return
	}
	now := c.cfg.Now()
	left := c.login.expires.Sub(now)
	if left <= 0 {
		c.end(ending, wire.CloseTokenExpired, "token expired")
		return
	}
	if c.login.complete && !c.login.warned && left <= tokenWarning {
		c.login.warned = true
		c.send(eventFrame(&wire.Event{TimeMs: now.UnixMilli(), Kind: &wire.Event_TokenWillExpire{
			TokenWillExpire: &wire.TokenWillExpire{SecondsLeft: uint32((left + time.Second - 1) / time.Second)},
		}}))
	}
	c.armTimer()
}

// respond answers a request that the Handler does not see.
func (c *Conn) respond(request uint64, refusal *AuthError) {
	c.Send(responseFrame(request, refusal))
}

// responseFrame is a refusal, or a plain success if there is none.
func responseFrame(request uint64, refusal *AuthError) []byte {
	r := &wire.Response{RequestId: request}
	if refusal != nil {
		r.Code, r.Message = refusal.Code, strings.ToValidUTF8(refusal.Message, "?")
	}
	return encode(&wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: r}})
}

func eventFrame(e *wire.Event) []byte {
	return encode(&wire.ServerFrame{Body: &wire.ServerFrame_Event{Event: e}})
}

// encode panics for strings that are not UTF-8: the transport makes none.
func encode(m proto.Message) []byte {
	b, err := wire.AppendFrame(nil, m)
	if err != nil {
		panic(err)
	}
	return b
}
