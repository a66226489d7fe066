package client

import (
	"fmt"
	"strconv"
	"time"
)

// CallID names a call; people see it in decimal.
type CallID uint64

func (id CallID) String() string { return strconv.FormatUint(uint64(id), 10) }

// ParseCallID reads the decimal form: 1 to 20 digits, above zero.
func ParseCallID(s string) (CallID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, newError(BadParameter, err, "callID %q is not a decimal number", s)
	}
	return CallID(n), nil
}

// CommandID names one intent of the user. The server applies it at most once, however often it arrives (SPEC 9.3).
type CommandID [16]byte

func (id CommandID) String() string { return fmt.Sprintf("%x", id[:]) }

// Mode is the kind of a call. The numbers of the enumerations here are those of client.proto.
type Mode int32

// The modes (SPEC 1). Zero means Common in a request.
const (
	Common   Mode = 1
	Advanced Mode = 2
)

// CallState tells whether a call goes on.
type CallState int32

// The states of a call.
const (
	Started CallState = 1
	Ended   CallState = 2
)

// UserState is where a participant stands in a call (SPEC 2).
type UserState int32

// The states of a user. UserEnded is never sent.
const (
	Inviting       UserState = 1
	Received       UserState = 2
	NotYetReceived UserState = 3
	Accepted       UserState = 4
	Rejected       UserState = 5
	Cancelled      UserState = 6
	BeCancelled    UserState = 7
	Timeout        UserState = 8
	Quit           UserState = 9
	UserEnded      UserState = 10
)

// Pending reports whether the invitation is still open.
func (s UserState) Pending() bool { return s == Inviting || s == Received || s == NotYetReceived }

// Reason says why a change happened (SPEC 2); zero where nothing needs saying.
type Reason int32

// The reasons.
const (
	ReasonNone               Reason = 0
	ReasonCancelled          Reason = 1
	ReasonCallerOffline      Reason = 2
	ReasonAllAnswered        Reason = 3
	ReasonNoAnswer           Reason = 4
	ReasonRejected           Reason = 5
	ReasonBusy               Reason = 6
	ReasonEndedByUser        Reason = 7
	ReasonEmpty              Reason = 8
	ReasonAloneTimeout       Reason = 9
	ReasonMaxDuration        Reason = 10
	ReasonEndedByServer      Reason = 11
	ReasonAnsweredElsewhere  Reason = 12
	ReasonMovedToOtherDevice Reason = 13
	ReasonConnectionLost     Reason = 14
)

// ConnectionState is where the device stands with the server.
type ConnectionState int32

// The connection states. Disconnected is final: the client does not reconnect by itself.
const (
	Connecting ConnectionState = iota + 1
	Connected
	Reconnecting
	Disconnected
)

var (
	modeNames       = []string{"", "common", "advanced"}
	callStateNames  = []string{"", "started", "ended"}
	userStateNames  = []string{"", "inviting", "received", "not_yet_received", "accepted", "rejected", "cancelled", "be_cancelled", "timeout", "quit", "ended"}
	reasonNames     = []string{"", "cancelled", "caller_offline", "all_answered", "no_answer", "rejected", "busy", "ended_by_user", "empty", "alone_timeout", "max_duration", "ended_by_server", "answered_elsewhere", "moved_to_other_device", "connection_lost"}
	connectionNames = []string{"", "connecting", "connected", "reconnecting", "disconnected"}
)

func name[T ~int32](names []string, v T) string {
	if v < 0 || int(v) >= len(names) {
		return "unknown " + strconv.Itoa(int(v))
	}
	return names[v]
}

func (m Mode) String() string            { return name(modeNames, m) }
func (s CallState) String() string       { return name(callStateNames, s) }
func (s UserState) String() string       { return name(userStateNames, s) }
func (r Reason) String() string          { return name(reasonNames, r) }
func (s ConnectionState) String() string { return name(connectionNames, s) }

// Platform is what kind of device this is.
type Platform string

// The platforms. The empty Platform stands for the operating system that the program runs on.
const (
	Windows   Platform = "windows"
	IOS       Platform = "ios"
	Android   Platform = "android"
	MacOS     Platform = "macos"
	Linux     Platform = "linux"
	Web       Platform = "web"
	IPadOS    Platform = "ipados"
	HarmonyOS Platform = "harmonyos"
	Server    Platform = "server"
)

// CallInfo is a call as this user sees it at one version.
type CallInfo struct {
	CallID       CallID
	Version      uint64    // counts the durable changes of the call
	State        CallState // of the call
	ViewState    CallState // as this user sees it: Ended once he rejected, quit, timed out or was cancelled
	Mode         Mode
	Caller       string
	Inviter      string // who invited this user; the caller's own: empty
	CreateTime   time.Time
	EndTime      time.Time     // zero while started
	Timeout      time.Duration // whole seconds
	Remaining    time.Duration // of this user's own invitation, when the server wrote this; 0 unless he is pending
	RingUntil    time.Time     // on this machine's clock: when Remaining is over; zero unless he is pending
	ExtendedData string
	Users        []CallUser // the caller first, then in the order of invitation
	EndReason    Reason
	IsMainDevice bool // whether this device is the user's main device in the call (SPEC 6)
}

// User gives the named participant.
func (c *CallInfo) User(id string) (CallUser, bool) {
	for _, u := range c.Users {
		if u.UserID == id {
			return u, true
		}
	}
	return CallUser{}, false
}

// CallUser is one participant.
type CallUser struct {
	UserID       string
	State        UserState
	ExtendedData string // what he passed in his last operation
	Reason       Reason
	AcceptTime   time.Time // zero: never
	QuitTime     time.Time // zero: never
}

// ErrorUser is one user whom an operation did not reach, and why.
type ErrorUser struct {
	UserID string
	Code   Code
}
