package actors

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// table is the actors of one kind that are in memory: at most one per key. A message to a key without an actor brings it
// to life; an actor leaves only when its queue is empty, so that no message is ever lost between two activations.
type table[K comparable] struct {
	spawn  func(*activation[K])
	alarms *alarms[K]
	shards [tableShards]tableShard[K]
	hash   func(K) uint64
	gone   sync.WaitGroup // activations that have not stopped yet
}

const tableShards = 64

type tableShard[K comparable] struct {
	mu     sync.Mutex
	live   map[K]*activation[K]
	closed bool
}

// activation is one life of an actor.
type activation[K comparable] struct {
	table *table[K]
	key   K
	pid   *actor.PID
	box   *mailbox
}

// newTable makes an empty table; spawn must be set before the first message.
func newTable[K comparable](hash func(K) uint64, now func() time.Time) *table[K] {
	t := &table[K]{hash: hash}
	t.alarms = newAlarms(now, func(key K) { t.send(key, wake{}) })
	for i := range t.shards {
		t.shards[i].live = map[K]*activation[K]{}
	}
	return t
}

func (t *table[K]) shard(key K) *tableShard[K] { return &t.shards[t.hash(key)%tableShards] }

// send puts a message into the actor's queue. After close it drops it.
func (t *table[K]) send(key K, msg any) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	a := s.live[key]
	if a == nil {
		a = t.activate(s, key)
	}
	a.box.PostUserMessage(msg)
}

// activate brings an actor to life; s is locked.
func (t *table[K]) activate(s *tableShard[K], key K) *activation[K] {
	a := &activation[K]{table: t, key: key, box: &mailbox{}}
	s.live[key] = a
	t.gone.Add(1)
	t.spawn(a)
	return a
}

// retire takes an actor out of the table if nothing waits for it; the caller then stops it.
func (t *table[K]) retire(a *activation[K]) bool {
	s := t.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.box.UserMessageCount() > 0 {
		return false
	}
	delete(s.live, a.key)
	return true
}

// stopped notes the end of an activation. What it left in its queue, having broken down, goes to its successor, before
// anything that is sent from now on.
func (t *table[K]) stopped(a *activation[K]) {
	defer t.gone.Done()
	s := t.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[a.key] != a {
		return
	}
	delete(s.live, a.key)
	left := a.box.rest()
	if len(left) == 0 || s.closed {
		return
	}
	successor := t.activate(s, a.key)
	for _, msg := range left {
		successor.box.PostUserMessage(msg)
	}
}

func (t *table[K]) count() int {
	n := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.live)
		s.mu.Unlock()
	}
	return n
}

// close stops the clockwork and every actor, and waits for the last of them.
func (t *table[K]) close(stop func(*actor.PID)) {
	t.alarms.close()
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.closed = true
		for _, a := range s.live {
			stop(a.pid)
		}
		s.mu.Unlock()
	}
	t.gone.Wait()
}
