package cluster

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// fence cuts a node off from addresses: what it sends there vanishes, and its connections there break.
type fence struct {
	mu    sync.Mutex
	off   []string
	conns map[net.Conn]string
}

var errCut = errors.New("cut off")

func (f *fence) cut(addrs []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = addrs
	for conn, addr := range f.conns {
		if slices.Contains(addrs, addr) {
			_ = conn.Close()
		}
	}
}

func (f *fence) isOff(addr string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.off, addr)
}

func (f *fence) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if f.isOff(addr) {
		return nil, errCut
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.conns == nil {
			f.conns = make(map[net.Conn]string)
		}
		f.conns[conn] = addr
	}
	return conn, err
}

// wrap fences membership.
func (f *fence) wrap(t *memberlist.NetTransport) memberlist.NodeAwareTransport {
	return &fencedTransport{NetTransport: t, fence: f}
}

type fencedTransport struct {
	*memberlist.NetTransport
	fence *fence
}

func (t *fencedTransport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if t.fence.isOff(a.Addr) {
		return time.Now(), nil
	}
	return t.NetTransport.WriteToAddress(b, a)
}

func (t *fencedTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (t *fencedTransport) DialAddressTimeout(a memberlist.Address, limit time.Duration) (net.Conn, error) {
	if t.fence.isOff(a.Addr) {
		return nil, errCut
	}
	return t.NetTransport.DialAddressTimeout(a, limit)
}

func (t *fencedTransport) DialTimeout(addr string, limit time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, limit)
}
