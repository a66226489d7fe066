package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// What Send, SendTo and Leave may return, beside the context's error.
var (
	ErrNoOwner     = errors.New("cluster: nobody owns the shard: not joined yet, or all are leaving")
	ErrUnknownNode = errors.New("cluster: no such member")
	ErrOverflow    = errors.New("cluster: queue is full")
	ErrOversize    = fmt.Errorf("cluster: message of more than %d bytes", MaxBody)
	ErrShard       = fmt.Errorf("cluster: no such shard: there are %d", Shards)
	ErrClosed      = errors.New("cluster: closed")
)

// Cluster is this node's part in a cluster. Its methods may be called from any goroutine.
type Cluster struct {
	cfg     Config
	stats   Stats
	view    atomic.Pointer[View]
	holds   *holds
	replies replies
	handoff *handoff // run's
	roster  roster
	carrier carrier

	kick    chan struct{} // the membership has changed
	inbox   chan notification
	pauses  chan time.Duration
	leaving chan *farewell
	mu      sync.Mutex
	handed  []uint16      // by HandedOver, not yet seen by run
	wake    chan struct{} // something was handed over
	joined  chan struct{}

	closing sync.Once
	closed  atomic.Bool
	stop    chan struct{}
	tasks   sync.WaitGroup
}

// roster says who is alive. membership is one.
type roster interface {
	start()                                     // enters, by and by
	members() []Member                          // nil: this node has not entered
	reenter()                                   // enters anew
	leave(gone bool, limit time.Duration) error // announces that this node goes, or that it is gone
	close() error
}

// carrier takes frames to other nodes: at most once, in order while a connection lives. fabric is one.
type carrier interface {
	members([]Member) (left []frame) // whom send may name from now on; gives what had not left for those who are gone
	send(node string, f frame) error // never blocks: ErrUnknownNode, ErrOverflow
	start()                          // takes messages from now on
	tick()                           // posts what could not be posted
	close()
}

// notification is a frame of class toCluster.
type notification struct {
	from string
	kind uint8
	notice
}

const (
	inboxSize = 1024                  // notifications; what finds it full is asked for again
	tickTime  = 50 * time.Millisecond // between looks at what may be overdue
	askAgain  = 2                     // ticks between questions to who has not answered
)

// Open listens. Nothing is called back, and no message taken, before Start. The error names the field of the Config, or the
// address that is not to be had.
func Open(cfg Config) (*Cluster, error) {
	cfg, err := cfg.filled()
	if err != nil {
		return nil, err
	}
	c := newCluster(cfg)
	f, err := openFabric(cfg, &c.stats, c.receive)
	if err != nil {
		return nil, err
	}
	m, err := openMembership(cfg, &c.stats, f.addr(), c.poke)
	if err != nil {
		f.close()
		return nil, err
	}
	c.roster, c.carrier = m, f
	return c, nil
}

// Start begins to take part, and goes on joining behind: until this node has met another one, or may begin alone, it owns
// nothing and View is empty. It is called once.
func (c *Cluster) Start() {
	c.roster.start()
	c.carrier.start()
	c.tasks.Go(c.run)
	c.tasks.Go(c.watchClock)
}

// newCluster makes one that can receive and be poked, but does not run yet.
func newCluster(cfg Config) *Cluster {
	c := &Cluster{
		cfg: cfg, holds: newHolds(cfg.Tuning.HeldBytes), handoff: newHandoff(cfg.Name, cfg.Tuning.HandOffTimeout),
		kick: make(chan struct{}, 1), inbox: make(chan notification, inboxSize), pauses: make(chan time.Duration, 1),
		leaving: make(chan *farewell), wake: make(chan struct{}, 1), joined: make(chan struct{}), stop: make(chan struct{}),
	}
	c.view.Store(noView(cfg.Name))
	return c
}

// View is what this node believes now.
func (c *Cluster) View() *View { return c.view.Load() }

