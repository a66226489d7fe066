package relay

import (
	"errors"
	"sync"

	"github.com/quic-go/quic-go"
)

// pipe is one connection with its stream.
type pipe struct {
	conn   *quic.Conn
	stream *quic.Stream

	mu      sync.Mutex
	queue   []byte
	spare   []byte
	writing bool // somebody writes, and will write what is queued meanwhile
	err     error
}

var errFull = errors.New("relay: a connection does not read")

// send writes frames, or leaves them to whoever is writing.
func (p *pipe) send(frames ...message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	for _, m := range frames {
		p.queue = appendFrame(p.queue, m)
	}
	if len(p.queue) > queueSize {
		p.err = errFull
		p.end()
	}
	if p.writing {
		return p.err
	}
	p.writing = true
	for len(p.queue) > 0 && p.err == nil {
		b := p.queue
		p.queue = p.spare[:0]
		p.mu.Unlock()
		_, err := p.stream.Write(b)
		p.mu.Lock()
		p.spare = b
		if p.err == nil {
			p.err = err
		}
	}
	p.writing = false
	return p.err
}

// end closes the connection.
func (p *pipe) end() { _ = p.conn.CloseWithError(0, "") }
