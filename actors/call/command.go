package call

import "time"

// Op is what a command asks for. The numbers are stored in outcomes: append only.
type Op uint8

// Operations of users (SPEC 1), then what the owner itself applies.
const (
	OpInvite  Op = 1 // callInvite
	OpCancel  Op = 2
	OpAccept  Op = 3
	OpReject  Op = 4
	OpAdd     Op = 5 // callingInvite
	OpJoin    Op = 6
	OpQuit    Op = 7
	OpEnd     Op = 8
	OpReceipt Op = 20 // callInvitationReceived was acknowledged by a device: soft
	OpTick    Op = 21 // nothing but the passing of time
	OpTold    Op = 22 // User's session has what Seq owed him
	OpOffline Op = 23 // User's session says that he is offline
	OpOnline  Op = 24 // and that he is back
	OpStop    Op = 25 // the server ends the call (server API)
	OpPark    Op = 26 // the owner goes: what is soft is written down, so that nobody rings twice
	OpRewatch Op = 27 // User's session has another owner, who must be asked to watch him
)

// Command is one thing asked of a call. User, Device and Command are set on every user operation.
type Command struct {
	Op      Op
	User    UserID
	Device  DeviceID
	Command CommandID

	Users        []UserID // callInvite, callCancel, callingInvite: in the order given, no duplicates, none of them malformed
	ExtendedData string   // at most the configured bytes
	Timeout      time.Duration
	Errors       []UserError // invitees that were turned away before the call saw them: malformed, unregistered

	Invite *Invite // OpInvite only
	// OpTold only: the session has what changes From (exclusive) to Seq owed User.
	From, Seq uint64
}

// Invite is the part of callInvite that only creation needs.
type Invite struct {
	ID            ID
	Mode          Mode
	AloneTimeout  time.Duration
	CheckReceived bool
	Rules         Rules
}

// Kind is what an Event is about.
type Kind uint8

// The event kinds (SPEC 3).
const (
	EventCreated Kind = iota + 1
	EventReceived
	EventCancelled
	EventTimeout
	EventEnded
	EventUserState
	EventWatch // not for devices: To's session is asked to say when he goes offline or comes back
)

// Event is one thing that one user's devices must hear.
type Event struct {
	Kind    Kind
	To      UserID
	Devices Audience
	Device  DeviceID // the device that Audience speaks of

	From, Seq uint64 // the changes it speaks of, From exclusive; the session acknowledges both
	Version   uint64
	Reason    Reason
	By        UserID // empty: the server
	ByDev     DeviceID
	At        Millis

	// Then is the call as it was after those changes, where a late timer or the command has changed it since; nil means
	// the State that Step returned.
	Then *State

	Changed      []UserID // EventUserState: who changed
	Ring         uint64   // EventReceived: the number of the invitation's change, which names it for good
	Inviter      UserID   // EventCancelled
	ExtendedData string   // EventCancelled, EventEnded
}

// Audience says which of a user's devices an Event is for.
type Audience uint8

// The audiences.
const (
	AllDevices Audience = iota + 1
	OnlyDevice          // Event.Device
	OtherThan           // all but Event.Device
)
