// Package wire is all that crosses a network: the messages of client.proto and the frames that carry them.
//
// A frame is a varint length followed by that many bytes of one message. The package knows no sockets and keeps no state
// beyond a Reader's buffer; a Reader belongs to one goroutine.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// ALPN is the protocol name that both sides of the TLS handshake must offer.
const ALPN = "carillon/1"

// Frame limits in bytes, the length prefix not counted (SPEC 4).
const (
	MaxClientFrame = 64 << 10
	MaxServerFrame = 1 << 20
)

// MinHeartbeat is the least padding of a Heartbeat in bytes: a smaller packet to a restarted server provokes no reset.
const MinHeartbeat = 32

// CloseCode is a QUIC application error code; append only.
type CloseCode uint64

// The close codes of client.proto, with what a client does next.
const (
	CloseLoggedOut    CloseCode = 0 // nothing
	CloseProtocol     CloseCode = 1 // mend the client
	CloseLoginRefused CloseCode = 2 // fetch a token, log in again
	CloseKickedOut    CloseCode = 3 // do not reconnect by itself
	CloseTokenExpired CloseCode = 4 // fetch a token, log in again
	CloseSlowConsumer CloseCode = 5 // reconnect
	CloseGoingAway    CloseCode = 6 // reconnect, elsewhere if told
	CloseOverloaded   CloseCode = 7 // reconnect later
)

// ErrFrameTooLong is the cause of a Reader's error when a length prefix exceeds its limit; nothing was allocated for it.
var ErrFrameTooLong = errors.New("wire: frame too long")

// AppendFrame appends m as one frame to dst. It fails only for a message that cannot be encoded (invalid UTF-8).
func AppendFrame(dst []byte, m proto.Message) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(proto.Size(m)))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(dst, m)
}

// Reader cuts a byte stream into frames. Its buffer starts small, grows with the bytes of a long frame as they arrive and
// shrinks when idle.
type Reader struct {
	src        io.Reader
	limit      int
	buf        []byte
	start, end int // unread bytes are buf[start:end]
}

const readerBuffer = 512

// NewReader reads frames of at most limit bytes from src.
func NewReader(src io.Reader, limit int) *Reader {
	return &Reader{src: src, limit: limit, buf: make([]byte, readerBuffer)}
}

// Buffered reports whether bytes of a further frame have arrived already.
func (r *Reader) Buffered() bool { return r.end > r.start }

// Next gives the bytes of the next frame, valid until the next call. At a clean end of the stream it returns io.EOF; in
// the middle of a frame io.ErrUnexpectedEOF.
func (r *Reader) Next() ([]byte, error) {
	for {
		have := r.end - r.start
		size, n := binary.Uvarint(r.buf[r.start:r.end])
		if n < 0 || n > binary.MaxVarintLen32 || (n == 0 && have >= binary.MaxVarintLen32) {
			return nil, fmt.Errorf("%w: length prefix of more than %d bytes", ErrFrameTooLong, binary.MaxVarintLen32)
		}
		total := 0 // not known yet
		if n > 0 {
			if size > uint64(r.limit) {
				return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFrameTooLong, size, r.limit)
			}
			total = n + int(size)
			if have >= total {
				frame := r.buf[r.start+n : r.start+total]
				r.start += total
				return frame, nil
			}
		}
		if err := r.fill(total); err != nil {
			return nil, err
		}
	}
}

// fill reads more of a frame of total bytes.
func (r *Reader) fill(total int) error {
	switch {
	case r.start == r.end:
		r.start, r.end = 0, 0
		if len(r.buf) > readerBuffer {
			r.buf = make([]byte, readerBuffer)
		}
	case r.end == len(r.buf):
		r.makeRoom(total)
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && r.end > r.start {
		return io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom grows the buffer only as fast as bytes arrive: a length prefix alone reserves nothing.
func (r *Reader) makeRoom(total int) {
	buf := r.buf
	if r.start == 0 {
		buf = make([]byte, max(min(2*len(r.buf), total), readerBuffer))
	}
	r.end = copy(buf, r.buf[r.start:r.end])
	r.buf, r.start = buf, 0
}
