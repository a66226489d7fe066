package actors

import (
	"context"
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

// Device is one client connection, as a gateway sees it. Its methods never block.
type Device interface {
	ID() uint64                       // unique on this node while the process lives
	Send(frames []byte)               // frames with their lengths; does not keep the slice
	Close(code uint64, reason string) // after what was sent; one of wire.CloseCode
	LoggedIn()                        // from now on the connection counts as logged in
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
	// Rest ends this activation after the present message, unless more have arrived; the next message starts another.
	Rest()
	// Resumed is when the process last went on after it had stood still; zero if it never has.
	Resumed() time.Time
	// Epoch is a number that no other activation has had.
	Epoch() uint64
}

// wake is the message that WakeAt sends.
type wake struct{}
