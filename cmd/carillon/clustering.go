package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"carillon/actors"
	"carillon/actors/call"
	"carillon/cluster"
)

// join opens this node's part in the cluster. It calls back into the system, which must be there before it starts.
func (n *Node) join(p *phases) (*cluster.Cluster, error) {
	k := n.cfg.Cluster
	var keys *tls.Config
	if k.TLS.CA != "" {
		var err error
		if keys, err = cluster.LoadTLS(cluster.TLSFiles{CA: k.TLS.CA, Cert: k.TLS.Cert, Key: k.TLS.Key}); err != nil {
			return nil, fmt.Errorf("cluster.tls: %w", err)
		}
	}
	c, err := cluster.Open(cluster.Config{
		Name: n.cfg.Node.Name, Bind: k.Bind, RemoteBind: k.RemoteBind, Advertise: k.Advertise, Join: k.Join, SecretKey: k.key(), TLS: keys,
		Meta:    cluster.Meta{Client: n.advertised(), Version: versionOf(version, debug.ReadBuildInfo)},
		Deliver: func(_ uint16, kind uint8, body []byte) { n.system.Deliver(kind, body) },
		Patient: actors.Patient,
		Direct:  func(_ string, kind uint8, body []byte) { n.system.Direct(kind, body) },
		Changed: func(v *cluster.View, _, lost []uint16) {
			n.system.Moved(placement{v}, lost)
			if s, ok := n.store.(commons); ok {
				s.Shared(len(v.Members))
			}
		},
		Opened:   func(shards []uint16) { n.system.Opened(shards) },
		Disputed: func(shards []uint16) { n.system.Disputed(shards) },
		Paused:   func() { n.system.Paused() },
		Answer:   func(kind uint8, _ []byte) []byte { return n.answer(kind, p) },
		Logger:   n.log,
	})
	if err != nil {
		return nil, joinError(k, err)
	}
	return c, nil
}

// commons is a store that other nodes commit to.
type commons interface{ Shared(nodes int) }

// joinError names the setting that an address belongs to.
func joinError(k ClusterConfig, err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	for key, addr := range map[string]string{"cluster.bind": k.Bind, "cluster.remote_bind": k.RemoteBind} {
		if op.Addr != nil && op.Addr.String() == addr {
			return fmt.Errorf("%s: cannot listen on %s: %w", key, addr, err)
		}
	}
	return err
}

// advertised is where the other nodes send this one's clients.
func (n *Node) advertised() string { return cmp.Or(n.cfg.Transport.Advertise, n.cfg.Transport.Listen) }

// placement is a view as the actors know it.
type placement struct{ *cluster.View }

// Owner is actors.Placement's.
func (p placement) Owner(shard uint16) actors.Owner {
	m := p.View.Owner(shard)
	return actors.Owner{Node: m.Name, Boot: m.Boot, Client: m.Meta.Client}
}

// Boot is actors.Placement's.
func (p placement) Boot(node string) uint64 {
	m, _ := p.Member(node)
	return m.Boot
}

// outside says why a node of a cluster cannot serve, nil when it can or is alone.
func (n *Node) outside() error {
	switch {
	case n.cluster == nil:
		return nil
	case n.draining.Load():
		return errors.New("leaving the cluster")
	case n.cluster.View().Version == 0:
		return errors.New("not in the cluster yet: no other node has answered")
	}
	return nil
}

const (
	handOffShare   = 2               // of the drain's time, one part in so many may be spent on handing over
	goodbyeTimeout = 2 * time.Second // for the others to hear that this node is gone
)

// handOver gives this node's calls and sessions to the others, before its clients follow them.
func (n *Node) handOver(ctx context.Context, timeout time.Duration) {
	if n.cluster == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout/handOffShare)
	defer cancel()
	if err := n.cluster.Retire(ctx); err != nil {
		n.log.Warn("not all was handed over: the others take it up", "error", err)
	}
}

// goodbye tells the others that this node is gone, so that nobody waits for it.
func (n *Node) goodbye() {
	if n.cluster == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTimeout)
	defer cancel()
	if err := n.cluster.Leave(ctx); err != nil {
		n.log.Info("left without a goodbye", "error", err)
	}
}

// home is where a client is sent that is to leave this node; empty: anywhere.
func (n *Node) home(user string) string {
	if to := n.system.Home(call.UserID(user)); to != n.advertised() {
		return to
	}
	return ""
}

// announce logs when the node has become a part of the cluster, or that it still has not.
func (n *Node) announce() {
	const patience = 10 * time.Second
	late := time.NewTicker(patience)
	defer late.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-n.cluster.Joined():
			n.log.Info("in the cluster", "members", len(n.cluster.View().Members))
			return
		case <-late.C:
			n.log.Warn("not in the cluster yet: none of cluster.join answers", "join", n.cfg.Cluster.Join)
		}
	}
}
