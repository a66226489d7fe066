package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// Limits of one connection.
const (
	maxOutstanding = 32                                         // operations under way; more wait for a place
	maxQueuedBytes = (maxOutstanding + 4) * wire.MaxClientFrame // unsent; above: the server does not read
	writeTimeout   = 10 * time.Second
	echoMargin     = 3 * time.Second // on top of the interval, for the echo of a heartbeat
	watchSilence   = 2 * time.Second // while a call is pending here: the longest silence before a heartbeat
	watchEcho      = 2 * time.Second // and for its echo
	closeWait      = time.Second     // after the end of the stream, for the close code
)

// waiting is one operation that waits for its answer on a link.
type waiting struct {
	answer    chan *wire.Response // one place
	takesMain bool
	query     bool
}

// link is one QUIC connection with its stream, from the dial to the end. One goroutine reads; anyone sends.
type link struct {
	address string // as configured
	host    string // ip:port that was dialled; asking the connection is a race while it moves
	conn    *quic.Conn
	stream  *quic.Stream
	reader  *wire.Reader
	born    time.Time
	entered time.Time   // when the login was answered
	abort   func() bool // stops the watch on the client's end
	aborted chan struct{}
	writers sync.WaitGroup
	done    chan struct{} // closed when the link has ended and no answer will come

	// Of the reading goroutine.
	kicked     bool // the server said KickedOut
	superseded bool // this device has logged in elsewhere itself: a KickedOut is no news
	moveTo     string

	moves sync.Mutex // one Migrate at a time
	path  *quic.Path // of the last one

	mu       sync.Mutex
	sockets  []socket // opened for this connection, the first at the dial, the others by Migrate
	nextID   uint64
	waiting  map[uint64]*waiting
	out      []byte // unsent
	writing  bool
	dead     bool
	failure  error // why this side ended it
	lastSent time.Time
	lastRead time.Time
	interval time.Duration // between heartbeats; 0 before login
	beat     time.Duration // interval, jittered: the longest time without sending
	watched  bool          // a call is pending here: a dead server must be noticed soon
	look     time.Duration // watchSilence, jittered: the longest time without reading while watched
	echoDue  time.Time     // when there must be a sign of life; zero: none is awaited
	moveAt   time.Time     // zero: not told to go away
}

// socket is a transport that belongs to one link; of a shared one only the transport is set.
type socket struct {
	transport *quic.Transport
	packets   net.PacketConn
}

func (s socket) close() {
	if s.packets != nil {
		_ = s.transport.Close()
		_ = s.packets.Close()
	}
}

// send queues a frame and never blocks. It fails when the link is dead or the frame cannot be encoded.
func (l *link) send(frame *wire.ClientFrame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sendLocked(frame)
}

func (l *link) sendLocked(frame *wire.ClientFrame) error {
	if l.dead {
		return net.ErrClosed
	}
	out, err := wire.AppendFrame(l.out, frame)
	if err != nil {
		return newError(BadParameter, err, "a text is not UTF-8")
	}
	l.out, l.lastSent = out, time.Now()
	if len(l.out) > maxQueuedBytes {
		l.failLocked(errNoWriter, wire.CloseGoingAway)
		return net.ErrClosed
	}
	if !l.writing {
		l.writing = true
		l.writers.Go(l.drain)
	}
	return nil
}

// drain writes what is queued, all of it at a time, until nothing is left.
func (l *link) drain() {
	for {
		l.mu.Lock()
		b := l.out
		l.out = nil
		if len(b) == 0 || l.dead {
			l.writing = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		_ = l.stream.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := l.stream.Write(b); err != nil {
			l.fail(fmt.Errorf("%w: %w", errNoWriter, err), wire.CloseGoingAway)
		}
	}
}

// fail ends the link from this side; the reader finds out. The first cause counts.
func (l *link) fail(cause error, code wire.CloseCode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(cause, code)
}

func (l *link) failLocked(cause error, code wire.CloseCode) {
	if l.dead {
		return
	}
	l.dead, l.failure = true, cause
	l.writers.Go(func() { _ = l.conn.CloseWithError(quic.ApplicationErrorCode(code), "") })
}

// close ends the link if it has not ended, and waits for all that belongs to it. The reading goroutine calls it.
func (l *link) close(cause error, code wire.CloseCode) {
	l.fail(cause, code)
	l.writers.Wait()
	if !l.abort() {
		<-l.aborted
	}
	close(l.done)
	l.mu.Lock()
	sockets := l.sockets
	l.sockets = nil
	l.mu.Unlock()
	for _, s := range sockets {
		s.close()
	}
}

// next gives the next frame of the server, sending heartbeats meanwhile.
func (l *link) next() ([]byte, error) {
	for {
		if err := l.tick(time.Now()); err != nil {
			return nil, err
		}
		frame, err := l.reader.Next()
		switch {
		case err == nil:
			l.alive(time.Now())
			return frame, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, wire.ErrFrameTooLong):
			return nil, fmt.Errorf("%w: %w", errGarbage, err)
		default:
			return nil, l.cause(err)
		}
	}
}

