package transport

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"carillon/transport/wire"
)

// Handler is what the server needs of one connection's gateway. Login and Handle are called on the connection's reader
// goroutine, one at a time, and may block only briefly: while they do, this connection (and no other) is not read.
// A Handler owns the frames it is given.
type Handler interface {
	// Login is called once at most: the token has been accepted for f.GetLogin().UserId, nothing else has been checked.
	// The Handler answers it with Send, then calls Conn.LoggedIn, or Conn.Close with wire.CloseLoginRefused.
	Login(f *wire.ClientFrame)
	// Handle is called for any other frame but RenewToken, one without a body too, and also before a login: the Handler
	// refuses it (SPEC.md section 4).
	Handle(f *wire.ClientFrame)
	// Closed is called exactly once, last. Conn.Send has no effect by then.
	Closed()
}

// Config is what a Server needs to be told.
type Config struct {
	// Listen is the UDP address, host:port; port 0 takes a free one. Not used when PacketConn is set.
	Listen string
	// PacketConn replaces the socket that Listen would open. The Server does not close it.
	PacketConn net.PacketConn

	// TLS holds the certificate. ALPN and the least version are set by the Server. If nil, CertFile and KeyFile are read.
	TLS               *tls.Config
	CertFile, KeyFile string // PEM

	// Secret has at least 32 bytes. The keys of stateless resets and address tokens are derived from it, so that clients
	// notice a restarted server at once and nodes accept each other's address tokens.
	Secret []byte

	// Open makes the Handler of a connection whose client has opened its stream. Required.
	Open func(*Conn) Handler
	// Authenticator checks the tokens of Login and RenewToken. Required; NoAuth accepts everybody.
	Authenticator Authenticator

	// Limits bound what clients can cost; the zero value of a field means its default.
	Limits Limits

	// Strain says how hard the node is pressed; what comes in new is bounded the more. Default: always Easy. It must not block.
	Strain func() Strain

	// HeartbeatTimeout is the silence after which a connection is taken for dead: QUIC's idle time-out. Default 35 s.
	HeartbeatTimeout time.Duration

	Logger *slog.Logger     // default: slog.Default()
	Now    func() time.Time // the clock of token expiry; default: time.Now
	Stats  *Stats           // counters to use; default: the Server's own
}

// Limits bound what clients can cost.
type Limits struct {
	// MaxConnections is the number of connections, those in their handshake included. More are refused before any TLS
	// work (QUIC CONNECTION_REFUSED). Default 50,000.
	MaxConnections int
	// MaxPerAddress is the number of connections from one IPv4 address or one IPv6 /64. Default 10,000: a carrier's NAT
	// or a load generator on loopback has one address for many.
	MaxPerAddress int
	// MaxHandshakes is the number of handshakes at one time, a quarter of them from one address at most. Long before
	// either is reached, clients must prove their address first (QUIC Retry). Default 1,024.
	MaxHandshakes int
	// HandshakesPerSecond is the rate of new connections, half of it from one address at most, with a burst of one
	// second's worth. Default 4,000, which is more than two cores can do.
	HandshakesPerSecond int

	// LoginTimeout is the time from the end of the handshake to the Login frame. Default 5 s.
	LoginTimeout time.Duration
	// FrameTimeout is the time from the first byte of a frame to its last. Default 5 s.
	FrameTimeout time.Duration
	// FramesPerSecond is how fast one connection is read, with a burst of two seconds' worth; a frame counts one, plus
	// one per KiB. A faster client is not closed but held back by flow control. Default 200.
	FramesPerSecond int

	// QueueBytes is how much may wait for a client that reads slowly; beside it there is room for one frame of
	// wire.MaxServerFrame. More closes the connection with wire.CloseSlowConsumer. Default 256 KiB.
	QueueBytes int
	// WriteTimeout is the time in which a client must take 64 KiB of what waits. Default 10 s.
	WriteTimeout time.Duration
}

// Limits that are not settings.
const (
	lingerTime    = 500 * time.Millisecond // for the client to read the last frames before the close code
	lingerBytes   = 64 << 10               // read and thrown away meanwhile
	writeChunk    = 64 << 10               // bytes that WriteTimeout is for
	handshakeIdle = 3 * time.Second        // silence in a handshake; twice this is its longest duration
	patrolPeriod  = time.Second            // between looks for a second stream
	socketBuffer  = 8 << 20                // bytes, each way, asked of the kernel
	maxReason     = 256                    // bytes of a close reason
)

func (l Limits) withDefaults() Limits {
	return Limits{
		MaxConnections:      cmp.Or(l.MaxConnections, 50_000),
		MaxPerAddress:       cmp.Or(l.MaxPerAddress, 10_000),
		MaxHandshakes:       cmp.Or(l.MaxHandshakes, 1024),
		HandshakesPerSecond: cmp.Or(l.HandshakesPerSecond, 4000),
		LoginTimeout:        cmp.Or(l.LoginTimeout, 5*time.Second),
		FrameTimeout:        cmp.Or(l.FrameTimeout, 5*time.Second),
		FramesPerSecond:     cmp.Or(l.FramesPerSecond, 200),
		QueueBytes:          cmp.Or(l.QueueBytes, 256<<10),
		WriteTimeout:        cmp.Or(l.WriteTimeout, 10*time.Second),
	}
}

func (l Limits) check() error {
	for name, n := range map[string]int64{
		"MaxConnections": int64(l.MaxConnections), "MaxPerAddress": int64(l.MaxPerAddress),
		"MaxHandshakes": int64(l.MaxHandshakes), "HandshakesPerSecond": int64(l.HandshakesPerSecond),
		"LoginTimeout": int64(l.LoginTimeout), "FrameTimeout": int64(l.FrameTimeout),
		"FramesPerSecond": int64(l.FramesPerSecond), "QueueBytes": int64(l.QueueBytes),
		"WriteTimeout": int64(l.WriteTimeout),
	} {
		if n < 0 {
			return fmt.Errorf("transport: Limits.%s is negative", name)
		}
	}
	return nil
}

// complete checks cfg, fills in its defaults and loads its certificate.
func (cfg Config) complete() (Config, error) {
	switch {
	case cfg.Open == nil:
		return cfg, errors.New("transport: Config.Open is missing")
	case cfg.Authenticator == nil:
		return cfg, errors.New("transport: Config.Authenticator is missing")
	case len(cfg.Secret) < 32:
		return cfg, fmt.Errorf("transport: Config.Secret has %d bytes, at least 32 are needed", len(cfg.Secret))
	case cfg.Listen == "" && cfg.PacketConn == nil:
		return cfg, errors.New("transport: Config.Listen is missing")
	case cfg.HeartbeatTimeout < 0:
		return cfg, errors.New("transport: Config.HeartbeatTimeout is negative")
	}
	if err := cfg.Limits.check(); err != nil {
		return cfg, err
	}
	cfg.Limits = cfg.Limits.withDefaults()
	cfg.HeartbeatTimeout = cmp.Or(cfg.HeartbeatTimeout, 35*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Stats == nil {
		cfg.Stats = new(Stats)
	}
	if cfg.Strain == nil {
		cfg.Strain = func() Strain { return Easy }
	}
	if cfg.TLS == nil {
		cert, err := LoadCertificate(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return cfg, err
		}
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	cfg.TLS = cfg.TLS.Clone()
	cfg.TLS.NextProtos = []string{wire.ALPN}
	cfg.TLS.MinVersion = tls.VersionTLS13
	return cfg, nil
}
