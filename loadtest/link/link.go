// Package link joins the coordinator of a load test with a worker: one TCP connection, on which both send frames of JSON. It
// is for trusted networks: a shared secret tells who may give orders, nothing is encrypted.
//
// The worker greets first, the coordinator answers, each with a random nonce; an HMAC over both nonces proves the secret to
// each side, and a worker takes no order before. Both must be of one version and one program. No wait is without a bound:
// each side says something at least every second (Beat), and one that is silent for Silence is gone.
//
// A Conn may be sent to by several goroutines and received from by one.
package link

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Bounds of a connection.
const (
	MaxFrame = 64 << 20         // bytes; the report of a day has some 40 MB
	Beat     = time.Second      // each side says something at least so often
	Silence  = 15 * time.Second // without a frame: the other side is gone

	frameWithin = time.Minute // from a frame's first byte to its last
	maxHello    = 4 << 10     // bytes
	helloWithin = 5 * time.Second
)

// Conn is a connection whose both sides have proved who they are.
type Conn struct {
	raw net.Conn

	sending sync.Mutex
}

// Send sends one frame.
func (c *Conn) Send(v any) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return write(c.raw, v, MaxFrame, frameWithin)
}

// Receive waits for the next frame, for Silence at most.
func (c *Conn) Receive(v any) error { return read(c.raw, v, MaxFrame, Silence, frameWithin) }

// Close ends the connection; who waits in Receive gets an error.
func (c *Conn) Close() error { return c.raw.Close() }

// write sends the length in four bytes, and the frame.
func write(to net.Conn, v any, most int, within time.Duration) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > most {
		return fmt.Errorf("a frame of %d bytes, more than %d", len(b), most)
	}
	if err := to.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err = to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

var errFrame = errors.New("what was sent is no frame of a load test")

// read takes a frame that begins within silence and is whole within another time. It keeps no more than has come.
func read(from net.Conn, v any, most int, silence, within time.Duration) error {
	if err := from.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(from, head[:1]); err != nil {
		return gone(err, silence)
	}
	if err := from.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := io.ReadFull(from, head[1:]); err != nil {
		return gone(err, within)
	}
	length := int64(binary.BigEndian.Uint32(head[:]))
	if length > int64(most) {
		return fmt.Errorf("%w: it would have %d bytes", errFrame, length)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, from, length); err != nil {
		return gone(err, within)
	}
	if err := json.Unmarshal(b.Bytes(), v); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}

// gone says it in words.
func gone(err error, silence time.Duration) error {
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		return fmt.Errorf("nothing was heard for %v: %w", silence, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("the connection was closed: %w", err)
	}
	return err
}
