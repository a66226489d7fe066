package persistence

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// cut says where a connection is cut.
type cut uint8

const (
	atRequest cut = iota // what carries the mark doesn't reach the server
	inRequest            // half of it does
	atAnswer             // the server answers it, and the answer is lost
)

func (c cut) String() string { return [...]string{"before it", "within it", "before its answer"}[c] }

// relay is a way to the server that can be cut.
type relay struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	mark  []byte      // what the next request to be cut contains
	where cut         //
	then  func()      // called when it is cut, before the client learns of it
	every func() *cut // asked about every request that a transaction could be in
	cuts  int
	shut  bool
}

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	r.running.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// arm cuts the next request that contains the mark; then is called at that moment.
func (r *relay) arm(where cut, mark string, then func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.where, r.mark, r.then = where, []byte(mark), then
}

func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cuts
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	r.shut = true
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !r.keep(client, server) {
			return
		}
		p := &pair{r: r, client: client, server: server}
		r.running.Go(p.requests)
		r.running.Go(p.answers)
	}
}

func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = struct{}{}
		if r.shut {
			_ = c.Close()
		}
	}
	return !r.shut
}

// verdict says whether this request is to be cut, and where.
func (r *relay) verdict(request []byte) (where cut, then func(), yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.every != nil {
		if c := r.every(); c != nil {
			r.cuts++
			return *c, nil, true
		}
	}
	if r.mark == nil || !bytes.Contains(request, r.mark) {
		return 0, nil, false
	}
	r.mark = nil
	r.cuts++
	return r.where, r.then, true
}

// pair is one connection by way of the relay.
type pair struct {
	r              *relay
	client, server net.Conn

	mu     sync.Mutex
	doomed bool // the next answer is lost
	then   func()
}

func (p *pair) end() { _ = errors.Join(p.client.Close(), p.server.Close()) }

func (p *pair) requests() {
	defer p.end()
	b := make([]byte, 256<<10)
	for {
		n, err := p.client.Read(b)
		if err != nil {
			return
		}
		where, then, yes := p.r.verdict(b[:n])
		if yes && where == atAnswer {
			p.mu.Lock()
			p.doomed, p.then = true, then
			p.mu.Unlock()
		}
		if yes && where != atAnswer {
			if where == inRequest {
				_, _ = p.server.Write(b[:n/2])
			}
			_ = p.server.Close()
			_, _ = io.Copy(io.Discard, p.server)
			if then != nil {
				then()
			}
			return
		}
		if _, err := p.server.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *pair) answers() {
	defer p.end()
	b := make([]byte, 256<<10)
	for {
		n, err := p.server.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		doomed, then := p.doomed, p.then
		p.mu.Unlock()
		if doomed {
			if then != nil {
				then()
			}
			return
		}
		if _, err := p.client.Write(b[:n]); err != nil {
			return
		}
	}
}