// tick does what is due, and sets the stream's deadline to when the next thing is.
func (l *link) tick(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due(l.echoDue, now) {
		return errNoEcho
	}
	if l.due(l.moveAt, now) && len(l.waiting) == 0 {
		return errMoving
	}
	if l.due(l.beatAt(), now) {
		patience := l.interval + echoMargin
		if l.watched {
			patience = min(patience, watchEcho)
		}
		l.beatLocked(now, patience)
	}
	next := l.beatAt()
	for _, t := range []time.Time{l.echoDue, l.moveAt} {
		if !t.IsZero() && t.After(now) && t.Before(next) {
			next = t
		}
	}
	return l.stream.SetReadDeadline(next)
}

// beatAt is when the next heartbeat is due.
func (l *link) beatAt() time.Time {
	at := l.lastSent.Add(l.beat)
	if soon := l.lastRead.Add(l.look); l.watched && l.echoDue.IsZero() && soon.Before(at) {
		return soon
	}
	return at
}

func (l *link) due(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

func (l *link) beatLocked(now time.Time, patience time.Duration) {
	_ = l.sendLocked(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: padding[:]}}})
	l.lastSent = now
	l.draw()
	if due := now.Add(patience); l.echoDue.IsZero() || due.Before(l.echoDue) {
		l.echoDue = due
	}
}

// draw makes the jitter of the next heartbeat.
func (l *link) draw() {
	l.beat = l.interval*9/10 + rand.N(l.interval/5+1)
	silence := min(l.interval, watchSilence)
	l.look = silence*4/5 + rand.N(silence/5+1)
}

var padding [wire.MinHeartbeat]byte

// probe asks the server for a sign of life at once; without one the link ends after echoMargin.
func (l *link) probe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.interval == 0 {
		return
	}
	l.beatLocked(time.Now(), echoMargin)
	_ = l.stream.SetReadDeadline(time.Now()) // wakes the reader, which takes the new deadline
}

// watch says whether a dead server must be noticed soon. The next tick takes it up: it is what was read that turns it on.
func (l *link) watch(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = on
}

// alive notes that a frame has come: any frame is as good as an echo.
func (l *link) alive(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastRead, l.echoDue = now, time.Time{}
}

// start begins the heartbeats, after login.
func (l *link) start(interval time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interval, l.lastRead = interval, time.Now()
	l.draw()
}

// goAway notes that the server wants the client to move in a while. From then on no operation starts on this link; it ends
// when the last one has its answer or has waited for RequestTimeout.
func (l *link) goAway(e GoAway) {
	l.moveTo = e.ReconnectTo
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moveAt = time.Now().Add(e.ReconnectAfter)
}

// moving reports when the server wants the client to reconnect; zero: it does not.
func (l *link) moving() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moveAt
}

// cause turns the end of the stream into the reason of the connection's end.
func (l *link) cause(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(*quic.StreamError)) {
		wait := time.NewTimer(closeWait)
		defer wait.Stop()
		select {
		case <-l.conn.Context().Done():
		case <-wait.C:
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return l.failure
	}
	if c := context.Cause(l.conn.Context()); c != nil {
		return c
	}
	return err
}

// enlist registers w under a fresh request ID. It fails with 0 when the link is about to be left.
func (l *link) enlist(w *waiting) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.due(l.moveAt, time.Now()) {
		return 0
	}
	l.nextID++
	if l.waiting == nil {
		l.waiting = make(map[uint64]*waiting)
	}
	l.waiting[l.nextID] = w
	return l.nextID
}

// leaving reports that no operation may start on l any more.
func (l *link) leaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead || l.due(l.moveAt, time.Now())
}

func (l *link) discharge(ids ...uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(l.waiting, id)
	}
	if len(l.waiting) == 0 && l.due(l.moveAt, time.Now()) {
		_ = l.stream.SetReadDeadline(time.Now())
	}
}

func (l *link) answered(id uint64) *waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waiting[id]
	delete(l.waiting, id)
	return w
}
