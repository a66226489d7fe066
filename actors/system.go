package actors

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"carillon/actors/call"
)

// System is the actors of one node: calls and sessions on protoactor, placed locally, and the gateways of the node's
// connections. It is their Peers: what is not on this node it sends to the node where it is (route.go, placement.go).
type System struct {
	cfg      Config
	connBase uint64 // what connections are numbered from: another in each life of the node
	proto    *actor.ActorSystem
	workers  *workers
	pulse    *pulse
	calls    *table[call.ID]
	sessions *table[call.UserID]
	gate     gate
	inFlight atomic.Int64 // requests
	devices  atomic.Int64 // logged in

	place    atomic.Pointer[Placement] // the last view; nil: alone, or not joined yet
	takeover *takeover
	leaving  sync.WaitGroup // shards on their way to other nodes
	paused   bool           // of Paused and Moved

	mu       sync.RWMutex
	gateways map[uint64]*Gateway
}

// NewSystem makes the actors of one node; nothing runs by itself until Start.
func NewSystem(cfg Config) *System {
	s := &System{
		cfg: cfg, connBase: rand.Uint64(), workers: newWorkers(), pulse: newPulse(cfg.Now), gateways: map[uint64]*Gateway{},
	}
	s.cfg.macs = &sync.Pool{New: func() any { return hmac.New(sha256.New, cfg.Secret) }}
	onWorkers := s.cfg.onWorkers(s.workers)
	s.gate.open(&cfg)
	warnings := slog.New(warner{cfg.Logger.Handler()}) // what protoactor does otherwise is nobody's business
	s.proto = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return warnings }))
	seed := maphash.MakeSeed()
	s.calls = newTable(func(id call.ID) uint64 { return uint64(id) }, cfg.Now)
	s.calls.owned = func(id call.ID) bool { return s.owns(id.Shard()) }
	s.calls.enter = func(id call.ID) (*atomic.Int64, bool) { return s.enter(id.Shard()) }
	s.calls.route = s.ToCall
	s.calls.spawn = func(a *activation[call.ID]) {
		spawn(s, a, "call", func(h host) receiver { return newCall(a.key, onWorkers, h, s) })
	}
	s.sessions = newTable(func(u call.UserID) uint64 { return maphash.String(seed, string(u)) }, cfg.Now)
	s.sessions.owned = func(u call.UserID) bool { return s.owns(u.Shard()) }
	s.sessions.enter = func(u call.UserID) (*atomic.Int64, bool) { return s.enter(u.Shard()) }
	s.sessions.route = s.ToSession
	s.sessions.spawn = func(a *activation[call.UserID]) {
		spawn(s, a, "session", func(h host) receiver { return newSession(a.key, onWorkers, h, s) })
	}
	s.takeover = newTakeover(s)
	return s
}

// warner passes on warnings and errors.
type warner struct{ slog.Handler }

// Enabled is slog.Handler's.
func (w warner) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// Start takes up every open call of the store, where this node is alone. In a cluster that happens shard by shard, as they
// are opened.
func (s *System) Start(ctx context.Context) error {
	if s.cfg.Cluster != nil {
		return nil
	}
	return s.takeUp(ctx, nil)
}

// Close stops every actor and waits for them. The connections must be gone, and the cluster closed.
func (s *System) Close() {
	s.takeover.close()
	s.calls.close(s.proto.Root.Stop)
	s.sessions.close(s.proto.Root.Stop)
	s.leaving.Wait()
	s.workers.close()
	s.pulse.close()
	s.gate.meter.close()
	s.proto.Shutdown()
}

// Stats are the system's gauges.
type Stats struct {
	Calls, Sessions, Gateways int // in memory
	Resting                   int // open calls that are not in memory and wait for their deadline
	Devices                   int // logged in
	InFlight                  int // unanswered requests
}

// Stats reads the gauges.
func (s *System) Stats() Stats {
	s.mu.RLock()
	gateways := len(s.gateways)
	s.mu.RUnlock()
	calls := s.calls.count()
	return Stats{
		Calls: calls, Sessions: s.sessions.count(), Gateways: gateways, Resting: max(0, s.calls.alarms.count()-calls),
		Devices: int(s.devices.Load()), InFlight: int(s.inFlight.Load()),
	}
}

// receiver is the logic of an actor.
type receiver interface{ Receive(msg any) }

// activationHost is the host of one activation.
type activationHost[K comparable] struct {
	sys  *System
	a    *activation[K]
	rest bool
	gone bool
}

func (h *activationHost[K]) Now() time.Time     { return h.sys.cfg.Now() }
func (h *activationHost[K]) WakeAt(t time.Time) { h.a.table.alarms.set(h.a.key, t) }
func (h *activationHost[K]) Rest()              { h.rest = true }
func (h *activationHost[K]) Retire()            { h.gone = true }
func (h *activationHost[K]) Hurry(on bool)      { h.a.box.hurry.Store(on) }
func (h *activationHost[K]) Resumed() time.Time { return h.sys.pulse.resumed() }
func (h *activationHost[K]) Epoch() uint64      { return rand.Uint64() }

// stopBroken ends an actor that panicked: the next message loads it again from what is durable.
var stopBroken = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

// spawn brings one activation to life on protoactor.
func spawn[K comparable](s *System, a *activation[K], kind string, logic func(host) receiver) {
	h := &activationHost[K]{sys: s, a: a}
	var r receiver
	a.box.onPanic = func(reason any, stack []byte) {
		s.cfg.Logger.Error("actor broke down", "kind", kind, "key", a.key, "reason", reason, "stack", string(stack))
		if s.cfg.Watch.Panic != nil {
			s.cfg.Watch.Panic(kind)
		}
		if c, ok := r.(*callActor); ok {
			c.enter(PhaseNone)
		}
		h.WakeAt(s.cfg.Now().Add(time.Second)) // what the broken one would have done by itself is not forgotten
	}
	receive := func(ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case *actor.Started:
			r = logic(h)
		case *actor.Stopping, *actor.Restarting:
		case *actor.Stopped:
			a.table.stopped(a)
		default:
			r.Receive(msg)
			if h.gone {
				h.WakeAt(time.Time{})
			}
			if (h.gone || h.rest) && a.table.retire(a, h.gone) {
				ctx.Stop(ctx.Self())
			}
			h.rest = false
		}
	}
	props := actor.PropsFromFunc(receive,
		actor.WithMailbox(func() actor.Mailbox { return a.box }), actor.WithGuardian(stopBroken),
		actor.WithDispatcher(s.workers))
	a.pid = s.proto.Root.Spawn(props)
}
