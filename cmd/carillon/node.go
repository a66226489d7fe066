package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"carillon/actors"
	"carillon/cluster"
	"carillon/transport"
)

// Node is one running server: the place where the packages meet. Open it, Run it, Close it.
type Node struct {
	cfg     Config
	log     *slog.Logger
	store   store
	system  *actors.System
	cluster *cluster.Cluster // nil: alone
	server  *transport.Server
	admin   *Admin
	tracing *Tracing
	metrics *Metrics
	failed  chan error // the store or a listener has died
	closing sync.Once

	draining atomic.Bool
	unknown  atomic.Int64  // messages of other nodes that this version does not know
	stop     chan struct{} // closed when the node closes
	tasks    sync.WaitGroup
}

// OpenNode opens the store, takes up the calls that are open in it, and listens. An error names the key that it is about.
func OpenNode(cfg Config, log *slog.Logger) (*Node, error) {
	n := &Node{cfg: cfg, log: log, failed: make(chan error, 2), stop: make(chan struct{})}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open() error {
	registry := prometheus.NewRegistry()
	n.metrics = NewMetrics(registry)
	var err error
	if n.store, err = openStore(n.cfg, n.log, n.metrics, n.fail); err != nil {
		return err
	}
	secret, err := n.secret()
	if err != nil {
		return err
	}
	if n.cfg.Trace.OTLPEndpoint != "" {
		if n.tracing, err = NewTracing(n.cfg.Trace, n.cfg.Node.Name, n.log); err != nil {
			return err
		}
	}
	phases := &phases{}
	status := func(ctx context.Context) Status { return n.status(ctx, phases) }
	if n.admin, err = NewAdmin(n.cfg.Admin, registry, n.ready, status); err != nil {
		return err
	}
	if n.cfg.Cluster.Enabled {
		if n.cluster, err = n.join(phases); err != nil {
			return err
		}
	}
	n.system = actors.NewSystem(n.actorsConfig(secret, phases))
	if err := n.system.Start(context.Background()); err != nil {
		return err
	}
	if n.server, err = n.listen(secret); err != nil {
		return err
	}
	n.metrics.Read(n.readings(phases))
	if n.cluster != nil {
		n.cluster.Start()
		n.tasks.Go(n.announce)
	}
	return nil
}

// secret keys call IDs: nodes that share their calls share it.
func (n *Node) secret() ([]byte, error) {
	if shared, ok := n.store.(vault); ok {
		return sharedSecret(shared, n.cfg.Persistence.Dir, n.log)
	}
	if n.cfg.Persistence.Engine == "memory" {
		return newSecret(), nil
	}
	return loadSecret(n.cfg.Persistence.Dir)
}

func (n *Node) listen(secret []byte) (*transport.Server, error) {
	auth, err := authenticator(n.cfg.Auth)
	if err != nil {
		return nil, err
	}
	certificate, err := certificate(n.cfg)
	if err != nil {
		return nil, err
	}
	if n.cfg.Persistence.Engine == "postgres" {
		secret = nodeSecret(secret, n.cfg.Node.Name)
	}
	l := n.cfg.Limits
	server, err := transport.Listen(transport.Config{
		Listen: n.cfg.Transport.Listen, TLS: certificate, Secret: secret,
		Open:          func(c *transport.Conn) transport.Handler { return n.system.Open(device{c}) },
		Strain:        n.strain,
		Authenticator: auth, HeartbeatTimeout: n.cfg.Heartbeat.Timeout, Logger: n.log,
		Limits: transport.Limits{
			MaxConnections: l.Connections, MaxPerAddress: l.ConnectionsPerAddress, MaxHandshakes: l.Handshakes,
			HandshakesPerSecond: l.HandshakesPerSecond, FramesPerSecond: l.FramesPerSecond, QueueBytes: l.QueueBytes,
			LoginTimeout: n.cfg.Transport.LoginTimeout, FrameTimeout: n.cfg.Transport.FrameTimeout,
			WriteTimeout: n.cfg.Transport.WriteTimeout,
		},
	})
	if err != nil {
		return nil, listenError("transport.listen", "--listen", "UDP", n.cfg.Transport.Listen, err)
	}
	return server, nil
}

// Addr is where clients connect.
func (n *Node) Addr() net.Addr { return n.server.Addr() }

// AdminAddr is where the admin listener answers; nil when there is none.
func (n *Node) AdminAddr() net.Addr { return n.admin.Addr() }

// ready says why the node cannot serve, nil when it can.
func (n *Node) ready() error {
	if n.server == nil {
		return errors.New("starting")
	}
	return errors.Join(n.outside(), n.store.Health())
}

// fail notes what the node cannot go on without; the first one counts.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Run serves until ctx is done, then drains; it returns an error when the node could not go on. Close comes after it.
func (n *Node) Run(ctx context.Context) error {
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := n.admin.Serve(); err != nil {
			n.fail(fmt.Errorf("admin.listen: %w", err))
		}
	}()
	var err error
	select {
	case <-ctx.Done():
		n.Drain(n.cfg.Drain.Timeout)
	case err = <-n.failed:
		n.log.Error("the node cannot go on", "error", err)
	}
	err = errors.Join(err, n.admin.Close())
	<-served
	return err
}

// Drain hands the node's calls over, asks clients to follow them, spread over the configured time, and waits for them until
// timeout.
func (n *Node) Drain(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	n.draining.Store(true)
	n.handOver(ctx, timeout)
	if err := n.server.Drain(ctx, n.cfg.Drain.Spread, n.home); err != nil {
		n.log.Info("drained", "left", err)
	}
	n.goodbye()
}

// Close ends the node: connections, then its part in the cluster, then actors, then the store. It may be called on a node that was not wholly opened;
// calling it again is harmless.
func (n *Node) Close() error {
	var err error
	n.closing.Do(func() { err = n.close() })
	return err
}

func (n *Node) close() error {
	var errs []error
	if n.server != nil {
		errs = append(errs, n.server.Close())
	}
	close(n.stop)
	n.tasks.Wait()
	if n.cluster != nil {
		errs = append(errs, n.cluster.Close())
	}
	if n.system != nil {
		n.system.Close()
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.admin != nil {
		errs = append(errs, n.admin.Close())
	}
	if n.tracing != nil {
		ctx, cancel := context.WithTimeout(context.Background(), adminCloseTimeout)
		defer cancel()
		errs = append(errs, n.tracing.Close(ctx))
	}
	return errors.Join(errs...)
}

// dataFile is a file in the node's data directory.
func (c Config) dataFile(name string) string { return filepath.Join(c.Persistence.Dir, name) }
