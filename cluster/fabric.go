package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// fabric carries frames over protoactor's remote: one link per member, and the gateway that receives.
type fabric struct {
	cfg     Config
	stats   *Stats
	log     *slog.Logger
	system  *actor.ActorSystem
	own     bool // the system is the fabric's
	remote  *remote.Remote
	streams crowd  // of peers, and to them
	unheed  func() // ends the subscription to the end of connections
	deliver func(from string, f frame)
	started chan struct{} // peers' streams wait for it
	closing chan struct{}

	mu     sync.RWMutex
	byName map[string]*link
	byAddr map[string]*link
}

// openFabric listens. Frames that arrive go to deliver, on the goroutine of their connection.
func openFabric(cfg Config, stats *Stats, deliver func(from string, f frame)) (f *fabric, err error) {
	f = &fabric{
		cfg: cfg, stats: stats, log: cfg.Logger, system: cfg.System, deliver: deliver,
		started: make(chan struct{}), closing: make(chan struct{}),
		byName: make(map[string]*link), byAddr: make(map[string]*link),
	}
	if f.system == nil {
		f.own = true
		f.system = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet(cfg.Logger) }))
	}
	host, port, err := splitHostPort("RemoteBind", cfg.RemoteBind)
	if err != nil {
		return nil, err
	}
	if _, added := f.system.ProcessRegistry.Add(&gateway{f}, gatewayName); !added {
		return nil, fmt.Errorf("cluster: the actor system has a process named %q already", gatewayName)
	}
	f.remote = remote.NewRemote(f.system, remote.Configure(host, port, f.options()...))
	if err := f.listen(); err != nil {
		f.closeSystem()
		return nil, err
	}
	subscription := f.system.EventStream.Subscribe(func(event any) {
		if e, ok := event.(*remote.EndpointTerminatedEvent); ok {
			if l := f.at(e.Address); l != nil {
				f.stats.SendFailures.Add(1)
				l.failed()
			}
		}
	})
	f.unheed = func() { f.system.EventStream.Unsubscribe(subscription) }
	return f, nil
}

// listen runs Remote.Start, which panics where the address is not to be had.
func (f *fabric) listen() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cluster: remote on %s: %v", f.cfg.RemoteBind, p)
		}
	}()
	f.remote.Start()
	return nil
}

func (f *fabric) addr() string { return f.system.Address() }

// start lets peers in.
func (f *fabric) start() { close(f.started) }

// members opens links to who is new and closes those to who is gone or has moved, giving the frames that had not left.
func (f *fabric) members(members []Member) (left []frame) {
	wanted := make(map[string]Member, len(members))
	for _, m := range members {
		if m.Name != f.cfg.Name {
			wanted[m.Name] = m
		}
	}
	var closed []*link
	f.mu.Lock()
	for name, l := range f.byName {
		if m, ok := wanted[name]; !ok || m.RemoteAddr != l.addr {
			closed = append(closed, l)
			delete(f.byName, name)
			delete(f.byAddr, l.addr)
		}
	}
	for name, m := range wanted {
		if f.byName[name] == nil {
			l := newLink(f.system, f.cfg.Name, m, f.cfg.Tuning.LinkBytes)
			f.byName[name], f.byAddr[m.RemoteAddr] = l, l
		}
	}
	f.mu.Unlock()
	for _, l := range closed {
		left = append(left, l.close()...)
		f.hangUp(l)
	}
	return left
}

// hangUp makes the remote forget its connection: first what it has, then what it is still trying to get.
func (f *fabric) hangUp(l *link) {
	f.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: l.addr})
	l.end()
}

func (f *fabric) at(addr string) *link {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.byAddr[addr]
}

func (f *fabric) links() []*link {
	f.mu.RLock()
	defer f.mu.RUnlock()
	links := make([]*link, 0, len(f.byName))
	for _, l := range f.byName {
		links = append(links, l)
	}
	return links
}

// send queues a frame for the node: ErrUnknownNode, ErrOverflow.
func (f *fabric) send(node string, fr frame) error {
	f.mu.RLock()
	l := f.byName[node]
	f.mu.RUnlock()
	if l == nil {
		return ErrUnknownNode
	}
	err := l.send(fr, fr.class == toShard && f.cfg.Patient != nil && f.cfg.Patient(fr.kind))
	if err == nil {
		f.stats.Sent.Add(1)
	}
	return err
}

// tick posts what could not be posted and gives up connections that take nothing.
func (f *fabric) tick() {
	for _, l := range f.links() {
		if l.nudge() {
			f.log.Warn("a peer takes no messages", "peer", l.name, "addr", l.addr)
			f.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: l.addr})
		}
	}
}

// close stops listening and cuts the connections. Nothing is delivered afterwards.
//
// Remote.Shutdown(true) is not used: it stops the endpoint manager while connections still use it, which races, and waits
// up to ten seconds for streams that end only with their peers.
func (f *fabric) close() {
	close(f.closing)
	f.members(nil)
	f.remote.Shutdown(false)
	f.streams.disperse()
	f.unheed()
	f.closeSystem()
}

func (f *fabric) closeSystem() {
	f.system.ProcessRegistry.Remove(actor.NewPID(f.system.Address(), gatewayName))
	if f.own {
		f.system.Shutdown()
	}
}

// crowd is a wait group that can be closed while others still want to enter.
type crowd struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

func (c *crowd) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.inside.Add(1)
	}
	return !c.closed
}

func (c *crowd) exit() { c.inside.Done() }

// disperse lets nobody enter any more and waits until all are out.
func (c *crowd) disperse() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.inside.Wait()
}

// gateway receives for this node. It is a process, not an actor: it runs on the goroutine of each connection.
type gateway struct{ f *fabric }

var _ actor.Process = (*gateway)(nil)

// SendUserMessage takes a parcel apart.
func (g *gateway) SendUserMessage(_ *actor.PID, message any) {
	_, message, _ = actor.UnwrapEnvelope(message)
	value, ok := message.(*wrapperspb.BytesValue)
	if !ok {
		g.f.stats.Unknown.Add(1)
		return
	}
	if len(value.Value) == 0 { // of a token that was given up
		return
	}
	sender, records, err := openParcel(value.Value)
	for err == nil && len(records) > 0 {
		var fr frame
		if fr, records, err = nextFrame(records); err == nil {
			g.f.stats.Arrived.Add(1)
			g.f.deliver(sender, fr)
		}
	}
	if err != nil {
		g.f.stats.Unknown.Add(1)
		g.f.log.Warn("dropped a parcel", "from", sender, "error", err)
	}
}

// SendSystemMessage ignores what the gateway has no use for.
func (g *gateway) SendSystemMessage(*actor.PID, any) {}

// Stop does nothing: the gateway lives as long as its node.
func (g *gateway) Stop(*actor.PID) {}

// quiet makes what a library reports at Info into Debug, and errors into warnings: a peer that dies is no error here.
func quiet(l *slog.Logger) *slog.Logger { return slog.New(&demoted{l.Handler()}) }

type demoted struct{ slog.Handler }

func demote(level slog.Level) slog.Level {
	if level >= slog.LevelError {
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (d *demoted) Enabled(ctx context.Context, level slog.Level) bool {
	return d.Handler.Enabled(ctx, demote(level))
}

func (d *demoted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = demote(r.Level)
	return d.Handler.Handle(ctx, r)
}

func (d *demoted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &demoted{d.Handler.WithAttrs(attrs)}
}

func (d *demoted) WithGroup(name string) slog.Handler { return &demoted{d.Handler.WithGroup(name)} }
