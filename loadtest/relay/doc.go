// Package relay is the yardstick for what a call set-up costs: a server that moves the frames of a set-up between QUIC
// connections and does nothing else, and the users who drive it. There is no state, no login, no protobuf, no disk. What
// Carillon costs above it is what Carillon does; what it costs below it, Carillon saves by sending fewer datagrams.
//
// A set-up is what it is with Carillon, in the sizes of Carillon's frames: A invites B and is answered, B rings; B says that
// he has rung, A and he are told; B accepts after a while and is answered, A is told. QUIC is set as transport sets it.
//
// Concurrency: one goroutine reads each connection, and writes to others what it has read; a frame for a connection that
// somebody is writing to is left to that one. A Crowd has one goroutine more, which accepts.
package relay
