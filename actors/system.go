package actors

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"carillon/actors/call"
	"carillon/actors/session"
)

// System is the actors of one node: calls and sessions on protoactor, placed locally, and the gateways of the node's
// connections. It is the Peers of a node that is alone.
type System struct {
	cfg      Config
	proto    *actor.ActorSystem
	calls    *table[call.ID]
	sessions *table[call.UserID]
	alarms   *alarms[alarmKey]
	inFlight atomic.Int64

	mu       sync.RWMutex
	gateways map[uint64]*Gateway
}

// alarmKey is a call (ID set) or a session.
type alarmKey struct {
	id   call.ID
	user call.UserID
}

// NewSystem makes the actors of one node; nothing runs by itself until Start.
func NewSystem(cfg Config) *System {
	s := &System{cfg: cfg, gateways: map[uint64]*Gateway{}}
	s.proto = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return cfg.Logger }))
	seed := maphash.MakeSeed()
	s.calls = newTable(func(id call.ID) uint64 { return uint64(id) }, func(id call.ID, a *activation[call.ID]) {
		h := &activationHost{sys: s, key: alarmKey{id: id}}
		spawn(s, s.calls, a, h, "call", func() receiver { return newCall(id, &s.cfg, h, s) })
	})
	s.sessions = newTable(func(u call.UserID) uint64 { return maphash.String(seed, string(u)) },
		func(u call.UserID, a *activation[call.UserID]) {
			h := &activationHost{sys: s, key: alarmKey{user: u}}
			spawn(s, s.sessions, a, h, "session", func() receiver { return newSession(u, &s.cfg, h, s) })
		})
	s.alarms = newAlarms(cfg.Now, s.ring)
	return s
}

func (s *System) ring(k alarmKey) {
	if k.user != "" {
		s.sessions.send(k.user, wake{})
	} else {
		s.calls.send(k.id, wake{})
	}
}

// recoverRate is how many open calls a second are woken after a start.
const recoverRate = 50_000

// Start takes up every open call of the store: it wakes each, the overdue ones at once, so that late deadlines fire, what
// was under way is told again, and callers who do not come back are noticed.
func (s *System) Start(ctx context.Context) error {
	now := s.cfg.Now()
	n := 0
	err := s.cfg.Store.OpenCalls(ctx, func(id call.ID, deadline time.Time) error {
		at := now.Add(time.Duration(n) * time.Second / recoverRate)
		if !deadline.IsZero() && deadline.Before(at) {
			at = deadline
		}
		s.alarms.set(alarmKey{id: id}, at)
		n++
		return nil
	})
	if err != nil {
		return fmt.Errorf("open calls cannot be read: %w", err)
	}
	if n > 0 {
		s.cfg.Logger.Info("open calls taken up", "calls", n)
	}
	return nil
}

// Close stops every actor and waits for them. The connections must be gone.
func (s *System) Close() {
	s.alarms.close()
	s.calls.close(s.proto.Root.Stop)
	s.sessions.close(s.proto.Root.Stop)
	s.proto.Shutdown()
}

// ToCall implements Peers.
func (s *System) ToCall(id call.ID, msg any) { s.calls.send(id, msg) }

// ToSession implements Peers.
func (s *System) ToSession(user call.UserID, msg any) { s.sessions.send(user, msg) }

// ToGateway implements Peers.
func (s *System) ToGateway(conn session.Conn, msg any) {
	s.mu.RLock()
	g := s.gateways[conn.ID]
	s.mu.RUnlock()
	if g != nil {
		g.deliver(msg)
	}
}

// Stats are the system's gauges.
type Stats struct {
	Calls, Sessions, Gateways int // in memory
	Alarms                    int // calls and sessions that wait for an instant, resting calls among them
	InFlight                  int // unanswered requests
}

// Stats reads the gauges.
func (s *System) Stats() Stats {
	s.mu.RLock()
	gateways := len(s.gateways)
	s.mu.RUnlock()
	return Stats{
		Calls: s.calls.count(), Sessions: s.sessions.count(), Gateways: gateways,
		Alarms: s.alarms.count(), InFlight: int(s.inFlight.Load()),
	}
}

// receiver is the logic of an actor.
type receiver interface{ Receive(msg any) }

// activationHost is the host of one activation.
type activationHost struct {
	sys  *System
	key  alarmKey
	rest bool
}

func (h *activationHost) Now() time.Time     { return h.sys.cfg.Now() }
func (h *activationHost) WakeAt(t time.Time) { h.sys.alarms.set(h.key, t) }
func (h *activationHost) Rest()              { h.rest = true }
func (h *activationHost) Epoch() uint64      { return rand.Uint64() }

// stopBroken ends an actor that panicked: the next message loads it again from what is durable.
var stopBroken = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

// spawn brings one activation to life on protoactor.
func spawn[K comparable](s *System, t *table[K], a *activation[K], h *activationHost, kind string, logic func() receiver) {
	var r receiver
	a.box.onPanic = func(reason any, stack []byte) {
		s.cfg.Logger.Error("actor broke down", "kind", kind, "key", a.key, "reason", reason, "stack", string(stack))
		if s.cfg.Watch.Panic != nil {
			s.cfg.Watch.Panic(kind)
		}
		h.WakeAt(s.cfg.Now().Add(time.Second)) // what the broken one would have done by itself is not forgotten
	}
	receive := func(ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case *actor.Started:
			r = logic()
		case *actor.Stopping, *actor.Restarting:
		case *actor.Stopped:
			t.stopped(a)
		default:
			r.Receive(msg)
			if h.rest && t.retire(a) {
				ctx.Stop(ctx.Self())
			}
			h.rest = false
		}
	}
	props := actor.PropsFromFunc(receive,
		actor.WithMailbox(func() actor.Mailbox { return a.box }), actor.WithGuardian(stopBroken))
	a.pid = s.proto.Root.Spawn(props)
}
