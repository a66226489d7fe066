// Package transport is the server's QUIC side: it listens, authenticates, reads, writes and drains. It carries frames
// between clients and Handlers and does not know what a call is.
//
// A connection is one bidirectional stream that the client opens, with length-prefixed frames in both directions
// (package wire). It has one goroutine, its reader, for as long as it lives: that one accepts the stream, reads frames,
// calls the Handler, and at the end flushes, lingers and closes. A second goroutine, the writer, exists only while
// something is queued, and sends all that is queued in one Write.
//
// Nothing here is unbounded: connections, connections per address, handshakes, frame length, time to log in, time for
// a frame to become whole, frames per second, bytes queued for a slow reader, time for a Write (Limits; SPEC.md
// guarantee 9.6). Who exceeds one loses his connection, with a close code and a reason that says which.
//
// Concurrency: every method of Conn and Server may be called from any goroutine. A Conn never calls its Handler
// concurrently.
package transport
