package relay

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/quic-go/quic-go"
)

// kind says what a frame means.
type kind byte

// The frames of a set-up, in their order.
const (
	hello    kind = iota // a user says his number, and is answered with the same
	invite               // A's, of B
	created              // to A, with his answer
	answered             // to A
	ring                 // to B, of A
	receipt              // B's
	received             // to A and to B
	accept               // B's, of A
	accepted             // to B
	told                 // to A and to B: who has accepted
)

// sizes are those of Carillon's frames that mean the same.
var sizes = [...]int{
	hello: 40, invite: 80, created: 210, answered: 140, ring: 140, receipt: 30, received: 60, accept: 60, accepted: 140, told: 80,
}

// A frame is its length (2 bytes) and then: kind (1), the other user's number (4), the call (8), padding.
const (
	headSize  = 2
	bodySize  = 13
	maxFrame  = headSize + 210
	readSize  = 512
	alpn      = "relay"
	queueSize = 64 << 10 // bytes that may wait for one connection
)

var errFrame = errors.New("relay: a malformed frame")

// message is a frame that was read.
type message struct {
	kind kind
	peer uint32
	call uint64
}

// appendFrame writes a message as a frame of its kind's size.
func appendFrame(b []byte, m message) []byte {
	size := sizes[m.kind]
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(b, byte(m.kind))
	b = binary.BigEndian.AppendUint32(b, m.peer)
	b = binary.BigEndian.AppendUint64(b, m.call)
	return append(b, padding[:size-bodySize]...)
}

var padding [maxFrame]byte

// readFrames takes all frames of a stream until it ends, or take returns an error.
func readFrames(s io.Reader, take func(message) error) error {
	buf := make([]byte, readSize)
	have := 0
	for {
		n, err := s.Read(buf[have:])
		have += n
		off := 0
		for have-off >= headSize {
			size := int(binary.BigEndian.Uint16(buf[off:]))
			if size < bodySize || size > maxFrame {
				return errFrame
			}
			if have-off < headSize+size {
				break
			}
			p := buf[off+headSize:]
			m := message{kind: kind(p[0]), peer: binary.BigEndian.Uint32(p[1:]), call: binary.BigEndian.Uint64(p[5:])}
			if m.kind > told {
				return errFrame
			}
			if err := take(m); err != nil {
				return err
			}
			off += headSize + size
		}
		copy(buf, buf[off:have])
		have -= off
		if err != nil {
			return err
		}
	}
}

// quicConfig is transport's, for both sides.
func quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           3 * time.Second,
		MaxIdleTimeout:                 35 * time.Second,
		MaxIncomingStreams:             2,
		MaxIncomingUniStreams:          -1,
		InitialStreamReceiveWindow:     16 << 10,
		MaxStreamReceiveWindow:         32 << 10,
		InitialConnectionReceiveWindow: 32 << 10,
		MaxConnectionReceiveWindow:     64 << 10,
		DisablePathMTUDiscovery:        true,
	}
}
