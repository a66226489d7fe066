package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/asynkron/protoactor-go/actor"
)

// Kinds of messages to a node itself.
const (
	kindPing = 1
	kindPong = 2
)

// The tests of real nodes run each in a process of its own, which is this test binary: protoactor's remote sets gRPC's
// global logger at each start, which is a data race where two start in one process, and only a process can be killed.

// order is what a test tells a node, one JSON line each on its standard input.
type order struct {
	Do    string   // load, quiet, flush, cut, retire, leave, ask, close, alien, big
	Rate  int      // load: messages per second
	Addrs []string // cut: the addresses that cannot be reached from now on
	Node  string   // ask, alien, big: to whom
}

// report is what a node tells the test, one JSON line each on its standard output.
type report struct {
	Event   string // view, done, failed
	Of      string // done, failed: the order
	Error   string
	Version uint64
	Members []string
	Owns    int
	Stats   map[string]int64
}

// setting is how a node is started.
type setting struct {
	Name, Bind, Remote string
	Join               []string
	Key                []byte
	TLS                TLSFiles
	Log                string // file for what it sends and does
	Verbose            bool
	Calm               bool // nobody is taken for dead because the machine is busy
}

const settingVariable = "CARILLON_CLUSTER_TEST_NODE"

func TestMain(m *testing.M) {
	if s := os.Getenv(settingVariable); s != "" {
		os.Exit(runNode(s))
	}
	goleak.VerifyTestMain(m, ignoreThrottle)
}

// ignoreThrottle leaves out protoactor's timers for its log, which sleep for up to a minute.
var ignoreThrottle = goleak.IgnoreAnyFunction("github.com/asynkron/protoactor-go/actor.NewThrottle.func1.1")

// player is a node that sends to random shards, and plays an actor for each shard that something is delivered to.
type player struct {
	set     setting
	cluster *Cluster
	fence   *fence
	out     *json.Encoder
	log     *os.File
	boot    int64

	pongs chan string

	mu       sync.Mutex
	active   map[uint16]bool
	sequence int
	load     context.CancelFunc
	loading  sync.WaitGroup
	drains   sync.WaitGroup
}

func runNode(encoded string) int {
	p := &player{out: json.NewEncoder(os.Stdout), active: make(map[uint16]bool), fence: &fence{}, boot: time.Now().UnixNano(), pongs: make(chan string, 100)}
	if err := json.Unmarshal([]byte(encoded), &p.set); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	var err error
	if p.log, err = os.OpenFile(p.set.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		p.note('b', 0, "-")
		p.cluster, err = Open(p.config())
	}
	if err != nil {
		p.say(report{Event: "failed", Of: "open", Error: err.Error()})
		return 2
	}
	p.cluster.Start()
	p.obey()
	p.drains.Wait()
	for range 5 { // a probe of memberlist's outlives it by up to a second
		if err = goleak.Find(ignoreThrottle); err == nil {
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 3
}

// calm is for tests of what nodes do in order: on a busy machine a process may stand still for seconds.
var calm = Tuning{
	FoundAfter: time.Second, SuspicionMult: 25,
	HandOffTimeout: 10 * time.Second, EarlyTimeout: 5 * time.Second,
}

func (p *player) config() Config {
	cfg := Config{
		Name: p.set.Name, Bind: p.set.Bind, RemoteBind: p.set.Remote, Join: p.set.Join, SecretKey: p.set.Key,
		Meta:    Meta{Client: "client-of-" + p.set.Name, Version: "test"},
		Tuning:  Tuning{FoundAfter: time.Second},
		Deliver: p.deliver, Direct: p.direct, Changed: p.changed,
		Answer: func(_ uint8, who []byte) []byte { return fmt.Appendf(nil, "%s to %s", p.set.Name, who) },
		dial:   p.fence.dial, transport: p.fence.wrap,
	}
	if p.set.Calm {
		cfg.Tuning = calm
	}
	if p.set.Verbose {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if p.set.TLS.Cert != "" {
		var err error
		if cfg.TLS, err = LoadTLS(p.set.TLS); err != nil {
			panic(err)
		}
	}
	return cfg
}

func (p *player) say(r report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(r)
}

// note writes a line that outlives the process.
func (p *player) note(what byte, shard uint16, id string) {
	fmt.Fprintf(p.log, "%c %d %d %s %s\n", what, time.Now().UnixNano(), shard, p.set.Name, id)
}

func (p *player) obey() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var o order
		err := json.Unmarshal(lines.Bytes(), &o)
		if err == nil {
			err = p.follow(o)
		}
		r := report{Event: "done", Of: o.Do, Stats: counts(p.cluster.Stats())}
		if err != nil {
			r.Event, r.Error = "failed", err.Error()
		}
		p.say(r)
		if o.Do == "close" {
			return
		}
	}
}

func (p *player) follow(o order) error {
	switch o.Do {
	case "load":
		ctx, cancel := context.WithCancel(context.Background())
		p.load = cancel
		p.loading.Go(func() { p.send(ctx, time.Second/time.Duration(o.Rate)) })
	case "quiet":
		if p.load != nil {
			p.load()
		}
		p.loading.Wait()
	case "cut":
		p.fence.cut(o.Addrs)
	case "flush":
		return p.flush()
	case "retire", "leave":
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if o.Do == "retire" {
			return p.cluster.Retire(ctx)
		}
		return p.cluster.Leave(ctx)
	case "ask":
		got, err := p.cluster.Ask(context.Background(), o.Node, 9, []byte(p.set.Name))
		if want := o.Node + " to " + p.set.Name; err == nil && string(got) != want {
			err = fmt.Errorf("answer %q", got)
		}
		return err
	case "close":
		return p.cluster.Close()
	case "alien":
		return p.alien(o.Node)
	case "big":
		if err := p.cluster.SendTo(o.Node, 1, make([]byte, MaxBody+1)); !errors.Is(err, ErrOversize) {
			return fmt.Errorf("a message of MaxBody+1 bytes: %w", err)
		}
		for range 20 {
			if err := p.cluster.Send(ownedBy(p.cluster.View(), o.Node), 1, p.body(make([]byte, MaxBody-64))); err != nil && !errors.Is(err, ErrOverflow) {
				return err
			}
		}
	}
	return nil
}

// flush waits until all that this node has sent has arrived, and what was passed on as well: answers come behind it.
func (p *player) flush() error {
	for range 3 {
		var waiting []string
		for _, m := range p.cluster.View().Members {
			if m.Name != p.set.Name {
				waiting = append(waiting, m.Name)
				if err := p.cluster.SendTo(m.Name, kindPing, nil); err != nil {
					return err
				}
			}
		}
		late := time.After(10 * time.Second)
		for len(waiting) > 0 {
			select {
			case from := <-p.pongs:
				waiting = slices.DeleteFunc(waiting, func(name string) bool { return name == from })
			case <-late:
				return fmt.Errorf("no answer from %v", waiting)
			}
		}
	}
	return nil
}

func (p *player) direct(from string, kind uint8, _ []byte) {
	switch kind {
	case kindPing: // what has come here but waits has not arrived yet
		p.drains.Go(func() {
			for end := time.Now().Add(5 * time.Second); p.cluster.holds.any.Load() != 0 && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond)
			}
			_ = p.cluster.SendTo(from, kindPong, nil) // who asked may be gone
		})
	case kindPong:
		select {
		case p.pongs <- from:
		default:
		}
	}
}

