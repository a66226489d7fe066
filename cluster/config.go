package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/memberlist"
)

// Config says how a node takes part. Name, Bind, RemoteBind and Deliver are needed.
type Config struct {
	// Name is the same after a restart and nobody else's: shards are placed by it. At most 64 bytes.
	Name string
	// Bind is memberlist's host:port (TCP and UDP), RemoteBind that of protoactor's remote (TCP).
	Bind, RemoteBind string
	// Advertise is the host that others reach this one at, for both; empty: the hosts above.
	Advertise string
	// Join lists Binds of other nodes, as host:port; its own may be among them. Empty: the first node of a cluster.
	Join []string
	// SecretKey encrypts membership: 16, 24 or 32 bytes; nil: plain, on loopback only.
	SecretKey []byte
	// TLS secures messages, on both sides, as LoadTLS makes it; nil: plain, on loopback only.
	TLS *tls.Config
	// Meta is what the others learn of this node.
	Meta   Meta
	Tuning Tuning
	// System is where the gateway process lives; nil: one of its own.
	System *actor.ActorSystem

	// Deliver takes a message for a shard of this node. It must not block. The body stays as it is but may be a part of
	// a longer buffer: what is kept should be copied.
	Deliver func(shard uint16, kind uint8, body []byte)
	// Patient names the kinds of messages to shards that nobody waits for: they leave with the next one to the same node, or
	// after 50 ms. Nil: there are none.
	Patient func(kind uint8) bool
	// Direct takes a message to this node itself, like Deliver.
	Direct func(from string, kind uint8, body []byte)
	// Answer answers what another node's Ask wants to know, like Deliver. Nil: such questions stay unanswered.
	Answer func(kind uint8, body []byte) []byte
	// Changed is told of each view after it is in force, with the shards that came and went. From now on nothing is
	// delivered to the lost ones; they must be given to HandedOver once nothing works on them any more. Nothing is
	// delivered to the gained ones before Changed has returned. A member with another Boot than before has forgotten all.
	// Nil: lost shards count as handed over.
	Changed func(v *View, gained, lost []uint16)
	// Opened names gained shards that are in use from now on: whoever had them before has stopped, or has taken too long.
	Opened func(shards []uint16)
	// Disputed names shards of this node which another node has begun or ceased to use, too: after a partition, or after
	// the others had thought this one dead. What was loaded before may be stale.
	Disputed func(shards []uint16)
	// Paused says that the process stood still for longer than others wait before they give its shards away. Changed
	// follows, first with every shard lost.
	Paused func()

	Logger *slog.Logger

	// For tests, which cut connections with them.
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	transport func(*memberlist.NetTransport) memberlist.NodeAwareTransport
}

// Tuning is how fast faults are found and how long things wait; zero values mean the defaults in brackets.
type Tuning struct {
	ProbeInterval    time.Duration // between probes of a random member [400 ms]
	ProbeTimeout     time.Duration // for its answer [150 ms]
	SuspicionMult    int           // probe intervals (times log10 of the nodes) until a suspect is dead [2]
	GossipInterval   time.Duration // [80 ms]
	PushPullInterval time.Duration // between full exchanges with a random member [5 s]
	StreamTimeout    time.Duration // of membership's TCP connections [2 s]
	RejoinInterval   time.Duration // between attempts to reach seeds and lost members [1 s]
	FoundAfter       time.Duration // a node in its own Join list that reaches nobody begins alone after this [5 s]
	Debounce         time.Duration // from a membership event to its view [100 ms]
	HandOffTimeout   time.Duration // longest time that a gained shard waits after the members have changed; three times that in all [2 s]
	EarlyTimeout     time.Duration // longest time that a message waits for a view which only its sender has seen [1 s]
	PauseLimit       time.Duration // standing still for longer counts as absence [ProbeInterval × (SuspicionMult+1)]
	LinkBytes        int           // that may wait for one peer [16 MiB]
	HeldBytes        int           // that may wait for hand-offs [16 MiB]
}

