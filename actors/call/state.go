package call

import (
	"strconv"
	"time"
)

// ID names a call: 12 bits of the caller's shard, 52 bits of a keyed hash (ARCHITECTURE, IDs and placement).
type ID uint64

// String is the decimal form that people and logs see.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// UserID names an account of the app: 1..32 bytes of the alphabet in SPEC section 4.
type UserID string

// DeviceID names one installation of a user: 1..64 bytes, same alphabet.
type DeviceID string

// CommandID names one intent of one user; a retry repeats it (SPEC 9.3).
type CommandID [16]byte

// Millis is an instant of the server's clock in Unix milliseconds; zero means never.
type Millis int64

// At converts an instant, dropping what is below a millisecond.
func At(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time is the instant as a time.Time; the zero Millis gives the zero Time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m))
}

func (m Millis) add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Mode is the kind of a call. The numbers of Mode, UserState and Reason are those of client.proto and are stored: append only.
type Mode uint8

// The two modes (SPEC 1).
const (
	Common   Mode = 1
	Advanced Mode = 2
)

// UserState is where a participant stands in a call (SPEC 2).
type UserState uint8

// The user states. Ended exists for ZIM's sake and is never set.
const (
	Outsider       UserState = 0 // not a participant
	Inviting       UserState = 1
	Received       UserState = 2
	NotYetReceived UserState = 3
	Accepted       UserState = 4
	Rejected       UserState = 5
	Cancelled      UserState = 6
	BeCancelled    UserState = 7
	Timeout        UserState = 8
	Quit           UserState = 9
)

// Pending reports whether the invitation is still open.
func (u UserState) Pending() bool { return u == Inviting || u == Received || u == NotYetReceived }

// Live reports whether the user counts against the limit of users in a call: pending or Accepted.
func (u UserState) Live() bool { return u.Pending() || u == Accepted }

// Reason says why a change happened; zero where nothing needs saying.
type Reason uint8

// The reasons (SPEC 2).
const (
	ReasonNone          Reason = 0
	ReasonCancelled     Reason = 1
	ReasonCallerOffline Reason = 2
	ReasonAllAnswered   Reason = 3
	ReasonNoAnswer      Reason = 4
	ReasonRejected      Reason = 5
	ReasonBusy          Reason = 6
	ReasonEndedByUser   Reason = 7
	ReasonEmpty         Reason = 8
	ReasonAloneTimeout  Reason = 9
	ReasonMaxDuration   Reason = 10
	ReasonEndedByServer Reason = 11
	// AnsweredElsewhere and MovedToOtherDevice are told to devices, never stored.
	ReasonAnsweredElsewhere  Reason = 12
	ReasonMovedToOtherDevice Reason = 13
	ReasonConnectionLost     Reason = 14
)

// Rules are the server settings that a call was created under; they go with the call for as long as it lives.
type Rules struct {
	NotReceivedAfter time.Duration // how long Inviting waits for a receipt when the call asks for the check; above 0
	MaxDuration      time.Duration // from creation to the forced end; above 0
	MemberLease      time.Duration // an Accepted member offline this long becomes Quit; 0 = never
	InvitedOnly      bool          // call.join_policy = invited
	MaxInvitees      int           // per request, 1..100
	MaxUsers         int           // pending or Accepted at once, the caller included, 2..100
}

