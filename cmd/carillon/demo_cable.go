package main

import (
	"net"
	"sync/atomic"
)

// cable is the network of one device: while it is cut, what the device sends is lost and nothing reaches it. Neither side
// is told.
type cable struct{ cut atomic.Bool }

// listen opens a socket on the cable.
func (c *cable) listen() (net.PacketConn, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &cabledConn{PacketConn: conn, socket: conn, cable: c}, nil
}

// cabledConn hides what else a UDP socket can do, so that every packet goes through ReadFrom and WriteTo.
type cabledConn struct {
	net.PacketConn
	socket *net.UDPConn
	cable  *cable
}

// SetReadBuffer and SetWriteBuffer pass the wish on.
func (c *cabledConn) SetReadBuffer(bytes int) error  { return c.socket.SetReadBuffer(bytes) }
func (c *cabledConn) SetWriteBuffer(bytes int) error { return c.socket.SetWriteBuffer(bytes) }

func (c *cabledConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.cable.cut.Load() {
			return n, from, err
		}
	}
}

func (c *cabledConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.cable.cut.Load() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}
