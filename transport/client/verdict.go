package client

import (
	"errors"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// final gives the error that ends the client after a login or connection failed with err; nil: it reconnects.
// Close codes 0, 1 and 3 are final, and so are 2 and 4, and refusals of the login, when no better token is to be had.
func (c *Client) final(err error) error {
	if code, ok := remoteClose(err); ok {
		switch code {
		case wire.CloseLoggedOut:
			return ErrLoggedOut
		case wire.CloseProtocol:
			return errors.Join(ErrProtocol, err)
		case wire.CloseKickedOut:
			return ErrKickedOut
		}
	}
	if errors.Is(err, ErrKickedOut) {
		return ErrKickedOut
	}
	if e := tokenTrouble(err); e != nil {
		if c.canFetch() {
			return nil
		}
		return e
	}
	var e *Error
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code {
	case ConnectionLost, TooFrequent, Internal, TimedOut:
		return nil
	}
	return err
}

// refetch arranges for a fresh token if err was about the token and one may be had. It is asked once per refusal.
func (c *Client) refetch(err error) bool {
	if tokenTrouble(err) == nil || !c.canFetch() {
		return false
	}
	c.fetched = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = true
	return true
}

func (c *Client) canFetch() bool { return c.cfg.TokenSource != nil && !c.fetched }

// tokenTrouble gives err as an *Error when it is about the token, else nil.
func tokenTrouble(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e.Code.token() {
		return e
	}
	switch code, _ := remoteClose(err); code {
	case wire.CloseTokenExpired:
		return newError(TokenExpired, err, "the server closed the connection")
	case wire.CloseLoginRefused:
		return newError(TokenInvalid, err, "the server refused the login")
	}
	return nil
}

func remoteClose(err error) (wire.CloseCode, bool) {
	var closed *quic.ApplicationError
	if errors.As(err, &closed) && closed.Remote {
		return wire.CloseCode(closed.ErrorCode), true
	}
	return wire.CloseLoggedOut, false
}

// busy reports whether a server that lives did not want one more connection now.
func busy(err error) bool {
	var refused *quic.TransportError
	if errors.As(err, &refused) && refused.ErrorCode == quic.ConnectionRefused {
		return true
	}
	code, _ := remoteClose(err)
	return code == wire.CloseOverloaded || code == wire.CloseGoingAway || code == wire.CloseSlowConsumer
}

func closeCodeFor(cause error) wire.CloseCode {
	switch {
	case errors.Is(cause, errGarbage):
		return wire.CloseProtocol
	case errors.Is(cause, errSlowApp):
		return wire.CloseSlowConsumer
	}
	return wire.CloseGoingAway
}

// goodbye is the close code of a client that ends.
func (c *Client) goodbye() wire.CloseCode {
	if errors.Is(c.Err(), ErrLoggedOut) {
		return wire.CloseLoggedOut
	}
	return wire.CloseGoingAway
}
