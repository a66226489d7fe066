package actors

import (
	"context"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// What the actors say to each other, beside the messages of package session.
type (
	// command is a user's operation on its way to its call. The answer goes to Conn, by way of the user's session.
	command struct {
		call.Command
		Conn    session.Conn
		Request uint64
		Attempt int             // callInvite: how many IDs were taken
		At      time.Time       // when the gateway got it
		ctx     context.Context // carries the span; nil without a tracer
	}
	// told is a session's acknowledgement of a Tell.
	told struct {
		Epoch     uint64
		User      call.UserID
		From, Seq uint64
	}
	// presence is a session's word on its user.
	presence struct {
		User   call.UserID
		Online bool
	}
	// ask is a session's question for a device that logs in.
	ask struct {
		User   call.UserID
		Device call.DeviceID
		Conn   session.Conn
		Known  bool   // the device named the call itself
		Since  uint64 // and had this version
	}
	// attach is a device that logs in, on its way to its session.
	attach struct {
		Device  call.DeviceID
		Conn    session.Conn
		Request uint64
		At      time.Time
		Known   []known
	}
	known struct {
		Call    call.ID
		Version uint64
	}
	// list is a queryCallInvitationList.
	list struct {
		Conn    session.Conn
		Device  call.DeviceID
		Request uint64
		At      time.Time
		After   call.ID
		Count   int
	}
	// leave ends an activation whose shard goes to another node. One that comes late, because others have taken over long
	// ago, has nothing to hand over.
	leave struct{ Late bool }
	// doubt says that another node may have used the shard at the same time.
	doubt struct{}
	// moved names the users whose sessions have another owner: those of these shards.
	moved struct{ Shards *shardSet }
	// output is what a gateway hands to its connection. Close, if set, comes last. Numbered ones are counted: see
	// session.Deliver.
	output struct {
		Number   uint64
		Frames   []byte
		Answers  int
		Code     call.Code // of the answers
		LoggedIn bool
		Close    *closing
	}
	closing struct {
		Code   uint64
		Reason string
	}
	// recall tells a gateway that its device's session has lost its memory.
	recall struct{}
	// audit asks a gateway whether it has got all numbered outputs, up to this one.
	audit struct{ Number uint64 }
)
