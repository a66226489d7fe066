package call

import "fmt"

// Code is an outcome's number; the numbers are ZIM's (SPEC 4) and append only.
type Code uint32

// The codes. Retry says what a client may do with each.
const (
	OK            Code = 0
	BadParameter  Code = 6000001 // do not retry
	TooFrequent   Code = 6000005 // retry after the hint
	Internal      Code = 6000007 // retry with the same command ID
	TimedOut      Code = 6000105 // outcome unknown: retry with the same command ID
	TokenInvalid  Code = 6000103 // fetch a token, reconnect
	TokenExpired  Code = 6000106
	TokenExpiring Code = 6000108
	NotLoggedIn   Code = 6000121 // log in
	CannotCancel  Code = 6000271 // somebody has accepted
	TooMany       Code = 6000272 // invitees in one request, or users in the call
	NotInviter    Code = 6000273
	NotInvited    Code = 6000274 // not invited, or no longer pending
	CallExists    Code = 6000275
	NoSuchCall    Code = 6000276 // unknown, ended, timed out
	NoUser        Code = 6000281 // no invitee is a registered user
	AlreadyMain   Code = 6000283
	AdvancedOnly  Code = 6000286
	WrongState    Code = 6000287 // carries the state

)

// Refusal is why a command was not applied. A refused command has changed nothing but its own remembered outcome.
type Refusal struct {
	Code    Code
	Message string // for people: names the field or the state
	Errors  []UserError
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Code, r.Message) }

func refuse(c Code, format string, args ...any) *Refusal {
	return &Refusal{Code: c, Message: fmt.Sprintf(format, args...)}
}
