package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"carillon/actors"
	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/persistence"
	"carillon/transport"
	"carillon/transport/wire"
)

// store is what a node needs of persistence.
type store interface {
	actors.Store
	actors.Users
	Health() error
	Queued() int
	Close() error
}

func openStore(cfg Config, log *slog.Logger, m *Metrics, fatal func(error)) (store, error) {
	c := persistence.Config{
		Dir: cfg.dataFile("calls"), Retention: cfg.Call.Retention, MinFreeBytes: uint64(cfg.Persistence.MinFreeMiB) << 20,
		Logger: log, Observe: m.Committed,
		Fatal: func(err error) { fatal(fmt.Errorf("persistence.dir: %w", err)) },
	}
	switch cfg.Persistence.Engine {
	case "memory":
		return persistence.NewMemory(c), nil
	case "postgres":
		c.DSN = cfg.Persistence.DSN
		p, err := persistence.OpenPostgres(c)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	p, err := persistence.Open(c)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func authenticator(cfg AuthConfig) (transport.Authenticator, error) {
	switch cfg.Mode {
	case "token04":
		a, err := transport.Token04FromSecret([]byte(cfg.Token04.Secret), cfg.Token04.AppID)
		if err != nil {
			return nil, fmt.Errorf("auth.token04: %w", err)
		}
		return a, nil
	case "jwt":
		return jwtAuthenticator(cfg.JWT)
	}
	return transport.NoAuth{}, nil
}

// jwtAuthenticator accepts what any of the configured keys accepts.
func jwtAuthenticator(cfg JWTConfig) (transport.Authenticator, error) {
	var out anyOf
	add := func(key, value string, make func() (*transport.JWT, error)) error {
		if value == "" {
			return nil
		}
		a, err := make()
		if err != nil {
			return fmt.Errorf("auth.jwt.%s: %w", key, err)
		}
		out = append(out, a)
		return nil
	}
	return &out, errors.Join(
		add("hs256_secret", cfg.HS256Secret, func() (*transport.JWT, error) { return transport.JWTFromSecret([]byte(cfg.HS256Secret)) }),
		add("public_key_file", cfg.PublicKeyFile, func() (*transport.JWT, error) { return transport.JWTFromPublicKey(cfg.PublicKeyFile) }),
		add("jwks_file", cfg.JWKSFile, func() (*transport.JWT, error) { return transport.JWTFromJWKS(cfg.JWKSFile) }),
	)
}

// anyOf accepts a token that one of its members accepts. That a token has expired says more than that it is invalid.
type anyOf []transport.Authenticator

// Verify is transport.Authenticator's.
func (a *anyOf) Verify(userID, token string, now time.Time) (time.Time, error) {
	var refused error
	for _, member := range *a {
		expires, err := member.Verify(userID, token, now)
		if err == nil {
			return expires, nil
		}
		var e *transport.AuthError
		if refused == nil || (errors.As(err, &e) && e.Code == uint32(call.TokenExpired)) {
			refused = err
		}
	}
	return time.Time{}, refused
}

func certificate(cfg Config) (*tls.Config, error) {
	var c tls.Certificate
	var err error
	if cfg.Transport.TLS.Cert != "" {
		c, err = transport.LoadCertificate(cfg.Transport.TLS.Cert, cfg.Transport.TLS.Key)
	} else {
		c, err = transport.DevCertificate(cfg.Persistence.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("transport.tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13}, nil
}

func (n *Node) actorsConfig(secret []byte, p *phases) actors.Config {
	c, l := n.cfg, n.cfg.Limits
	out := actors.Config{
		Node: c.Node.Name, Advertise: n.advertised(), Secret: secret, Store: n.store, Now: steadyClock(), Logger: n.log, Spread: c.Drain.Spread,
		DefaultTimeout: c.Call.DefaultTimeout, HeartbeatInterval: c.Heartbeat.Interval,
		Calls: call.Rules{
			NotReceivedAfter: c.Call.NotReceivedAfter, MaxDuration: c.Call.MaxDuration, MemberLease: c.Call.MemberLease,
			InvitedOnly: c.Call.JoinPolicy == "invited", MaxInvitees: l.Invitees, MaxUsers: l.UsersInCall,
		},
		Sessions: session.Rules{MaxDevices: l.DevicesPerUser, HeartbeatTimeout: c.Heartbeat.Timeout},
		Limits: actors.Limits{
			ExtendedData: l.ExtendedDataBytes, PushTitle: l.PushTitleBytes, PushContent: l.PushContentBytes, PushPayload: l.PushPayloadBytes,
			RequestsPerSecond: float64(l.RequestsPerSecond), RequestBurst: l.RequestsBurst,
			InFlightPerDevice: l.InFlightPerDevice, InFlight: l.InFlight, TargetWait: l.TargetWait,
		},
		Wait: newLag().read,
		Watch: actors.Observer{
			Operation: n.metrics.Operation, Ring: n.metrics.Rang, Phase: p.move,
			Save:  func(error) { n.metrics.Decided("write failed") },
			Panic: func(kind string) { n.metrics.Decided(kind + " broke down") },

			Fenced: func() { n.metrics.Decided("fenced") }, Repaired: n.metrics.Repaired, Unknown: func() { n.unknown.Add(1) },
		},
	}
	if n.cluster != nil {
		out.Cluster = n.cluster
	}
	if c.Users.Registration == "strict" {
		out.Users = n.store
	}
	if n.tracing != nil {
		out.Tracer = n.tracing
	}
	return out
}

// phases counts the calls in memory by what they are doing.
type phases struct {
	counts [actors.PhaseEnding + 1]atomic.Int64
}

func (p *phases) move(from, to actors.Phase) {
	p.counts[from].Add(-1)
	p.counts[to].Add(1)
}

func (p *phases) read() map[string]int {
	return map[string]int{
		"ringing":  int(p.counts[actors.PhaseRinging].Load()),
		"answered": int(p.counts[actors.PhaseAnswered].Load()),
		"ending":   int(p.counts[actors.PhaseEnding].Load()),
	}
}

func (n *Node) readings(p *phases) Readings {
	return Readings{
		Connections: func() int { return int(n.server.Stats().Open.Load()) },
		Devices:     func() int { return n.system.Stats().Devices },
		OpenCalls:   func() map[string]int { return n.openCalls(p) },
		Closed:      n.closed,
		Admission:   n.admission,
		Cluster:     n.clusterCounts(),
		Queues: map[string]func() int{
			"commit":   n.store.Queued,
			"requests": func() int { return n.system.Stats().InFlight },
		},
	}
}

func (n *Node) admission() Admission {
	a, s := n.system.Admission(), n.server.Stats()
	a.Refused["connections"] = int(s.RefusedConnections.Load() + s.RefusedAddress.Load())
	a.Refused["handshakes"] = int(s.RefusedHandshakes.Load())
	return Admission{Limit: a.Limit, Underway: a.Underway, Admitted: a.Admitted, Refused: a.Refused}
}

// strain tells the listener how hard the actors are pressed.
func (n *Node) strain() transport.Strain {
	switch n.system.Strain() {
	case actors.Refusing:
		return transport.Refusing
	case actors.Late:
		return transport.Late
	}
	return transport.Easy
}

func (n *Node) openCalls(p *phases) map[string]int {
	open := p.read()
	open["resting"] = n.system.Stats().Resting
	return open
}

func (n *Node) closed() map[string]int {
	out := map[string]int{}
	counts := &n.server.Stats().Closed // not a copy
	for code := range counts {
		out[strconv.Itoa(code)] = int(counts[code].Load())
	}
	return out
}

// device makes a connection what a gateway needs.
type device struct{ *transport.Conn }

func (d device) Close(code uint64, reason string) { d.Conn.Close(wire.CloseCode(code), reason) }
