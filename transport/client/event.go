package client

import "time"

// Event is one of the event types of this package. New types may come: a switch over them needs a default.
type Event interface{ carillonEvent() }

// EventInfo is what every event about a call carries.
type EventInfo struct {
	CallID       CallID
	Version      uint64
	Reason       Reason
	ActingUser   string // empty when the server acted, or when it is not known (Local)
	ActingDevice string
	Time         time.Time // of the server's clock
	// Local is set when the client worked the event out: from the sync after a reconnect, or because an invitation's
	// time ran out while there was no connection.
	Local bool
}

// CallInvitationCreated tells the caller's devices of his new call.
type CallInvitationCreated struct {
	EventInfo
	Call CallInfo
}

// CallInvitationReceived says that a call rings here. Call.Inviter is who invites, Call.RingUntil when to stop.
type CallInvitationReceived struct {
	EventInfo
	Call CallInfo
}

// CallInvitationCancelled says that this user's invitation was taken back.
type CallInvitationCancelled struct {
	EventInfo
	Inviter      string
	Mode         Mode
	ExtendedData string
}

// CallInvitationTimeout says that this user's invitation has timed out.
type CallInvitationTimeout struct {
	EventInfo
	Mode Mode
}

// CallInvitationEnded says that the call is over for all. A common-mode call ends without it: see
// CallUserStateChanged.CallState.
type CallInvitationEnded struct {
	EventInfo
	Caller         string
	OperatedUserID string // who ended it; empty: the server
	ExtendedData   string
	Mode           Mode
	EndTime        time.Time
}

// CallUserStateChanged lists the users that changed. With reason ReasonAnsweredElsewhere or ReasonMovedToOtherDevice the
// call has gone to another device of this user, and this device hears no more of it.
type CallUserStateChanged struct {
	EventInfo
	Users     []CallUser
	CallState CallState // of the call after the change
}

// KickedOut says that the server ends this login (SPEC 5); Disconnected follows.
type KickedOut struct {
	EventInfo
	ByDeviceID string
}

// TokenWillExpire asks for RenewToken. With a Config.TokenSource the client has already set out to do so.
type TokenWillExpire struct {
	EventInfo
	Left time.Duration
}

// GoAway asks the device to log in again, elsewhere: the server is going to close, or another node has taken over the user's
// session. The client moves by itself.
type GoAway struct {
	EventInfo
	ReconnectAfter time.Duration
	ReconnectTo    string // host:port, or empty for any address
}

// ConnectionStateChanged reports the connection. Reason is why it is Reconnecting or Disconnected, else nil.
type ConnectionStateChanged struct {
	State   ConnectionState
	Reason  error
	Address string // host:port of the server, when Connected
	Node    string // its name, when Connected
}

func (CallInvitationCreated) carillonEvent()   {}
func (CallInvitationReceived) carillonEvent()  {}
func (CallInvitationCancelled) carillonEvent() {}
func (CallInvitationTimeout) carillonEvent()   {}
func (CallInvitationEnded) carillonEvent()     {}
func (CallUserStateChanged) carillonEvent()    {}
func (KickedOut) carillonEvent()               {}
func (TokenWillExpire) carillonEvent()         {}
func (GoAway) carillonEvent()                  {}
func (ConnectionStateChanged) carillonEvent()  {}
