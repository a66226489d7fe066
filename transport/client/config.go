package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/quic-go/quic-go"
)

// Config is what Dial needs. Addresses, UserID, DeviceID and, unless the server takes anybody, a token are required; a zero
// duration or count means its default.
type Config struct {
	Addresses []string // host:port of servers, tried in turn; 1..16
	UserID    string   // 1..32 bytes (SPEC 4)
	DeviceID  string   // 1..64 bytes, one per installation, the same at every start
	Platform  Platform

	Token string
	// TokenSource fetches a token: at Dial, when the server says that the token is about to expire, and once after the
	// server has refused or closed because of it. It may block until its context ends.
	TokenSource func(context.Context) (string, error)

	// TLS verifies the server. nil: the system's roots, and the name in the address. The client sets the protocol name.
	TLS *tls.Config
	// Insecure takes any certificate, for development; refused unless the server's address is a loopback address.
	Insecure bool

	// OnEvent, when set, is given every event, one at a time and in order, on a goroutine of the client; Events then
	// yields nothing. The first events come before Dial returns. It may call operations and Close, which does not wait for
	// it (see Done).
	OnEvent    func(Event)
	EventQueue int // events that wait for the app; default 1,024, 1..65,536

	DialTimeout    time.Duration // of one attempt at one address, login included; default 5 s. An address that a server named gets 2 s at most
	RequestTimeout time.Duration // of the first attempt at an operation; doubles with each repetition on the same connection; default 2 s
	RequestBudget  time.Duration // of an operation over all attempts, and of a Dial whose context has no deadline; default 15 s
	BackoffMin     time.Duration // first bound of the wait before a reconnect; default 200 ms. The wait is random, 0..bound
	BackoffMax     time.Duration // last bound; default 10 s

	// RetryTooFrequent repeats an operation that was answered 6000005 after the time that the server names, within
	// RequestBudget. Default: the error is returned.
	RetryTooFrequent bool

	// Migrate looks every MigrateEvery (default 3 s) whether the machine's address towards the server has changed, and if so
	// moves the connection there. It needs a socket of the client's own: not with Transport.
	Migrate      bool
	MigrateEvery time.Duration

	// Transport is a socket shared with other clients; the caller closes it, after the clients. nil: each connection opens a
	// socket of its own with Listen, by default a UDP socket on a free port.
	Transport *quic.Transport
	Listen    func() (net.PacketConn, error)

	Logger *slog.Logger // nil: no log
}

// Defaults and bounds of a Config.
const (
	defaultEventQueue     = 1024
	maxEventQueue         = 65536
	maxAddresses          = 16
	maxIDBytes            = 64
	defaultDialTimeout    = 5 * time.Second
	defaultRequestTimeout = 2 * time.Second
	defaultRequestBudget  = 15 * time.Second
	firstBackoff          = 200 * time.Millisecond
	lastBackoff           = 10 * time.Second
	defaultMigrateEvery   = 3 * time.Second
)

func orDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func (cfg *Config) complete() error {
	orDefault(&cfg.EventQueue, defaultEventQueue)
	orDefault(&cfg.DialTimeout, defaultDialTimeout)
	orDefault(&cfg.RequestTimeout, defaultRequestTimeout)
	orDefault(&cfg.RequestBudget, defaultRequestBudget)
	orDefault(&cfg.BackoffMin, firstBackoff)
	orDefault(&cfg.BackoffMax, max(lastBackoff, cfg.BackoffMin))
	orDefault(&cfg.MigrateEvery, defaultMigrateEvery)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Listen == nil {
		cfg.Listen = func() (net.PacketConn, error) { return net.ListenUDP("udp", nil) }
	}
	return cfg.check()
}

func (cfg *Config) check() error {
	switch {
	case len(cfg.Addresses) == 0 || len(cfg.Addresses) > maxAddresses:
		return newError(BadParameter, nil, "Addresses: %d given, want 1..%d", len(cfg.Addresses), maxAddresses)
	case cfg.UserID == "" || len(cfg.UserID) > maxIDBytes:
		return newError(BadParameter, nil, "UserID is %d bytes long", len(cfg.UserID))
	case cfg.DeviceID == "" || len(cfg.DeviceID) > maxIDBytes:
		return newError(BadParameter, nil, "DeviceID is %d bytes long", len(cfg.DeviceID))
	case cfg.EventQueue < 1 || cfg.EventQueue > maxEventQueue:
		return newError(BadParameter, nil, "EventQueue %d, want 1..%d", cfg.EventQueue, maxEventQueue)
	case min(cfg.DialTimeout, cfg.RequestTimeout, cfg.RequestBudget, cfg.BackoffMin, cfg.MigrateEvery) < 0:
		return newError(BadParameter, nil, "a negative duration")
	case cfg.BackoffMax < cfg.BackoffMin:
		return newError(BadParameter, nil, "BackoffMax %v is below BackoffMin %v", cfg.BackoffMax, cfg.BackoffMin)
	case cfg.Migrate && cfg.Transport != nil:
		return newError(BadParameter, nil, "Migrate needs a socket of the client's own, not Transport")
	}
	for _, a := range cfg.Addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return newError(BadParameter, err, "address %q is not host:port", a)
		}
	}
	return nil
}