// State is one call, complete: what is stored, and (marked soft) what only the living owner knows.
// It is a value: Step never changes the State it was given. Slices are copied before they are written.
type State struct {
	ID       ID
	Version  uint64 // durable changes so far, one by one; what devices see
	Revision uint64 // writes so far (durable changes and recorded refusals); the store compares and sets it
	Seq      uint64 // changes so far, soft ones included; orders what is owed to whom

	Mode          Mode
	Caller        UserID
	InviteCommand CommandID // the intent that made the call: a retried callInvite meets its first call
	InviteErrors  []UserError
	Created       Millis
	Timeout       time.Duration // whole seconds, 1 s..600 s
	AloneTimeout  time.Duration // whole seconds; 0 = never
	CheckReceived bool          // enableNotReceivedCheck
	ExtendedData  string
	Rules         Rules

	Ended     Millis // zero while started
	EndReason Reason
	EndSeq    uint64
	EndedBy   UserID // operatedUserID of a callEnd; empty when the server ended it
	EndDevice DeviceID

	EverAccepted bool   // somebody but the caller has been Accepted (SPEC 4)
	AloneSince   Millis // the caller is Accepted and everyone else gone since then; zero = not alone

	Users    []Participant // the caller first, then in the order of invitation
	Outcomes []Outcome     // the last commands, oldest first, at most MaxOutcomes

	Closed bool // nothing more to tell: the record leaves the open calls

	// Soft, never stored.
	LingerFrom Millis // when the end was applied, which a late timer makes later than Ended
	Belated    bool   // another owner has closed the call, and not all that this one reaches have been told
}

// Participant is one user's place in the call.
type Participant struct {
	User         UserID
	Inviter      UserID // who invited him last; empty for the caller and for one who joined from outside
	State        UserState
	Change       Change // how he came into State
	ExtendedData string // what he passed in his last operation
	InviteData   string // extendedData of his own invitation where it differs from the call's; empty = the call's
	InvitedFor   time.Duration

	InvitedAt  Millis
	Deadline   Millis // his invitation times out then; zero unless pending
	AcceptedAt Millis
	QuitAt     Millis

	Main      DeviceID // main device in this call; empty = none yet
	MovedFrom DeviceID // the device that was main before MovedSeq; empty = more than one may believe that it is
	Invited   bool     // was at some time invited to this call, or is its caller

	InvitedSeq  uint64 // last invitation
	AnsweredSeq uint64 // last time he left the pending states
	JoinedSeq   uint64 // last time he came in by callJoin
	MovedSeq    uint64 // last move of the main device since he came in; zero = none

	Told uint64 // soft until the next write: the Seq his session acknowledged

	// Soft, never stored.
	Sent         uint64 // the Seq last told, acknowledged or not
	RetryAt      Millis // when to tell him again; zero = nothing outstanding
	WatchedUntil Millis // his session was asked to watch him until then; zero = not watched
	OfflineSince Millis // his session said that he is offline; zero = online or not known
}

// Change says which change put a participant into his state.
type Change struct {
	Seq    uint64
	By     UserID // empty: the server (a time-out)
	Device DeviceID
	Reason Reason
	At     Millis
}

// UserError is one entry of errorUsers.
type UserError struct {
	User UserID
	Code Code
}

// Outcome is what one command came to; a retry with the same command ID gets it again (SPEC 9.3).
type Outcome struct {
	User    UserID
	Command CommandID
	Op      Op
	Code    Code // OK or the refusal
	Message string
	Errors  []UserError
	Times   Times
}

// Times are the instants that answers carry; zero where an answer has none.
type Times struct {
	Created, Accepted, Joined, Quit, Ended Millis
}

// Limits of one call's memory.
const (
	MaxOutcomes = 32  // outcomes remembered per call
	MaxRecorded = 128 // participants remembered per call, those who left included
)

// Find gives the participant, or nil. The pointer is into s: read only.
func (s *State) Find(u UserID) *Participant {
	for i := range s.Users {
		if s.Users[i].User == u {
			return &s.Users[i]
		}
	}
	return nil
}

// StateOf is the user's state; Outsider when he never took part.
func (s *State) StateOf(u UserID) UserState {
	if p := s.Find(u); p != nil {
		return p.State
	}
	return Outsider
}

// Open reports whether the call is started.
func (s *State) Open() bool { return s.Ended == 0 }

// LiveFor reports whether the call is live for the user: started, and he is pending or Accepted (SPEC 5, sync).
func (s *State) LiveFor(u UserID) bool { return s.Open() && s.StateOf(u).Live() }

// Remaining is how long the participant's invitation still rings; zero unless he is pending.
func (p *Participant) Remaining(now time.Time) time.Duration {
	if !p.State.Pending() || p.Deadline == 0 {
		return 0
	}
	return max(0, p.Deadline.Time().Sub(now))
}
