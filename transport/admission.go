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

// door decides who may begin a handshake. It counts half-open connections too, so that it bounds them, and gives no
// address more than its share, so that one hostile host does not shut out the rest.
type door struct {
	limits Limits
	stats  *Stats
	strain func() Strain

	mu        sync.Mutex
	all       tally
	addresses map[netip.Addr]*tally // who has connections, or had some in the last second
}

// tally is what one address has, or all have together.
type tally struct {
	connections int
	handshakes  int // of connections, those that have not finished theirs
	arrivals    bucket
}

func (t *tally) add(connections, handshakes int) {
	t.connections += connections
	t.handshakes += handshakes
}

// visit is one connection's place in the counts, from its first packet to its end.
type visit struct {
	door    *door
	address *tally
	shaken  bool // the handshake is finished
}

type visitKey struct{}

func newDoor(limits Limits, stats *Stats, strain func() Strain) *door {
	return &door{limits: limits, stats: stats, strain: strain, addresses: make(map[netip.Addr]*tally)}
}

// One address's shares of the limits.
func (l Limits) handshakeShare() int { return max(1, l.MaxHandshakes/4) }
func (l Limits) rate() float64       { return float64(l.HandshakesPerSecond) }
func (l Limits) rateShare() float64  { return max(1, l.rate()/2) }

// Strain is how hard the rest of the node is pressed.
type Strain uint8

// The strains.
const (
	Easy     Strain = iota
	Late            // work waits for longer than it should
	Refusing        // and new work of users who are logged in is refused
)

// strained is the part of a limit that is left under strain.
const strained = 8

// under gives the limits under strain. A node that is late takes up fewer handshakes at a time, or their clients give up
// before they are answered; one that refuses work of those who are there also lets in fewer a second.
func (l Limits) under(s Strain) Limits {
	if s >= Late {
		l.MaxHandshakes = max(1, l.MaxHandshakes/strained)
	}
	if s >= Refusing {
		l.HandshakesPerSecond = max(1, l.HandshakesPerSecond/strained)
	}
	return l
}

// failed is what a connection counts that came to nothing: no login, a refused one, or an end that its client had earned.
// So who comes again and again is soon refused before TLS.
const failed = 40

// failed charges the visit's address. It is in debt for a second at most: others may share it.
func (v *visit) failed(now time.Time) {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	l := v.door.limits
	v.address.arrivals.charge(now, l.rateShare(), l.rateShare(), failed)
	v.address.arrivals.spent = min(v.address.arrivals.spent, 2*l.rateShare())
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
	mine := d.addresses[address]
	if mine == nil {
		mine = new(tally)
	}
	l := d.limits.under(d.strain())
	switch {
	case d.all.connections >= l.MaxConnections:
		d.stats.RefusedConnections.Add(1)
		return nil, errTooManyConnections
	case mine.connections >= l.MaxPerAddress:
		d.stats.RefusedAddress.Add(1)
		return nil, errTooManyFromAddress
	case d.all.handshakes >= l.MaxHandshakes, mine.handshakes >= l.handshakeShare(),
		!mine.arrivals.take(now, l.rateShare(), l.rateShare()), !d.all.arrivals.take(now, l.rate(), l.rate()):
		d.stats.RefusedHandshakes.Add(1)
		return nil, errTooManyHandshakes
	}
	d.addresses[address] = mine
	d.all.add(1, 1)
	mine.add(1, 1)
	return &visit{door: d, address: mine}, nil
}

// busy is quic.Transport.VerifySourceAddress: under pressure a client proves its address with one more round trip, so
// that forged addresses take no more than a quarter of the handshakes, and a sixteenth in the name of one victim.
func (d *door) busy(addr net.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all.handshakes >= max(1, d.limits.MaxHandshakes/4) {
		return true
	}
	mine := d.addresses[addressOf(addr)]
	return mine != nil && mine.handshakes >= max(1, d.limits.handshakeShare()/4)
}

// forget drops the addresses that have left and whose rate owes nothing any more.
func (d *door) forget(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for address, t := range d.addresses {
		if t.connections == 0 && t.arrivals.full(now, d.limits.rateShare()) {
			delete(d.addresses, address)
		}
	}
}

func (v *visit) handshakeDone() {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	if !v.shaken {
		v.shaken = true
		v.door.all.add(0, -1)
		v.address.add(0, -1)
	}
}

func (v *visit) leave() {
	v.handshakeDone()
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	v.door.all.add(-1, 0)
	v.address.add(-1, 0)
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
