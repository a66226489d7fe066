package actors

import (
	"sync"
	"sync/atomic"
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

	// Where keys are spread over nodes; by itself a table has them all.
	enter func(K) (*atomic.Int64, bool) // whether the key can be used here now; the counter, if any, keeps it so
	owned func(K) bool                  // whether it belongs here, even if it cannot be used yet
	route func(K, any)                  // sends a message to wherever the key belongs
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
	freed *sync.WaitGroup // who waits for its end, if anybody; guarded by the shard
}

// heldAgain is how long an alarm waits that rings for a shard which is still being handed over.
const heldAgain = 100 * time.Millisecond

// newTable makes an empty table; spawn must be set before the first message.
func newTable[K comparable](hash func(K) uint64, now func() time.Time) *table[K] {
	t := &table[K]{hash: hash}
	t.enter = func(K) (*atomic.Int64, bool) { return nil, true }
	t.owned = func(K) bool { return true }
	t.route = t.send
	t.alarms = newAlarms(now, func(key K) {
		switch inside, here := t.enter(key); {
		case here:
			t.send(key, wake{})
			exit(inside)
		case t.owned(key):
			t.alarms.set(key, now().Add(heldAgain))
		}
	})
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
	if a := s.live[key]; a != nil {
		a.box.PostUserMessage(msg)
		return
	}
	t.activate(s, key).box.post(msg, true)
}

// activate brings an actor to life; s is locked.
func (t *table[K]) activate(s *tableShard[K], key K) *activation[K] {
	a := &activation[K]{table: t, key: key, box: &mailbox{}}
	s.live[key] = a
	t.gone.Add(1)
	t.spawn(a)
	return a
}

// retire takes an actor out of the table if nothing waits for it, or in any case; the caller then stops it.
func (t *table[K]) retire(a *activation[K], inAnyCase bool) bool {
	s := t.shard(a.key)
	s.mu.Lock()
	if !inAnyCase && a.box.UserMessageCount() > 0 {
		s.mu.Unlock()
		return false
	}
	delete(s.live, a.key)
	left := a.box.rest()
	s.mu.Unlock()
	t.reroute(a.key, left)
	return true
}

// reroute sends on what an activation has left. What it would have said to itself it has no more to say.
func (t *table[K]) reroute(key K, left []any) {
	for _, msg := range left {
		if _, own := msg.(wake); !own {
			t.route(key, msg)
		}
	}
}

// stopped notes the end of an activation. What it left in its queue, having broken down, goes to its successor, before
// anything that is sent from now on; or to another node, if its key is there now.
func (t *table[K]) stopped(a *activation[K]) {
	defer t.gone.Done()
	s := t.shard(a.key)
	s.mu.Lock()
	if a.freed != nil {
		a.freed.Done()
	}
	if s.live[a.key] != a {
		s.mu.Unlock()
		return
	}
	delete(s.live, a.key)
	left := a.box.rest()
	if s.closed || len(left) == 0 {
		s.mu.Unlock()
		return
	}
	inside, here := t.enter(a.key)
	if !here {
		s.mu.Unlock()
		t.reroute(a.key, left)
		return
	}
	successor := t.activate(s, a.key)
	for _, msg := range left {
		successor.box.post(msg, true)
	}
	s.mu.Unlock()
	exit(inside)
}

// each puts the message into the queue of every actor that is in memory and that the filter lets pass.
func (t *table[K]) each(pass func(K) bool, msg any) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for key, a := range s.live {
			if pass(key) {
				a.box.PostUserMessage(msg)
			}
		}
		s.mu.Unlock()
	}
}

// release has the actors that the filter lets pass leave, behind what waits for them, and waits until they are gone.
func (t *table[K]) release(pass func(K) bool, msg leave) {
	var freed sync.WaitGroup
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for key, a := range s.live {
			if a.freed == nil && pass(key) {
				freed.Add(1)
				a.freed = &freed
				a.box.PostUserMessage(msg)
			}
		}
		s.mu.Unlock()
	}
	freed.Wait()
	t.alarms.drop(pass)
}

// has reports whether the actor is in memory or will wake by itself.
func (t *table[K]) has(key K) bool {
	s := t.shard(key)
	s.mu.Lock()
	live := s.live[key] != nil
	s.mu.Unlock()
	return live || t.alarms.has(key)
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
