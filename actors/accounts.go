package actors

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"carillon/actors/call"
)

// account is what one user's devices have asked of this node lately, all together.
type account struct {
	asked atomic.Uint64 // the epoch in the upper half, weight of requests for new work in it in the lower

	// Guarded by accounts.mu.
	devices  int // that are connected
	logins   bucket
	strikes  int       // connections that were closed for insisting, in short order
	barred   time.Time // until then no device may log in
	departed time.Time
}

// accounts are those of all users who are connected, and of some who were until lately.
type accounts struct {
	shares shares

	mu   sync.Mutex
	open map[call.UserID]*account
	left []leftover // oldest first
}

type leftover struct {
	user call.UserID
	at   time.Time
}

// Bounds of one user on one node.
const (
	loginRate   = 1 // logins a second, sustained
	loginBurst  = 30
	greedyEnd   = 10               // logins that the end of a connection counts whose user is greedy then: he would begin anew
	firstBar    = 10 * time.Second // after a connection was closed for insisting; doubles
	lastBar     = 10 * time.Minute
	remember    = lastBar // accounts of those who have left
	maxLeftover = 10_000
)

// enter opens the account of a user who logs in; otherwise it says how long he has to stay away.
func (a *accounts) enter(user call.UserID, now time.Time) (*account, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(now)
	one := a.open[user]
	if one == nil {
		if a.open == nil {
			a.open = map[call.UserID]*account{}
		}
		one = &account{logins: bucket{rate: loginRate, burst: loginBurst}}
		a.open[user] = one
	}
	wait := one.barred.Sub(now)
	if wait <= 0 {
		wait = one.logins.next(now)
	}
	if wait > 0 {
		a.leaves(user, one, now)
		return nil, wait
	}
	one.devices++
	return one, 0
}

// leave is a device's end; who was closed for insisting stays away, longer each time.
func (a *accounts) leave(user call.UserID, one *account, insisted bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one.devices--
	if insisted && !now.Before(one.barred) {
		one.barred = now.Add(min(firstBar<<min(one.strikes, 16), lastBar))
		one.strikes++
	}
	if a.shares.greedy(one) {
		one.logins.used = min(one.logins.used+greedyEnd, 2*loginBurst)
	}
	a.leaves(user, one, now)
}

// leaves keeps an account that nobody uses for a while. a.mu is held.
func (a *accounts) leaves(user call.UserID, one *account, now time.Time) {
	if one.devices == 0 && one.departed != now {
		one.departed = now
		a.left = append(a.left, leftover{user, now})
	}
}

// forget drops the accounts that are old, or too many. a.mu is held.
func (a *accounts) forget(now time.Time) {
	for len(a.left) > 0 {
		l := a.left[0]
		if len(a.left) <= maxLeftover && now.Sub(l.at) < remember {
			return
		}
		a.left = a.left[1:]
		if one := a.open[l.user]; one != nil && one.devices == 0 && one.departed.Equal(l.at) {
			delete(a.open, l.user)
		}
	}
}

// shares says who asks for more than others do. An epoch is as long as its owner likes.
type shares struct {
	epoch  atomic.Uint32
	askers atomic.Int64 // users who have asked in this epoch
	sum    atomic.Int64 // what they asked, of each no more than enough
	mean   atomic.Int64 // of a user who asked in the last epoch
}

const (
	greed     = 4  // times what others ask is greedy
	leastAsks = 10 // an epoch, which is never greedy
)

// enough is what a user may ask in an epoch without being greedy.
func (s *shares) enough() int64 { return max(leastAsks, greed*s.mean.Load()) }

// ask counts a request of a user for new work by its weight. It says whether he is greedy.
func (s *shares) ask(a *account, weight int64) bool {
	epoch, n := uint64(s.epoch.Load()), weight
	for {
		old := a.asked.Load()
		if n = weight; old>>32 == epoch {
			n = min(int64(uint32(old))+weight, math.MaxUint32)
		}
		if a.asked.CompareAndSwap(old, epoch<<32|uint64(n)) {
			break
		}
	}
	if n == weight {
		s.askers.Add(1)
	}
	if n > s.enough() {
		return true
	}
	s.sum.Add(weight)
	return false
}

// greedy says whether a user has asked for too much lately.
func (s *shares) greedy(a *account) bool {
	asked := a.asked.Load()
	return s.epoch.Load()-uint32(asked>>32) <= 1 && int64(uint32(asked)) > s.enough()
}

// turn ends an epoch.
func (s *shares) turn() {
	s.epoch.Add(1)
	if n := s.askers.Swap(0); n > 0 {
		s.mean.Store((s.sum.Swap(0) + n - 1) / n)
	} else {
		s.mean.Store(0)
	}
}
