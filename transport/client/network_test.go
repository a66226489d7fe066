package client

import (
	"net"
	"sync"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// network delivers packets at once, unless it is cut or a host is dead; what goes nowhere is lost.
type network struct {
	simnet.PerfectRouter
	mu   sync.Mutex
	cut  bool
	dead map[string]bool // by host:port
	port int
}

func (n *network) SendPacket(p simnet.Packet) error {
	n.mu.Lock()
	lost := n.cut || n.dead[p.From.String()] || n.dead[p.To.String()]
	n.mu.Unlock()
	if !lost {
		_ = n.PerfectRouter.SendPacket(p) // an unknown destination is a lost packet
	}
	return nil
}

func (n *network) setCut(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

// kill makes a host disappear without a word.
func (n *network) kill(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead == nil {
		n.dead = make(map[string]bool)
	}
	n.dead[address] = true
}

// revive brings it back.
func (n *network) revive(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.dead, address)
}

// listen opens a socket of the client's side.
func (n *network) listen() (net.PacketConn, error) {
	n.mu.Lock()
	n.port++
	port := n.port
	n.mu.Unlock()
	return simnet.NewSimConn(&net.UDPAddr{IP: net.IPv4(2, 0, 0, 1), Port: 10000 + port}, n), nil
}

func simnetSocket(n *network, at *net.UDPAddr) net.PacketConn { return simnet.NewSimConn(at, n) }
