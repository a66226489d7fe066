package transport

import (
	"sync/atomic"

	"carillon/transport/wire"
)

// Stats counts what the Server does. Open is a level, the rest only grow. All may be read at any time.
type Stats struct {
	Open     atomic.Int64  // connections with a finished handshake
	Accepted atomic.Uint64 // handshakes finished

	// First packets refused before TLS, by the limit that was reached. A client may send two at once.
	RefusedConnections atomic.Uint64 // Limits.MaxConnections
	RefusedAddress     atomic.Uint64 // Limits.MaxPerAddress
	RefusedHandshakes  atomic.Uint64 // Limits.MaxHandshakes or HandshakesPerSecond

	LoginsAccepted atomic.Uint64 // tokens accepted
	LoginsRefused  atomic.Uint64 // tokens refused, at login

	FramesIn, FramesOut atomic.Uint64
	BytesIn, BytesOut   atomic.Uint64 // of frames; BytesOut with their length prefixes
	Writes              atomic.Uint64 // FramesOut / Writes frames left together
	QueueOverflows      atomic.Uint64 // Limits.QueueBytes exceeded

	// Closed counts the ends of connections by close code. A client that has left or vanished counts under 0.
	Closed [wire.CloseOverloaded + 1]atomic.Uint64
}

func (s *Stats) closed(code wire.CloseCode) {
	if int(code) < len(s.Closed) {
		s.Closed[code].Add(1)
	}
}
