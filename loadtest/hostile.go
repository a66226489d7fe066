package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// Bounds of what hostile users do.
const (
	maxHostile     = 16
	hostileDevices = 10                     // of one user; they flood
	hostileDials   = 2                      // of one user, that connect and go, in a loop
	hostileFlood   = 32                     // frames in one write
	hostilePause   = 20 * time.Millisecond  // after a connection that was refused or cut: each tries 50 times a second
	hostilePatient = 500 * time.Millisecond // of a write that the server does not read
	hostileLogin   = 2 * time.Second
)

// beset is what hostile users did to the others.
type beset struct {
	Without probe   `json:"without"`
	With    probe   `json:"with"`
	Deeds   deedsOf `json:"hostile_deeds"`
}

// deedsOf counts what the hostile did.
type deedsOf struct {
	Frames      int64 `json:"frames"`
	Connections int64 `json:"connections"` // that were let in
	Refused     int64 `json:"connections_refused"`
}

// intruders are hostile users. They have an address of their own, as hosts do who are no friends of the others; their
// frames are valid, but there are far too many of them, and they read no answer.
type intruders struct {
	packets   *net.UDPConn
	transport *quic.Transport
	to        *net.UDPAddr
	trust     trust
	stop      context.CancelFunc
	all       sync.WaitGroup

	frames, connections, refused atomic.Int64
}

// intrude starts them; they go on until close.
func intrude(ctx context.Context, r *run) (*intruders, error) {
	to, err := net.ResolveUDPAddr("udp", r.target.addrs[0])
	if err != nil || !to.IP.IsLoopback() {
		return nil, fmt.Errorf("-addr %s: hostile users go to loopback addresses only", r.target.addrs[0])
	}
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	if err != nil {
		return nil, fmt.Errorf("hostile users need a second loopback address: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	in := &intruders{packets: packets, transport: &quic.Transport{Conn: packets, ConnectionIDLength: 8}, to: to, trust: r.crowd.trust, stop: stop}
	for n := range r.scenario.Hostile {
		name := fmt.Sprint(r.name, "-hostile", n)
		for d := range hostileDevices {
			in.all.Go(func() { in.loop(ctx, func() bool { return in.flood(ctx, name, fmt.Sprint("d", d)) }) })
		}
		for range hostileDials {
			in.all.Go(func() { in.loop(ctx, func() bool { return in.knock(ctx) }) })
		}
	}
	return in, nil
}

// loop does it again and again.
func (in *intruders) loop(ctx context.Context, do func() bool) {
	for ctx.Err() == nil {
		if !do() {
			_ = rest(ctx, hostilePause) // its end is the loop's
		}
	}
}

// knock connects and goes.
func (in *intruders) knock(ctx context.Context) bool {
	conn := in.dial(ctx)
	if conn == nil {
		return false
	}
	_ = conn.CloseWithError(0, "")
	return true
}

func (in *intruders) dial(ctx context.Context) *quic.Conn {
	ctx, cancel := context.WithTimeout(ctx, hostileLogin)
	defer cancel()
	conn, err := in.transport.Dial(ctx, in.to, in.trust.config(in.to.String()), quicConfig)
	if err != nil {
		in.refused.Add(1)
		return nil
	}
	in.connections.Add(1)
	return conn
}

// flood logs a device in and writes as much as the server takes, without reading.
func (in *intruders) flood(ctx context.Context, name, device string) bool {
	conn := in.dial(ctx)
	if conn == nil {
		return false
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	stream, err := conn.OpenStream()
	if err != nil {
		return false
	}
	token, err := in.trust.token(name, time.Now())
	if err != nil {
		return false
	}
	login, err := wire.AppendFrame(nil, &wire.ClientFrame{RequestId: 1, Body: &wire.ClientFrame_Login{Login: &wire.Login{
		UserId: name, DeviceId: device, Token: token, Platform: wire.Platform_PLATFORM_LINUX, ClientVersion: "loadtest/1",
	}}})
	if err == nil {
		_, err = stream.Write(login)
	}
	for request := uint64(2); err == nil && ctx.Err() == nil && conn.Context().Err() == nil; request += hostileFlood {
		in.frames.Add(hostileFlood)
		for batch := floods(name, request); len(batch) > 0 && ctx.Err() == nil && conn.Context().Err() == nil; {
			_ = stream.SetWriteDeadline(time.Now().Add(hostilePatient))
			n, late := stream.Write(batch)
			if batch = batch[n:]; late != nil && !errors.Is(late, os.ErrDeadlineExceeded) {
				return false
			}
		}
	}
	return false
}

// floods is a batch of invitations and of the longest lists.
func floods(name string, request uint64) []byte {
	var out []byte
	for i := range uint64(hostileFlood) {
		f := &wire.ClientFrame{RequestId: request + i, CommandId: make([]byte, 16)}
		for b := range f.CommandId {
			f.CommandId[b] = byte(rand.Uint32())
		}
		if i%2 == 0 {
			f.Body = &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: []string{name + "-nobody"}}}
		} else {
			f.Body = &wire.ClientFrame_QueryCallInvitationList{QueryCallInvitationList: &wire.QueryCallInvitationList{Count: 100}}
		}
		if with, err := wire.AppendFrame(out, f); err == nil {
			out = with
		}
	}
	return out
}

func (in *intruders) deeds() deedsOf {
	return deedsOf{Frames: in.frames.Load(), Connections: in.connections.Load(), Refused: in.refused.Load()}
}

// close ends them and waits for them.
func (in *intruders) close() error {
	if in == nil {
		return nil
	}
	in.stop()
	err := in.transport.Close()
	in.all.Wait()
	return errors.Join(err, in.packets.Close())
}

func (b *beset) print(w io.Writer) {
	if b == nil {
		return
	}
	for _, one := range []struct {
		what string
		probe
	}{{"without hostile", b.Without}, {"with hostile", b.With}} {
		fmt.Fprintf(w, "%-19s %.1f right per second, %d refused, ring p50 %.2f ms, p99 %.2f ms, server CPU %.2f s\n",
			one.what, one.Right, one.Refused, one.RingP50, one.RingP99, one.CPU)
	}
	fmt.Fprintf(w, "the hostile         %d frames, %d connections, %d connections refused\n", b.Deeds.Frames, b.Deeds.Connections, b.Deeds.Refused)
}
