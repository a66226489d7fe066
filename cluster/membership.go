package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// membership is memberlist: who is alive, and what each says of itself. memberlist calls its delegates under its own lock,
// where this one takes a copy and announces that by changed; what Members gives is written to while one reads it.
type membership struct {
	cfg     Config
	stats   *Stats
	log     *slog.Logger
	list    *memberlist.Memberlist
	changed func()
	entered atomic.Bool // it is in a cluster, or has begun one
	before  atomic.Bool // it was, some time
	again   chan struct{}
	stop    context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	self  announcement
	alive map[string]peer   // by name, this node included
	known map[string]string // last addresses of other members by name, at most maxKnown
}

// peer is what memberlist knows of a node.
type peer struct {
	addr string // of its membership
	meta []byte
}

// maxKnown is how many members a node remembers, to look for when they are gone.
const maxKnown = 256

// announcement is a node's metadata. Append only, and short: memberlist carries 512 bytes.
type announcement struct {
	Remote  string `json:"r"`
	Client  string `json:"c,omitempty"`
	Version string `json:"v,omitempty"`
	Leaving bool   `json:"l,omitempty"`
	Boot    uint64 `json:"b"`
}

func (a announcement) encode() ([]byte, error) {
	b, err := json.Marshal(a)
	if err == nil && len(b) > memberlist.MetaMaxSize {
		err = fmt.Errorf("cluster: Meta and addresses have %d bytes together, more than %d", len(b), memberlist.MetaMaxSize)
	}
	return b, err
}

func decodeAnnouncement(b []byte) (a announcement, err error) {
	if err := json.Unmarshal(b, &a); err != nil {
		return a, err
	}
	if a.Remote == "" {
		return a, errors.New("cluster: metadata without an address")
	}
	return a, nil
}

// openMembership listens and announces this node to nobody yet.
func openMembership(cfg Config, stats *Stats, remote string, changed func()) (*membership, error) {
	m := &membership{
		cfg: cfg, stats: stats, log: cfg.Logger, changed: changed,
		again: make(chan struct{}, 1), done: make(chan struct{}), alive: make(map[string]peer), known: make(map[string]string),
		self: announcement{
			Remote: remote, Client: cfg.Meta.Client, Version: cfg.Meta.Version, Boot: uint64(time.Now().UnixNano()),
		},
	}
	if _, err := (announcement{Remote: remote, Client: cfg.Meta.Client, Version: cfg.Meta.Version, Leaving: true, Boot: 1 << 63}).encode(); err != nil {
		return nil, err
	}
	mc := cfg.memberlistConfig()
	mc.Logger = log.New(&logLines{log: cfg.Logger}, "", 0)
	mc.Delegate, mc.Events, mc.Conflict = m, m, m
	host, port, err := splitHostPort("Bind", cfg.Bind)
	if err != nil {
		return nil, err
	}
	if mc.BindAddr, err = resolve("Bind", host); err != nil {
		return nil, err
	}
	mc.BindPort, mc.AdvertisePort = port, port
	if cfg.Advertise != "" {
		if mc.AdvertiseAddr, err = resolve("Advertise", cfg.Advertise); err != nil {
			return nil, err
		}
	}
	transport, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{mc.BindAddr}, BindPort: port, Logger: mc.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: Bind %s: %w", cfg.Bind, err)
	}
	mc.Transport = transport
	if cfg.transport != nil {
		mc.Transport = cfg.transport(transport)
	}
	if m.list, err = memberlist.Create(mc); err != nil {
		_ = transport.Shutdown()
		return nil, fmt.Errorf("cluster: membership: %w", err)
	}
	return m, nil
}

func (m *membership) start() {
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go m.run(ctx)
}

func resolve(field, host string) (string, error) {
	if net.ParseIP(host) != nil {
		return host, nil
	}
	ips, err := net.LookupHost(host)
	if err != nil {
		return "", fmt.Errorf("cluster: %s: %w", field, err)
	}
	return ips[0], nil
}

// members lists who is alive, this node included; nil before this node has entered.
func (m *membership) members() []Member {
	if !m.entered.Load() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	members := make([]Member, 0, len(m.alive))
	for name, p := range m.alive {
		a, err := decodeAnnouncement(p.meta)
		if err != nil {
			continue // of another program
		}
		members = append(members, Member{
			Name: name, RemoteAddr: a.Remote, Leaving: a.Leaving, Boot: a.Boot,
			Meta: Meta{Client: a.Client, Version: a.Version},
		})
	}
	return members
}

// run enters the cluster, and then looks for members that are missing, for ever: memberlist by itself never meets again
// whom it has given up.
func (m *membership) run(ctx context.Context) {
	defer close(m.done)
	m.enter(ctx, len(m.seeds()) == 0)
	tick := time.NewTicker(m.cfg.Tuning.RejoinInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.again:
			m.enter(ctx, len(m.targets()) == 0)
		case <-tick.C:
			m.reach(m.missing())
		}
	}
}

