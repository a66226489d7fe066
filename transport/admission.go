package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

var (
	errTooManyConnections = errors.New("transport: too many connections")
	errTooManyFromAddress = errors.New("transport: too many connections from this address")
	errTooManyHandshakes  = errors.New("transport: too many handshakes")
)

// door decides who may begin a handshake. It counts half-open connections too, so that it bounds them.
type door struct {
	limits Limits
	stats  *Stats

	mu          sync.Mutex
	connections int
	handshakes  int                // of connections, those that have not finished theirs
	addresses   map[netip.Addr]int // connections by address; no zero entries
	arrivals    bucket
}

// visit is one connection's place in the counts, from its first packet to its end.
type visit struct {
	door    *door
	address netip.Addr
	shaken  bool // the handshake is finished
}

type visitKey struct{}

func newDoor(limits Limits, stats *Stats) *door {
	return &door{limits: limits, stats: stats, addresses: make(map[netip.Addr]int)}
}

// connContext is quic.Transport.ConnContext: an error refuses the connection before any TLS work.
func (d *door) connContext(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	v, err := d.enter(addressOf(info.RemoteAddr), time.Now())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, v.leave)
	return context.WithValue(ctx, visitKey{}, v), nil
}

func (d *door) enter(address netip.Addr, now time.Time) (*visit, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.connections >= d.limits.MaxConnections:
		d.stats.RefusedConnections.Add(1)
		return nil, errTooManyConnections
	case d.addresses[address] >= d.limits.MaxPerAddress:
		d.stats.RefusedAddress.Add(1)
		return nil, errTooManyFromAddress
	case d.handshakes >= d.limits.MaxHandshakes,
		!d.arrivals.take(now, float64(d.limits.HandshakesPerSecond), float64(d.limits.HandshakesPerSecond)):
		d.stats.RefusedHandshakes.Add(1)
		return nil, errTooManyHandshakes
	}
	d.connections++
	d.handshakes++
	d.addresses[address]++
	return &visit{door: d, address: address}, nil
}

// busy is quic.Transport.VerifySourceAddress: under pressure a client proves its address with one more round trip, so
// that forged addresses take no more than a quarter of the handshakes.
func (d *door) busy(net.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handshakes >= max(1, d.limits.MaxHandshakes/4)
}

func (v *visit) handshakeDone() {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	if !v.shaken {
		v.shaken = true
		v.door.handshakes--
	}
}

func (v *visit) leave() {
	v.handshakeDone()
	d := v.door
	d.mu.Lock()
	defer d.mu.Unlock()
	d.connections--
	if d.addresses[v.address]--; d.addresses[v.address] == 0 {
		delete(d.addresses, v.address)
	}
}

// addressOf is what MaxPerAddress counts by: an IPv4 address, or the /64 that an IPv6 host has to itself.
func addressOf(a net.Addr) netip.Addr {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := udp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}