// Joined is closed once there is a view that has members.
func (c *Cluster) Joined() <-chan struct{} { return c.joined }

// Stats counts while the node runs.
func (c *Cluster) Stats() *Stats { return &c.stats }

// Send takes a message to the owner of the shard, at most once, and never blocks. Where that is this node, Deliver is
// called before Send returns, unless the shard is held. Messages of one goroutine to one shard keep their order while its
// owner stays and the connection lives. The body belongs to the cluster from now on. An error means that the message will
// not arrive: ErrNoOwner, ErrOverflow, ErrOversize, ErrShard, ErrClosed.
func (c *Cluster) Send(shard uint16, kind uint8, body []byte) error {
	if shard >= Shards {
		return ErrShard
	}
	if err := c.sendable(body); err != nil {
		return err
	}
	return c.route(frame{class: toShard, kind: kind, shard: shard, body: body})
}

// Enter lets this node's own messages to a shard of its own go without Send: while the counter that it gives is not
// decremented, the shard stays, and Changed waits. Nil: the shard is not this node's, or held, and Send knows what to do.
func (c *Cluster) Enter(shard uint16) *atomic.Int64 {
	if shard >= Shards {
		return nil
	}
	v, users := c.enter(shard)
	if v.Local(shard) && !c.holds.holding(shard) {
		return users
	}
	users.Add(-1)
	return nil
}

// SendTo takes a message to a node's Direct, like Send; also ErrUnknownNode.
func (c *Cluster) SendTo(node string, kind uint8, body []byte) error {
	if err := c.sendable(body); err != nil {
		return err
	}
	if node == c.cfg.Name {
		c.cfg.Direct(node, kind, body)
		return nil
	}
	return c.count(c.carrier.send(node, frame{class: toNode, kind: kind, body: body}))
}

func (c *Cluster) sendable(body []byte) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if len(body) > MaxBody {
		c.stats.Oversize.Add(1)
		return ErrOversize
	}
	return nil
}

// HandedOver says that nothing on this node works on these shards any more, which Changed has reported as lost. It is due
// once for each report, also for shards that were never used.
func (c *Cluster) HandedOver(shards []uint16) {
	c.mu.Lock()
	c.handed = append(c.handed, shards...)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

const broadcast = time.Second // for memberlist's gossip to be on its way

// Retire announces that this node goes, and waits until all others have a view in which it owns nothing, all its shards are
// handed over, and all that it had for others has arrived there. It stays a member: what it holds of its own (Direct) can
// still be reached.
func (c *Cluster) Retire(ctx context.Context) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if err := c.roster.leave(false, broadcast); err != nil {
		c.cfg.Logger.Warn("leaving", "error", err)
	}
	return c.bow(ctx)
}

// Leave is Retire, and a goodbye. If ctx ends first it goes at once, with the context's error. Close is still due.
func (c *Cluster) Leave(ctx context.Context) error {
	err := c.Retire(ctx)
	if errors.Is(err, ErrClosed) {
		return err
	}
	if left := c.roster.leave(true, broadcast); err == nil {
		err = left
	}
	return err
}

// bow waits for run to have nothing more to do.
func (c *Cluster) bow(ctx context.Context) error {
	f := &farewell{done: make(chan struct{})}
	select {
	case c.leaving <- f:
	case <-c.stop:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("cluster: leaving: %w", ctx.Err())
	}
	select {
	case <-f.done:
		return nil
	case <-c.stop:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("cluster: leaving: %w", ctx.Err())
	}
}

// Close goes without a word, as if the node had died: others notice after a while. Nothing is called back afterwards.
// Calling it again does nothing.
func (c *Cluster) Close() error {
	var err error
	c.closing.Do(func() {
		c.closed.Store(true)
		close(c.stop)
		c.tasks.Wait()
		err = c.roster.close()
		c.carrier.close()
	})
	return err
}

// poke says that the membership has changed.
func (c *Cluster) poke() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}
