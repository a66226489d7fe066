package transport

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// session is what a Conn needs of a QUIC connection.
type session interface {
	AcceptStream(context.Context) (stream, error)
	CloseWithError(quic.ApplicationErrorCode, string) error
	Context() context.Context
	RemoteAddr() net.Addr
}

// stream is what a Conn needs of a QUIC stream. Close ends the sending direction only.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

type quicSession struct{ *quic.Conn }

func (q quicSession) AcceptStream(ctx context.Context) (stream, error) {
	s, err := q.Conn.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// phase is how far a Conn is on its way to the end. It only grows.
type phase uint8

const (
	open    phase = iota
	ending        // what is queued is still written; nothing more is queued, no frame is handled
	aborted       // nothing is written any more
)

// Conn is one client's connection.
type Conn struct {
	id        uint64
	cfg       *Config
	session   session
	opened    context.Context // over when the phase is no longer open
	shut      context.CancelFunc
	written   chan struct{} // closed when the phase is not open and no writer runs
	peerEnded bool          // the client has ended its direction; the reader's own
	toll      atomic.Int64  // frames that are charged beside those that have come

	mu      sync.Mutex
	stream  stream // nil until the client has opened it
	phase   phase
	code    wire.CloseCode // why the phase is no longer open
	reason  string
	queue   outbox
	writing bool // a writer runs
	login   login
}

func newConn(id uint64, cfg *Config, s session) *Conn {
	c := &Conn{id: id, cfg: cfg, session: s, written: make(chan struct{})}
	c.opened, c.shut = context.WithCancel(context.Background())
	return c
}

// ID is unique in this process.
func (c *Conn) ID() uint64 { return c.id }

// RemoteAddr is the client's address at this moment. It may change while the connection lives.
func (c *Conn) RemoteAddr() net.Addr { return c.session.RemoteAddr() }

// Send queues frames, one or more ServerFrames with their length prefixes (wire.AppendFrame). It copies them and never
// blocks. A queue that exceeds Limits.QueueBytes closes the connection with wire.CloseSlowConsumer. After Close, or when
// the connection has ended, Send does nothing.
func (c *Conn) Send(frames []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(frames)
}

func (c *Conn) send(frames []byte) {
	if c.phase != open || len(frames) == 0 {
		return
	}
	if !c.queue.push(frames, c.cfg.Limits.QueueBytes) {
		c.cfg.Stats.QueueOverflows.Add(1)
		c.end(aborted, wire.CloseSlowConsumer, "more queued than the client reads")
		return
	}
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

// Close closes the connection with code and a reason for people, after what is queued has been written. Sends and
// incoming frames from now on are ignored. It never blocks; only the first Close counts.
func (c *Conn) Close(code wire.CloseCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(ending, code, reason)
}

// Slow holds the client back as if it had sent so many frames more (Limits.FramesPerSecond).
func (c *Conn) Slow(frames int) { c.toll.Add(int64(frames)) }

// abort closes the connection without writing what is queued.
func (c *Conn) abort(code wire.CloseCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(aborted, code, reason)
}

// end moves the connection to a later phase and wakes its reader, which does the rest.
func (c *Conn) end(to phase, code wire.CloseCode, reason string) {
	if to <= c.phase {
		return
	}
	if c.phase == open {
		c.code, c.reason = code, clip(reason, maxReason)
		c.login.stopTimer()
		c.shut()
		if c.stream != nil {
			_ = c.stream.SetReadDeadline(longAgo)
		}
		if !c.writing {
			close(c.written)
		}
	}
	c.phase = to
	if to == aborted {
		c.queue.drop()
	}
}

// longAgo as a deadline wakes whoever waits.
var longAgo = time.Unix(1, 0)

// write is the writer: it runs while something is queued, one at a time.
func (c *Conn) write() {
	for {
		c.mu.Lock()
		batch, frames := c.queue.take()
		if batch == nil {
			c.writing = false
			if c.phase != open {
				close(c.written)
			}
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		err := c.flush(*batch)
		c.cfg.Stats.Writes.Add(1)
		c.cfg.Stats.FramesOut.Add(uint64(frames))
		c.cfg.Stats.BytesOut.Add(uint64(len(*batch)))
		recycle(batch)
		if err != nil {
			c.writeFailed(err)
		}
	}
}

// flush writes b in chunks, so that WriteTimeout asks for a rate and not for a whole page of a slow network.
func (c *Conn) flush(b []byte) error {
	for len(b) > 0 {
		chunk := b[:min(len(b), writeChunk)]
		if err := c.stream.SetWriteDeadline(time.Now().Add(c.cfg.Limits.WriteTimeout)); err != nil {
			return err
		}
		if _, err := c.stream.Write(chunk); err != nil {
			return err
		}
		b = b[len(chunk):]
	}
	return nil
}

// outbox is what waits to be written: one buffer, so that all of it leaves in one Write.
type outbox struct {
	buf     *[]byte // nil when empty
	largest int     // bytes of the largest push
	frames  int
}

// maxFrame is the longest frame with its prefix.
const maxFrame = wire.MaxServerFrame + 3

// push appends frames, unless more than limit bytes would wait. One long frame rides free: a page or a sync may be
// longer than the limit, and what is queued before or after it should not cost a healthy client its connection.
func (o *outbox) push(frames []byte, limit int) bool {
	if o.buf == nil {
		o.buf = buffers.Get().(*[]byte)
	}
	largest := max(o.largest, len(frames))
	if len(*o.buf)+len(frames)-min(largest, maxFrame) > limit {
		return false
	}
	o.largest = largest
	*o.buf = append(*o.buf, frames...)
	o.frames += countFrames(frames)
	return true
}

// take hands over what waits; nil if nothing does.
func (o *outbox) take() (batch *[]byte, frames int) {
	batch, frames = o.buf, o.frames
	*o = outbox{}
	return batch, frames
}

func (o *outbox) drop() {
	if batch, _ := o.take(); batch != nil {
		recycle(batch)
	}
}

// buffers are shared by all connections: an idle one holds none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

const maxPooled = 16 << 10 // bytes; a longer buffer is left to the collector

func recycle(batch *[]byte) {
	if cap(*batch) <= maxPooled {
		*batch = (*batch)[:0]
		buffers.Put(batch)
	}
}

// clip shortens s to at most limit bytes, at a character's end.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func countFrames(b []byte) int {
	n := 0
	for len(b) > 0 {
		size, skip := binary.Uvarint(b)
		if skip <= 0 || size > uint64(len(b)-skip) {
			return n + 1
		}
		b = b[skip+int(size):]
		n++
	}
	return n
}
