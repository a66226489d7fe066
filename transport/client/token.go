package client

import (
	"context"
	"errors"

	"carillon/transport/wire"
)

// RenewToken gives the server a fresh token; it is also what the next logins use. Refusals: TokenInvalid, TokenExpired.
func (c *Client) RenewToken(ctx context.Context, token string) error {
	c.mu.Lock()
	before := c.token
	c.token = token
	c.mu.Unlock()
	_, err := c.do(ctx, operation{query: true, frame: &wire.ClientFrame{Body: &wire.ClientFrame_RenewToken{RenewToken: &wire.RenewToken{Token: token}}}})
	if e := (*Error)(nil); errors.As(err, &e) && e.Code.token() {
		c.mu.Lock()
		if c.token == token {
			c.token = before
		}
		c.mu.Unlock()
	}
	return err
}

// currentToken gives the token for a login, a fresh one if the last was refused.
func (c *Client) currentToken(ctx context.Context) (string, error) {
	c.mu.Lock()
	token, stale := c.token, c.stale
	c.mu.Unlock()
	if !stale {
		return token, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	token, err := c.cfg.TokenSource(ctx)
	if err != nil {
		return "", newError(ConnectionLost, err, "TokenSource")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token, c.stale = token, false
	return token, nil
}

// renewSoon renews the token on a goroutine of its own, if it can be done and is not being done.
func (c *Client) renewSoon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.TokenSource == nil || c.renewing || c.ended != nil {
		return
	}
	c.renewing = true
	c.running.Go(c.renew)
}

func (c *Client) renew() {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.RequestBudget)
	defer cancel()
	token, err := c.cfg.TokenSource(ctx)
	if err == nil {
		err = c.RenewToken(ctx, token)
	}
	if err != nil && c.ctx.Err() == nil {
		c.cfg.Logger.Warn("token not renewed", "user", c.cfg.UserID, "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renewing = false
}
