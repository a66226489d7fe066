package client

import (
	"errors"
	"fmt"
	"time"
)

// Code is the number of an outcome (SPEC section 4). A Code is itself an error, so that errors.Is(err, NotInvited) works.
type Code uint32

// The codes. Those below 6000010, and 6000105, may also be made by the client itself.
const (
	OK             Code = 0
	BadParameter   Code = 6000001 // the message names the field; do not repeat
	TooFrequent    Code = 6000005 // not before Error.RetryAfter
	Internal       Code = 6000007 // the server failed; repeated within the budget
	ConnectionLost Code = 6000009 // no answer before the connection was lost: outcome unknown, unless the message says that nothing was sent
	TokenInvalid   Code = 6000103
	TimedOut       Code = 6000105 // no answer in time: outcome unknown, repeat with Error.Command
	TokenExpired   Code = 6000106
	TokenExpiring  Code = 6000108 // less than 30 s left
	NotLoggedIn    Code = 6000121 // also of a client that has ended: closed, logged out, kicked out
	CannotCancel   Code = 6000271 // somebody has accepted
	TooMany        Code = 6000272 // invitees in one request, or users in the call
	NotInviter     Code = 6000273
	NotInvited     Code = 6000274 // not invited, or no longer pending
	CallExists     Code = 6000275
	NoSuchCall     Code = 6000276 // unknown, ended or timed out
	NoUser         Code = 6000281 // no invitee is a registered user
	AlreadyMain    Code = 6000283
	AdvancedOnly   Code = 6000286
	WrongState     Code = 6000287 // Error.Call holds the state
)

var codeNames = map[Code]string{
	OK: "success", BadParameter: "parameter invalid", TooFrequent: "too frequent", Internal: "internal error",
	ConnectionLost: "connection lost", TokenInvalid: "token invalid", TimedOut: "timed out", TokenExpired: "token expired",
	TokenExpiring: "token about to expire", NotLoggedIn: "not logged in", CannotCancel: "somebody has accepted",
	TooMany: "too many users", NotInviter: "not the inviter", NotInvited: "not invited or no longer pending",
	CallExists: "call exists", NoSuchCall: "no such call", NoUser: "no registered user", AlreadyMain: "already the main device",
	AdvancedOnly: "advanced mode only", WrongState: "wrong state",
}

func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Error makes a Code the target of errors.Is.
func (c Code) Error() string { return fmt.Sprintf("%d: %s", uint32(c), c.String()) }

func (c Code) token() bool { return c == TokenInvalid || c == TokenExpired || c == TokenExpiring }

// Why a client has ended. They are causes of an *Error with code NotLoggedIn and the Reason of the last
// ConnectionStateChanged; test with errors.Is.
var (
	ErrClosed    = errors.New("the client is closed")
	ErrLoggedOut = errors.New("logged out")
	ErrKickedOut = errors.New("kicked out: the device logged in again, or the user has too many devices")
	ErrProtocol  = errors.New("the server refused this client's protocol")
)

// Why a connection has ended that is dialled again.
var (
	errUnanswered = errors.New("no answer to the login")
	errSlowApp    = errors.New("the app does not take its events")
	errNoEcho     = errors.New("the server does not answer heartbeats")
	errGarbage    = errors.New("the server sent what is not a frame")
	errMoving     = errors.New("the server asked to move")
	errMoved      = errors.New("the connection has moved too often")
	errNoWriter   = errors.New("the server does not read")
)

// Error is what an operation or Dial returns when it did not succeed. A refused operation has changed nothing.
type Error struct {
	Code       Code
	Message    string        // for people: names the field or the state
	RetryAfter time.Duration // with TooFrequent; else 0
	Call       *CallInfo     // the call as it is now, where the server gave it; else nil
	ErrorUsers []ErrorUser   // the entries that made the operation fail, if any
	Command    CommandID     // of the operation; repeats it when passed in its config. Zero for those without
	cause      error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%d: %s", uint32(e.Code), e.Code.String())
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap gives the cause: the context's error, an Err value of this package, or the QUIC error.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is this error's Code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

func newError(code Code, cause error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: cause}
}