func (t Tuning) filled() Tuning {
	const mib = 1 << 20
	t.ProbeInterval = cmp.Or(t.ProbeInterval, 400*time.Millisecond)
	t.ProbeTimeout = cmp.Or(t.ProbeTimeout, 150*time.Millisecond)
	t.SuspicionMult = cmp.Or(t.SuspicionMult, 2)
	t.GossipInterval = cmp.Or(t.GossipInterval, 80*time.Millisecond)
	t.PushPullInterval = cmp.Or(t.PushPullInterval, 5*time.Second)
	t.StreamTimeout = cmp.Or(t.StreamTimeout, 2*time.Second)
	t.RejoinInterval = cmp.Or(t.RejoinInterval, time.Second)
	t.FoundAfter = cmp.Or(t.FoundAfter, 5*time.Second)
	t.Debounce = cmp.Or(t.Debounce, 100*time.Millisecond)
	t.HandOffTimeout = cmp.Or(t.HandOffTimeout, 2*time.Second)
	t.EarlyTimeout = cmp.Or(t.EarlyTimeout, time.Second)
	t.PauseLimit = cmp.Or(t.PauseLimit, t.ProbeInterval*time.Duration(t.SuspicionMult+1))
	t.LinkBytes = cmp.Or(t.LinkBytes, 16*mib)
	t.HeldBytes = cmp.Or(t.HeldBytes, 16*mib)
	return t
}

const maxName = 64 // bytes

// filled checks the configuration and sets what is not given.
func (c Config) filled() (Config, error) {
	if c.Name == "" || len(c.Name) > maxName {
		return c, fmt.Errorf("cluster: Name %q must have 1 to %d bytes", c.Name, maxName)
	}
	if c.Deliver == nil {
		return c, errors.New("cluster: Deliver is missing")
	}
	switch len(c.SecretKey) {
	case 0, 16, 24, 32:
	default:
		return c, fmt.Errorf("cluster: SecretKey has %d bytes, not 16, 24 or 32", len(c.SecretKey))
	}
	host, _, err := splitHostPort("Bind", c.Bind)
	if err != nil {
		return c, err
	}
	if !loopback(host) && len(c.SecretKey) == 0 {
		return c, fmt.Errorf("cluster: Bind %s is not loopback and there is no SecretKey: anyone could join", c.Bind)
	}
	host, _, err = splitHostPort("RemoteBind", c.RemoteBind)
	if err != nil {
		return c, err
	}
	if !loopback(host) && c.TLS == nil {
		return c, fmt.Errorf("cluster: RemoteBind %s is not loopback and there is no TLS: anyone could send", c.RemoteBind)
	}
	for _, seed := range c.Join {
		if _, _, err := splitHostPort("Join", seed); err != nil {
			return c, err
		}
	}
	if c.Direct == nil {
		c.Direct = func(string, uint8, []byte) {}
	}
	if c.Disputed == nil {
		c.Disputed = func([]uint16) {}
	}
	if c.Opened == nil {
		c.Opened = func([]uint16) {}
	}
	if c.Paused == nil {
		c.Paused = func() {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Tuning = c.Tuning.filled()
	return c, nil
}

func splitHostPort(field, addr string) (host string, port int, err error) {
	host, digits, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("cluster: %s: %w", field, err)
	}
	port, err = strconv.Atoi(digits)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("cluster: %s %q: the port must be a number from 1 to 65535", field, addr)
	}
	return host, port, nil
}

// loopback reports whether only this machine can reach the host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// memberlistConfig is memberlist's part; addresses, delegates and transport are still missing.
func (c Config) memberlistConfig() *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name = c.Name
	m.SecretKey = c.SecretKey
	m.ProbeInterval = c.Tuning.ProbeInterval
	m.ProbeTimeout = c.Tuning.ProbeTimeout
	m.SuspicionMult = c.Tuning.SuspicionMult
	m.SuspicionMaxTimeoutMult = 2
	m.GossipInterval = c.Tuning.GossipInterval
	m.PushPullInterval = c.Tuning.PushPullInterval
	m.TCPTimeout = c.Tuning.StreamTimeout
	m.AwarenessMaxMultiplier = 3
	m.GossipToTheDeadTime = 30 * time.Second
	m.DeadNodeReclaimTime = time.Second // a node may come back under another address
	return m
}
