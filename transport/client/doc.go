// Package client is the Go SDK of Carillon: one logged-in device of one user, over one QUIC connection.
//
// Dial logs in and keeps the device logged in: a lost connection is dialled again with jittered back-off, an unanswered
// operation is repeated under its command ID, and what was missed meanwhile arrives as events. It follows a server's hint to
// a better node, and leaves a node that dies for the next of Config.Addresses. An app uses three things: the nine operations
// (CallInvite to QueryCallInvitationList), the events (Events or Config.OnEvent), and Calls, the calls that are live on this
// device.
//
// The one idea: the client keeps, for each live call, the snapshot that the app's events add up to. Events below its
// version are dropped; after a reconnect the server's snapshot is compared with it, and the difference is told to the app
// in the same event types. So an app needs one handler and no code for reconnecting.
//
// Events wait for the app in one ordered queue of Config.EventQueue places. The client never waits for the app: when the
// queue is full it closes its connection as a slow consumer, waits until the app has drained half of it, reconnects and
// catches up. An app that takes no interest in events sets OnEvent to a function that does nothing.
//
// All methods may be called from several goroutines at once, and operations also from within OnEvent. A client costs one
// goroutine while it is idle, besides those of its QUIC connection; thousands share one socket through Config.Transport.
//
// What it does not do: it carries no media, plays no sound, and remembers nothing across a restart of the process.
package client