// ownedBy is some shard of the node.
func ownedBy(v *View, node string) uint16 {
	for shard := range uint16(Shards) {
		if v.ownerName(shard) == node {
			return shard
		}
	}
	return 0
}

// send sends numbered messages to random shards.
func (p *player) send(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		shard := uint16(rand.IntN(Shards))
		body := p.body(nil)
		p.note('s', shard, bodyID(body))
		if err := p.cluster.Send(shard, 1, body); err != nil {
			p.note('e', shard, bodyID(body))
		}
	}
}

func (p *player) body(padding []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence++
	id := fmt.Sprintf("%s-%d-%d", p.set.Name, p.boot, p.sequence)
	return append(append(binary.AppendUvarint(nil, uint64(len(id))), id...), padding...)
}

func bodyID(body []byte) string {
	id, _, _ := cut(body)
	return string(id)
}

// deliver notes the message, and the beginning of the shard's actor.
func (p *player) deliver(shard uint16, _ uint8, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.active[shard] {
		p.active[shard] = true
		p.note('a', shard, "-")
	}
	p.note('d', shard, bodyID(body))
}

// changed ends the actors of lost shards a little later.
func (p *player) changed(v *View, gained, lost []uint16) {
	p.note('v', 0, fmt.Sprintf("%x+%d-%d", v.Version, len(gained), len(lost)))
	r := report{Event: "view", Version: v.Version, Owns: v.local.len()}
	for _, m := range v.Members {
		r.Members = append(r.Members, m.Name)
	}
	p.say(r)
	if len(lost) == 0 {
		return
	}
	p.drains.Go(func() {
		drain := time.NewTimer(time.Duration(rand.IntN(40)) * time.Millisecond)
		<-drain.C
		p.mu.Lock()
		for _, shard := range lost {
			if p.active[shard] {
				delete(p.active, shard)
				p.note('z', shard, "-")
			}
		}
		p.mu.Unlock()
		p.cluster.HandedOver(lost)
	})
}

// alien sends what a newer version might send.
func (p *player) alien(node string) error {
	f := p.cluster.carrier.(*fabric)
	for _, fr := range []frame{{class: 99, body: []byte("class")}, {class: toCluster, kind: 99}, {class: toShard, shard: Shards}, {class: toCluster, kind: kindDone, body: []byte("short")}} {
		if err := f.send(node, fr); err != nil {
			return err
		}
	}
	l := f.byName[node]
	f.system.Root.Send(actor.NewPID(l.addr, gatewayName), durationpb.New(1))
	f.system.Root.Send(actor.NewPID(l.addr, "nobody"), durationpb.New(1))
	f.system.Root.Send(actor.NewPID(l.addr, "activator"), &actor.PoisonPill{})
	return nil
}

func counts(s *Stats) map[string]int64 {
	return map[string]int64{
		"views": s.ViewChanges.Load(), "handoffs": s.HandOffs.Load(), "overdue": s.Overdue.Load(), "disputed": s.Disputed.Load(),
		"forwarded": s.Forwarded.Load(), "held": s.Held.Load(), "early": s.Early.Load(), "requeued": s.Requeued.Load(),
		"sent": s.Sent.Load(), "arrived": s.Arrived.Load(), "unknown": s.Unknown.Load(), "unrouted": s.Unrouted.Load(),
		"overflowed": s.Overflowed.Load(), "undelivered": s.Undelivered.Load(), "failures": s.SendFailures.Load(),
		"pauses": s.Pauses.Load(), "panics": s.Panics.Load(), "conflicts": s.Conflicts.Load(), "oversize": s.Oversize.Load(),
	}
}
