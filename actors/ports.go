package actors

import (
	"context"
	"sync/atomic"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// Store keeps calls. Its methods block until they are done, may be called from any goroutine, and keep nothing of their
// arguments.
type Store interface {
	// Save makes each transition durable or refuses it by itself: nil, call.ErrConflict, call.ErrUnavailable,
	// call.ErrUnknown, in the order of the batch.
	Save(ctx context.Context, batch []call.Transition) []error
	// Load gives a call, open or closed; call.ErrNotFound, call.ErrNewer.
	Load(ctx context.Context, id call.ID) (call.State, error)
	// OpenCalls visits every call of these shards (nil: of all) that is not closed, with its deadline.
	OpenCalls(ctx context.Context, shards []uint16, visit func(id call.ID, deadline time.Time) error) error
	// UserCalls gives the user's calls, newest creation first, after the given one (0: from the newest), and where to go
	// on (0: finished).
	UserCalls(ctx context.Context, user call.UserID, after call.ID, limit int) ([]call.State, call.ID, error)
	// PendingFor gives the calls that are live for the user, newest first, at most 256.
	PendingFor(ctx context.Context, user call.UserID) ([]call.ID, error)
}

// Users knows who exists, where registration is strict (SPEC 5). Same contract as Store.
type Users interface {
	Register(ctx context.Context, user call.UserID) error
	Known(ctx context.Context, users []call.UserID) ([]bool, error)
}

// Peers carries messages between actors: at most once, in order per sender and receiver, never blocking. What is sent
// belongs to the receiver.
type Peers interface {
	ToCall(id call.ID, msg any)
	ToSession(user call.UserID, msg any)
	ToGateway(conn session.Conn, msg any)
}

// Cluster places shards on nodes and carries messages between them. It may be called from any goroutine and never blocks.
type Cluster interface {
	// Enter keeps the shard on this node until the counter that it gives is decremented; nil: it is not this node's, or not
	// ready for use.
	Enter(shard uint16) *atomic.Int64
	// Send and SendTo take a message at most once to the owner of a shard (System.Deliver) or to a node (System.Direct). The
	// body is theirs from now on. After an error it will not arrive.
	Send(shard uint16, kind uint8, body []byte) error
	SendTo(node string, kind uint8, body []byte) error
	// HandedOver says that nothing works on these shards any more, which System.Moved was told are lost.
	HandedOver(shards []uint16)
}

// Placement says who owns what. It does not change.
type Placement interface {
	Owner(shard uint16) Owner // the zero Owner: nobody
	Boot(node string) uint64  // another after each start of the node; zero: it is no member
}

// Owner is one life of a node.
type Owner struct {
	Node   string
	Boot   uint64
	Client string // where clients reach it, host:port
}

// Device is one client connection, as a gateway sees it. Its methods never block.
type Device interface {
	ID() uint64                       // unique on this node while the process lives
	Send(frames []byte)               // frames with their lengths; does not keep the slice
	Close(code uint64, reason string) // after what was sent; one of wire.CloseCode
	LoggedIn()                        // from now on the connection counts as logged in
	Slow(frames int)                  // what comes next is read as late as if so many frames had come before it
	// GoAway asks the client to reconnect after a while; to is host:port, empty for anywhere.
	GoAway(after time.Duration, to string)
}

// Tracer makes spans of one command's way; ctx carries the span of the step before.
type Tracer interface {
	Start(ctx context.Context, step string, id call.ID, user call.UserID) (context.Context, func(call.Code))
}

// host is what an actor's logic needs of what runs it. Now never runs backwards and ignores jumps of the wall clock.
type host interface {
	Now() time.Time
	// WakeAt sends a wake message at t, instead of what was set before; the zero time sets none. It outlives Rest.
	WakeAt(t time.Time)
	// Retire ends this activation after the present message, for good: what is left for it goes where its key belongs now.
	Retire()
	// Rest ends this activation after the present message, unless more have arrived; the next message starts another.
	Rest()
	// Hurry says whether messages that nobody waits for are to come at once; else they may come with the next one.
	Hurry(on bool)
	// Resumed is when the process last went on after it had stood still; zero if it never has.
	Resumed() time.Time
	// Epoch is a number that no other activation has had.
	Epoch() uint64
}

// wake is the message that WakeAt sends.
type wake struct{}
