package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Limits of the connections between nodes.
const (
	maxBatch     = 16 << 20 // bytes of one gRPC message; a parcel has at most maxParcel, or one frame
	maxAnswer    = 64 << 10 // bytes of what a receiver answers on the same stream
	window       = 4 << 20  // bytes under way; a fixed one, because gRPC finds its own by a ping for every message
	writerQueue  = 1000     // initial slots of the remote's queue per peer (not a bound: links have that)
	aliveTime    = 10 * time.Second
	aliveTimeout = 2 * time.Second
	aliveMinimum = 5 * time.Second
	maxStreams   = 16 // per connection; the remote uses one
	dialTimeout  = 2 * time.Second
)

// options is how the remote is set up: limits, keys, and interceptors where its own handling would be fatal.
func (f *fabric) options() []remote.ConfigOption {
	server, client := insecure.NewCredentials(), insecure.NewCredentials()
	if f.cfg.TLS != nil {
		server, client = credentials.NewTLS(f.cfg.TLS), credentials.NewTLS(f.cfg.TLS)
	}
	options := []remote.ConfigOption{
		remote.WithEndpointWriterQueueSize(writerQueue),
		remote.WithServerOptions(
			grpc.Creds(server), grpc.MaxRecvMsgSize(maxBatch), grpc.MaxConcurrentStreams(maxStreams),
			grpc.ConnectionTimeout(dialTimeout), grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
			grpc.ChainStreamInterceptor(f.accept), grpc.ChainUnaryInterceptor(refuse),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: aliveTime, Timeout: aliveTimeout}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: aliveMinimum, PermitWithoutStream: true}),
		),
		remote.WithDialOptions(
			grpc.WithTransportCredentials(client), grpc.WithStreamInterceptor(f.connect), grpc.WithContextDialer(f.dial),
			grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer), grpc.MaxCallSendMsgSize(maxBatch)),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveTime, Timeout: aliveTimeout}),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: retryAfter, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
				MinConnectTimeout: dialTimeout,
			}),
		),
	}
	if f.cfg.Advertise != "" {
		_, port, _ := net.SplitHostPort(f.cfg.RemoteBind)
		options = append(options, remote.WithAdvertisedHost(net.JoinHostPort(f.cfg.Advertise, port)))
	}
	return options
}

func (f *fabric) dial(ctx context.Context, addr string) (net.Conn, error) {
	dial := (&net.Dialer{Timeout: dialTimeout}).DialContext
	if f.cfg.dial != nil {
		dial = f.cfg.dial
	}
	return dial(ctx, "tcp", addr)
}

// refuse answers the remote's unary calls, whose own handlers panic.
func refuse(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
	return nil, status.Error(codes.Unimplemented, "cluster: only messages")
}

// accept guards the stream of a peer: what the remote cannot handle never reaches it, and a panic ends the stream only.
func (f *fabric) accept(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	if !f.streams.enter() {
		return status.Error(codes.Unavailable, "cluster: closed")
	}
	defer f.streams.exit()
	defer func() {
		if p := recover(); p != nil {
			f.stats.Panics.Add(1)
			f.log.Error("panic on a peer's message", "panic", p, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "cluster: panic")
		}
	}()
	select {
	case <-f.started:
	case <-f.closing:
		return status.Error(codes.Unavailable, "cluster: closed")
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	return handle(srv, &inbound{ServerStream: stream, stats: f.stats})
}

// inbound drops from each batch what is not a parcel for the gateway.
type inbound struct {
	grpc.ServerStream
	stats *Stats
}

// parcelType is the protobuf type that carries parcels.
const parcelType = "google.protobuf.BytesValue"

func (s *inbound) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	message, ok := m.(*remote.RemoteMessage)
	if !ok {
		return nil
	}
	batch := message.GetMessageBatch()
	if batch == nil {
		return nil
	}
	all := len(batch.Envelopes)
	batch.Envelopes = slices.DeleteFunc(batch.Envelopes, func(e *remote.MessageEnvelope) bool { return !expected(batch, e) })
	s.stats.Unknown.Add(int64(all - len(batch.Envelopes)))
	return nil
}

// expected reports whether the envelope is one that the remote can open and the gateway can read.
func expected(batch *remote.MessageBatch, e *remote.MessageEnvelope) bool {
	within := func(i int32, n int) bool { return i >= 0 && int(i) < n }
	return e != nil && e.SerializerId == 0 &&
		within(e.TypeId, len(batch.TypeNames)) && batch.TypeNames[e.TypeId] == parcelType &&
		within(e.Target, len(batch.Targets)) && batch.Targets[e.Target].GetId() == gatewayName &&
		e.Sender >= 0 && int(e.Sender) <= len(batch.Senders)
}

// connect opens the stream to a peer, for the remote's writer, and waits for as long as the peer is a member.
//
// It panics where it fails, and so does the handshake. On an error the writer would sleep for two seconds and then report
// the address as terminated, which by then may be a healthy connection; a writer that panics is stopped by its supervisor
// at once.
func (f *fabric) connect(_ context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	addr := cc.Target()
	l := f.at(addr)
	if l == nil { // a token that was posted as the peer went
		f.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: addr})
		panic(ErrUnknownNode)
	}
	if !f.streams.enter() {
		panic(ErrClosed)
	}
	s := &outbound{f: f, link: l}
	stream, err := streamer(l.gone, desc, cc, method, append(opts, grpc.WaitForReady(true))...)
	if err != nil {
		s.fail(err)
	}
	s.ClientStream = stream
	return s, nil
}

// outbound is the stream to a peer.
type outbound struct {
	grpc.ClientStream
	f      *fabric
	link   *link
	ready  bool // the peer has answered; used by the writer until then, and by its receiver from then on
	closed atomic.Bool
	over   sync.Once
}

// fail ends the stream before it was ready.
func (s *outbound) fail(err error) {
	s.over.Do(s.f.streams.exit)
	s.f.log.Debug("no connection to a peer", "peer", s.link.name, "addr", s.link.addr, "error", err)
	if s.link.gone.Err() == nil {
		s.f.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: s.link.addr})
	}
	panic(err)
}

// SendMsg is the writer's, who stops without a word where it fails.
func (s *outbound) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(m)
	if err == nil {
		return nil
	}
	message, _ := m.(*remote.RemoteMessage)
	if message.GetConnectRequest() != nil {
		s.fail(err)
	}
	if s.closed.CompareAndSwap(false, true) {
		s.f.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: s.link.addr})
	}
	return err
}

// RecvMsg gives the peer's answer to the writer, and after that waits for the end of the stream. An end that this side has
// chosen is io.EOF: anything else would be reported as the end of whatever connection there is to the address by then.
func (s *outbound) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	switch {
	case !s.ready && err != nil:
		s.fail(err)
	case err == nil:
		s.ready = true
		return nil
	}
	s.over.Do(s.f.streams.exit)
	if s.closed.Load() || s.link.gone.Err() != nil {
		return io.EOF
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // which the remote does report
	}
	return err
}

// CloseSend is how the writer says that it goes.
func (s *outbound) CloseSend() error {
	s.closed.Store(true)
	return s.ClientStream.CloseSend()
}
