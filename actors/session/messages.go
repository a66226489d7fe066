package session

import (
	"time"

	"carillon/actors/call"
)

// What a session hears. Each is a value; byte slices are never written after they were handed over.
type (
	// Login is a device that has shown its token. Calls are those the session must ask before it answers.
	Login struct {
		Device   call.DeviceID
		Conn     Conn
		Request  uint64 // request_id of the answer
		Calls    []call.ID
		Known    []call.ID // of Calls: those that the device named itself
		Versions []uint64  // of Known: the versions it has
		Cut      bool      // there were more calls than MaxCalls
	}
	// Synced is one call's word for a login.
	Synced struct {
		Call     call.ID
		Conn     Conn
		Seq      uint64 // of the state it speaks of
		Snapshot []byte // empty: nothing to tell this device
		Ring     []byte // the frame that makes a pending invitation ring; empty when it is not pending
	}
	// Seen is a sign of life of a connection. Silent ones are none: they only say how much has arrived.
	Seen struct {
		Conn   Conn
		Heard  uint64 // the number of the last Deliver or Welcome that has arrived
		Silent bool
		At     time.Time // when it was given, if nobody waits for it to be heard; zero: now
	}
	// Broken is the end of a connection without a logout.
	Broken struct{ Conn Conn }
	// Logout is the end of a device's session.
	Logout struct {
		Conn    Conn
		Request uint64
	}
	// Tell is what a call has for the user's devices: its frames, in order, then at most one answer.
	Tell struct {
		Call      call.ID
		Epoch     uint64 // of the call's owner; returned in the acknowledgement
		From, Seq uint64 // what to acknowledge; both zero: nothing
		Version   uint64 // of the call; what is older than the last one heard is not handed on
		Items     []Item
		AnswerTo  Conn
		Answer    []byte
		Code      call.Code // of the answer
	}
	// Watch asks the session to say when the user goes and comes back; Offline is what the call believes now.
	Watch struct {
		Call    call.ID
		Offline bool
	}
	// Heard is a call's word that it knows about the user's presence; Done, that it no longer cares.
	Heard struct {
		Call    call.ID
		Offline bool
		Done    bool
	}
	// Handover is what the session's last owner knew.
	Handover struct {
		Devices  []Handed
		Watchers []Watching
		Latest   []Version
		Fresh    call.Millis
	}
	// Doubt says that another session of this user may have acknowledged what was told: nobody knows what the devices have
	// heard.
	Doubt struct{}
	// Tick is the passing of time.
	Tick struct{}
)

// What a Handover speaks of.
type (
	// Handed is one device; Conn is empty while it is in grace.
	Handed struct {
		Device      call.DeviceID
		Conn        Conn
		Seen        call.Millis
		Sent, Heard uint64
	}
	// Watching is a call that wants to know whether the user is there.
	Watching struct {
		Call         call.ID
		Until, Again call.Millis
		Offline      bool
	}
	// Version is what a call has told.
	Version struct {
		Call      call.ID
		Version   uint64
		Epoch     uint64
		From, Seq uint64
		Rang      uint64
	}
)

// Item is one frame for some of the user's devices.
type Item struct {
	Devices call.Audience
	Device  call.DeviceID
	Frame   []byte
	Ring    uint64 // names the invitation that this frame makes ring: no device rings twice for one; zero: it rings for none
}

// Effect is one thing that must happen after a Step, in order.
type Effect interface{ effect() }

// The effects.
type (
	// Deliver hands frames to a connection; Answers of them are answers. Each connection's Delivers and its Welcome are
	// numbered from 1 on: what is missing ends it.
	Deliver struct {
		Conn    Conn
		Number  uint64
		Frames  []byte
		Answers int
		Code    call.Code // of the answers
	}
	// Welcome answers a login: the snapshots, then the rings that were not named, then what came in meanwhile.
	Welcome struct {
		Login   Login
		Number  uint64
		Synced  []Synced
		Missing []call.ID // these calls have not said their word in time
		Held    []Deliver
	}
	// Bye answers a logout and closes the connection.
	Bye struct {
		Conn    Conn
		Request uint64
	}
	// Kick ends a connection whose place another one took.
	Kick struct {
		Conn Conn
		By   call.DeviceID
	}
	// Hang ends a connection that is too slow or silent.
	Hang struct {
		Conn   Conn
		Silent bool
	}
	// Recall tells a connection that its session does not know it: the device must log in again to be in step.
	Recall struct{ Conn Conn }
	// Audit asks a connection on another node whether it has got all that was sent, up to the number.
	Audit struct {
		Conn   Conn
		Number uint64
	}
	// Ask asks a call for its word on a login.
	Ask struct {
		Call  call.ID
		Login Login
	}
	// Ack acknowledges a Tell.
	Ack struct {
		Call      call.ID
		Epoch     uint64
		From, Seq uint64
	}
	// Presence says to a call whether the user is there.
	Presence struct {
		Call   call.ID
		Online bool
	}
)

func (Deliver) effect()  {}
func (Welcome) effect()  {}
func (Bye) effect()      {}
func (Kick) effect()     {}
func (Hang) effect()     {}
func (Recall) effect()   {}
func (Audit) effect()    {}
func (Ask) effect()      {}
func (Ack) effect()      {}
func (Presence) effect() {}
