package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// link is the bounded queue of frames for one peer. The remote's own queue to a peer has no bound and vanishes with its
// connection, so nothing waits there but a token: an invitation to fetch what has gathered here, which the remote's writer
// accepts when it is connected and about to write. What gathers meanwhile leaves as one parcel.
type link struct {
	name, addr string
	sender     string // this node's name
	limit      int    // bytes
	post       func(*token)
	gone       context.Context // over when the link is closed
	end        context.CancelFunc

	mu      sync.Mutex
	records []byte
	turn    uint64    // of the tokens that may fetch
	flying  bool      // such a token is with the remote
	since   time.Time // when it was posted
	retry   time.Time // after a failed connection: no token before
	closed  bool
}

const (
	retryAfter = 100 * time.Millisecond // from a failed connection to the next attempt
	tokenLimit = 15 * time.Second       // a token that nobody has fetched by for so long is lost with its connection
)

var errFetch = errors.New("cluster: a parcel is not deserialized twice")

// token is what the remote's mailbox for a peer holds: at most one per link that counts.
type token struct {
	*link
	turn uint64
}

// parcel is a token as it is written.
type parcel struct{ *wrapperspb.BytesValue }

// Deserialize is never called: the receiver sees the BytesValue.
func (parcel) Deserialize() (remote.RootSerializable, error) { return nil, errFetch }

// Serialize fetches. The remote's writer calls it.
func (t *token) Serialize() (remote.RootSerialized, error) {
	return parcel{&wrapperspb.BytesValue{Value: t.fetch(t.turn)}}, nil
}

// IgnoreDeadLetterLogging says that a token that ends nowhere is no loss.
func (*token) IgnoreDeadLetterLogging() {}

// maxPatient is how many bytes may wait for somebody who does not.
const maxPatient = 64 << 10

// send queues the frame: ErrOverflow where there is no room, ErrUnknownNode once the link is closed. One that is patient is not
// worth a parcel of its own.
func (l *link) send(f frame, patient bool) error {
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return ErrUnknownNode
	case len(l.records)+len(f.body)+headSize > l.limit:
		l.mu.Unlock()
		return ErrOverflow
	}
	l.records = appendFrame(l.records, f)
	var t *token
	if !patient || len(l.records) > maxPatient {
		t = l.invite()
	}
	l.mu.Unlock()
	if t != nil {
		l.post(t)
	}
	return nil
}

// invite gives a token to post, unless one is on its way or it is too early.
func (l *link) invite() *token {
	if l.flying || l.closed || len(l.records) == 0 {
		return nil
	}
	now := time.Now()
	if now.Before(l.retry) {
		return nil
	}
	l.flying, l.since = true, now
	return &token{link: l, turn: l.turn}
}

// fetch takes a parcel out of the queue; nil for a token that was given up.
func (l *link) fetch(turn uint64) []byte {
	l.mu.Lock()
	if turn != l.turn || l.closed {
		l.mu.Unlock()
		return nil
	}
	size := whole(l.records, maxParcel)
	b := make([]byte, 0, size+len(l.sender)+8)
	b = append(appendParcel(b, l.sender), l.records[:size]...)
	if l.records = l.records[size:]; len(l.records) == 0 {
		l.records = nil
	}
	l.flying = false
	t := l.invite()
	l.mu.Unlock()
	if t != nil {
		l.post(t)
	}
	return b
}

// whole is the length of the records at the front of b that fit the limit together, but of one at least.
func whole(b []byte, limit int) int {
	if len(b) <= limit {
		return len(b)
	}
	size := 0
	for {
		_, rest, err := nextFrame(b[size:])
		if end := len(b) - len(rest); err != nil || end > limit && size > 0 {
			return size
		}
		size = len(b) - len(rest)
	}
}

// failed gives up the token that was on its way over a connection that is no more.
func (l *link) failed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	l.flying = false
	l.retry = time.Now().Add(retryAfter)
}

// nudge posts a token for what could not leave before, or was patient. It reports whether the last one seems lost.
func (l *link) nudge() (lost bool) {
	l.mu.Lock()
	t := l.invite()
	lost = l.flying && time.Since(l.since) > tokenLimit
	l.mu.Unlock()
	if t != nil {
		l.post(t)
	}
	return lost
}

// close ends the link and gives what had not left.
func (l *link) close() []frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.turn++
	var left []frame
	for b := l.records; len(b) > 0; {
		f, rest, err := nextFrame(b)
		if err != nil {
			break
		}
		left, b = append(left, f), rest
	}
	l.records = nil
	return left
}

// gatewayName is the gateway process in each node's registry.
const gatewayName = "carillon"

func newLink(system *actor.ActorSystem, sender string, m Member, limit int) *link {
	l := &link{name: m.Name, addr: m.RemoteAddr, sender: sender, limit: limit}
	l.gone, l.end = context.WithCancel(context.Background())
	pid := actor.NewPID(m.RemoteAddr, gatewayName)
	l.post = func(t *token) { system.Root.Send(pid, t) }
	return l
}
