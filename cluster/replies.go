package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// askTimeout bounds how long Ask waits, whatever its context says.
const askTimeout = 10 * time.Second

// replies is the table of questions that wait for their answers, by number.
type replies struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan []byte
}

// open gives a number and where its answer will come.
func (r *replies) open() (uint64, <-chan []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[uint64]chan []byte)
	}
	r.last++
	answer := make(chan []byte, 1)
	r.waiting[r.last] = answer
	return r.last, answer
}

func (r *replies) close(number uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, number)
}

// take hands an answer to who waits for it; one that comes too late, or twice, is dropped.
func (r *replies) take(body []byte) {
	if len(body) < 8 {
		return
	}
	number := binary.BigEndian.Uint64(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer := r.waiting[number]; answer != nil {
		answer <- bytes.Clone(body[8:])
		delete(r.waiting, number)
	}
}

// Ask asks a node's Answer and waits, for ten seconds at most. It is for operators' questions, not for the way of a call.
func (c *Cluster) Ask(ctx context.Context, node string, kind uint8, body []byte) ([]byte, error) {
	if err := c.sendable(body); err != nil {
		return nil, err
	}
	if node == c.cfg.Name && c.cfg.Answer != nil {
		return c.cfg.Answer(kind, body), nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	number, answer := c.replies.open()
	defer c.replies.close(number)
	if err := c.count(c.carrier.send(node, numbered(question, kind, number, body))); err != nil {
		return nil, err
	}
	select {
	case b := <-answer:
		return b, nil
	case <-c.stop:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("cluster: %s does not answer: %w", node, ctx.Err())
	}
}

func numbered(class class, kind uint8, number uint64, body []byte) frame {
	return frame{class: class, kind: kind, body: append(binary.BigEndian.AppendUint64(nil, number), body...)}
}

// answer answers another node's question.
func (c *Cluster) answer(from string, f frame) {
	if len(f.body) < 8 {
		c.stats.Unknown.Add(1)
		return
	}
	number := binary.BigEndian.Uint64(f.body)
	_ = c.count(c.carrier.send(from, numbered(reply, f.kind, number, c.cfg.Answer(f.kind, f.body[8:]))))
}
