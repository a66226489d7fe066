// Package actors runs the calls and the users' sessions of one node, and stands between them and the clients' connections.
//
// The trip of one command, an accept for instance:
//
//  1. A connection's reader hands a frame to its Gateway, which checks it: parameters, rate, places for unanswered requests.
//  2. The Gateway sends the command to its call, by the call's ID. Peers finds the call's actor, or brings it to life.
//  3. The call actor loads its state if it is new, and lets call.Step apply the command, after any deadline that is due.
//  4. It saves the new state and waits for the store: durable, or written by another owner (then it reloads and steps anew),
//     or refused.
//  5. Then it tells: each user concerned gets one message with his events; the acting user's carries the answer, last.
//  6. A session actor takes it, picks the devices that each event is for, and hands frames to their Gateways.
//  7. A Gateway hands frames to its connection, which queues them and never blocks; the request's place is free again.
//  8. The session acknowledges to the call what it has told. What is not acknowledged within a second is told again.
//  9. The call arms one alarm for its state's Deadline.
//  10. An actor that has nothing under way leaves memory after a minute; its alarm, or the next message, brings it back.
//
// The order save, tell, answer is the package's promise (SPEC 9.1): nothing is heard that a crash could take back. All that a
// device hears of a call comes by this one way, so each device hears one order, and the answer in its place in it (SEQUENCES).
// What is told at login takes the same way: the session asks each call, and a call answers with its present state.
//
// In a cluster each step may be on another node: a call and its caller's session are on one, the sessions of the others and the
// connections anywhere. When a shard changes its owner, sessions and ringing calls are handed over, and nobody notices.
//
// What it does not do: it decides nothing about calls (package call) or devices (package session), knows no sockets, no tokens
// and no disk, and keeps nothing that is not in the store but who is connected.
//
// Concurrency: an actor handles one message at a time, on a goroutine that it has only while there are messages. It may block on
// the store for at most five seconds; only its own queue waits meanwhile. Sending never blocks. Gateway.Login, Handle and Closed are
// called by one goroutine, the connection's reader; everything else may be called from any. System.Close waits for every actor.
package actors