// enter tries until a seed or a known member answers, or somebody has found this node. Who begins a cluster alone: a node
// without seeds, at once; one that is a seed itself, or was a member before, after FoundAfter; others never.
func (m *membership) enter(ctx context.Context, alone bool) {
	began, mayFound := time.Now(), m.isSeed() || m.before.Load()
	tick := time.NewTicker(min(m.cfg.Tuning.RejoinInterval, 250*time.Millisecond))
	defer tick.Stop()
	for !alone && m.reach(m.targets()) == 0 && m.alone() {
		if mayFound && time.Since(began) > m.cfg.Tuning.FoundAfter {
			m.log.Warn("no other node answers: beginning alone", "join", m.cfg.Join)
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	m.entered.Store(true)
	m.changed()
}

// reenter makes this node one that is not in a cluster yet.
func (m *membership) reenter() {
	m.before.Store(true)
	m.entered.Store(false)
	select {
	case m.again <- struct{}{}:
	default:
	}
}

// reach exchanges states with the addresses, a few at a time, and counts the answers.
func (m *membership) reach(addrs []string) int {
	const atOnce = 8
	var answers atomic.Int32
	var wait sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, addr := range addrs {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			if n, err := m.list.Join([]string{addr}); err == nil && n > 0 {
				answers.Add(1)
			}
		})
	}
	wait.Wait()
	return int(answers.Load())
}

// seeds are the Join addresses but this node's own.
func (m *membership) seeds() []string {
	m.mu.Lock()
	own := m.alive[m.cfg.Name].addr
	m.mu.Unlock()
	var seeds []string
	for _, seed := range m.cfg.Join {
		host, port, _ := net.SplitHostPort(seed)
		ip, err := resolve("Join", host)
		if err != nil {
			m.log.Debug("a seed has no address", "seed", seed, "error", err)
			continue
		}
		if addr := net.JoinHostPort(ip, port); addr != own && addr != m.cfg.Bind {
			seeds = append(seeds, addr)
		}
	}
	return seeds
}

func (m *membership) isSeed() bool { return len(m.seeds()) < len(m.cfg.Join) }

// targets are the seeds and all members that were ever seen.
func (m *membership) targets() []string {
	targets := m.seeds()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, addr := range m.known {
		if !slices.Contains(targets, addr) {
			targets = append(targets, addr)
		}
	}
	return targets
}

// missing are the targets that are not alive.
func (m *membership) missing() []string {
	targets := m.targets()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.alive {
		targets = slices.DeleteFunc(targets, func(addr string) bool { return addr == p.addr })
	}
	return targets
}

// alone reports whether memberlist knows of nobody else.
func (m *membership) alone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.alive) < 2
}

// leave tells the others that this node goes, or is gone. It waits until that is on its way, for at most the limit.
func (m *membership) leave(gone bool, limit time.Duration) error {
	if gone {
		return m.list.Leave(limit)
	}
	m.mu.Lock()
	m.self.Leaving = true
	m.mu.Unlock()
	err := m.list.UpdateNode(limit)
	m.changed()
	return err
}

// close goes without a word.
func (m *membership) close() error {
	if m.stop != nil {
		m.stop()
	}
	err := m.list.Shutdown()
	if m.stop != nil {
		<-m.done
	}
	return err
}

// NodeMeta and the four that follow are memberlist's Delegate.
func (m *membership) NodeMeta(int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, _ := m.self.encode() // its length was checked at the start
	return b
}

// NotifyMsg has nothing to take: this package sends no messages by gossip.
func (m *membership) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to give.
func (m *membership) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to give.
func (m *membership) LocalState(bool) []byte { return nil }

// MergeRemoteState has nothing to take.
func (m *membership) MergeRemoteState([]byte, bool) {}

// NotifyJoin and the two that follow are memberlist's EventDelegate.
func (m *membership) NotifyJoin(n *memberlist.Node) { m.NotifyUpdate(n) }

// NotifyUpdate takes what a member says of itself.
func (m *membership) NotifyUpdate(n *memberlist.Node) {
	m.mu.Lock()
	m.alive[n.Name] = peer{addr: n.Address(), meta: bytes.Clone(n.Meta)}
	_, again := m.known[n.Name]
	if n.Name != m.cfg.Name && (again || len(m.known) < maxKnown) {
		m.known[n.Name] = n.Address()
	}
	m.mu.Unlock()
	m.changed()
}

// NotifyLeave goes on looking for the member, unless it has left of its own will.
func (m *membership) NotifyLeave(n *memberlist.Node) {
	m.mu.Lock()
	delete(m.alive, n.Name)
	if a, err := decodeAnnouncement(n.Meta); err != nil || a.Leaving {
		delete(m.known, n.Name)
	}
	m.mu.Unlock()
	m.changed()
}

// NotifyConflict is memberlist's ConflictDelegate.
func (m *membership) NotifyConflict(existing, other *memberlist.Node) {
	m.stats.Conflicts.Add(1)
	m.log.Error("two nodes have the same name", "name", existing.Name, "one", existing.Address(), "other", other.Address())
}

// logLines takes memberlist's log, whose errors are a peer's and no fault of this node. Anybody who reaches the port can make
// it write, so what exceeds linesPerSecond is for debugging only.
type logLines struct {
	log *slog.Logger

	mu     sync.Mutex
	second int64
	lines  int // in that second
}

const linesPerSecond = 10

func (l *logLines) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	level := slog.LevelDebug
	switch {
	case strings.HasPrefix(line, "[ERR]"):
		level = slog.LevelWarn
	case strings.HasPrefix(line, "[WARN]"):
		level = slog.LevelInfo
	}
	if level > slog.LevelDebug && !l.room(time.Now().Unix()) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "membership", "line", strings.ToValidUTF8(line, "?"))
	return len(b), nil
}

func (l *logLines) room(second int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if second != l.second {
		l.second, l.lines = second, 0
	}
	l.lines++
	return l.lines <= linesPerSecond
}
