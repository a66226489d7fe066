package actors

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"carillon/actors/call"
)

// workshop is a server with one processor, in virtual time: a queue of work, some of it refusals. It has no clock and no
// goroutine, so it says the same on every machine.
type workshop struct {
	t       *throttle
	chance  *rand.Rand
	now     time.Duration
	backlog time.Duration // of work that is not done
	later   []time.Duration
	places  []time.Duration // when the answers are due that free places
	window  time.Duration   // when it began
	worst   time.Duration   // backlog in it

	right, refused int
	longest        time.Duration // that a refusal waited
}

// What work costs there: a call in two parts, the second later, and a refusal.
const (
	firstPart  = 200 * time.Microsecond
	secondPart = 200 * time.Microsecond
	refusing   = 50 * time.Microsecond
	thinking   = 100 * time.Millisecond
	shopStep   = time.Millisecond
)

func (w *workshop) arrive() {
	if !w.t.take(false) {
		w.refused++
		w.backlog += refusing
		w.longest = max(w.longest, w.backlog)
		return
	}
	w.right++
	w.backlog += firstPart
	w.places = append(w.places, w.now+w.backlog)
	w.later = append(w.later, w.now+w.backlog+thinking)
}

// run offers so many calls a second for a while.
func (w *workshop) run(perSecond float64, during time.Duration) {
	end := w.now + during
	due := 0.0
	for w.now < end {
		for due += perSecond * shopStep.Seconds() * 2 * w.chance.Float64(); due >= 1; due-- {
			w.arrive()
		}
		for len(w.later) > 0 && w.later[0] <= w.now {
			w.later, w.backlog = w.later[1:], w.backlog+secondPart
		}
		for len(w.places) > 0 && w.places[0] <= w.now {
			w.places = w.places[1:]
			w.t.give(1)
			w.t.answered(w.backlog)
		}
		w.worst = max(w.worst, w.backlog)
		w.now += shopStep
		w.backlog = max(0, w.backlog-shopStep)
		if w.now-w.window >= throttleWindow {
			w.t.tick(w.worst)
			w.worst, w.window = 0, w.now
		}
	}
}

func (w *workshop) again() { w.right, w.refused, w.longest = 0, 0, 0 }

func newWorkshop() *workshop {
	return &workshop{t: newThrottle(10*time.Millisecond, 7500), chance: rand.New(rand.NewPCG(1, 2))}
}

// TestThrottleUnderTwiceTheLoad: what can be done beside refusing the rest is done, and nobody waits long.
func TestThrottleUnderTwiceTheLoad(t *testing.T) {
	w := newWorkshop()
	capacity := float64(time.Second) / float64(firstPart+secondPart)
	w.run(0.7*capacity, 2*time.Second)
	if w.refused > 0 {
		t.Errorf("at seven tenths of its capacity it refused %d of %d", w.refused, w.right+w.refused)
	}
	w.again()
	w.run(2*capacity, time.Second) // it finds its limit
	w.again()
	w.run(2*capacity, 5*time.Second)
	// Refusals leave this much: g·call + (2c - g)·refusal = 1.
	call, refusal := (firstPart + secondPart).Seconds(), refusing.Seconds()
	possible := (1 - 2*capacity*refusal) / (call - refusal)
	if got := float64(w.right) / 5; got < 0.9*possible {
		t.Errorf("%.0f calls a second went right, %.0f are possible, capacity is %.0f", got, possible, capacity)
	}
	if w.longest > 100*time.Millisecond {
		t.Errorf("a refusal waited %v", w.longest)
	}
	w.again()
	w.run(0.7*capacity, time.Second) // it recovers
	w.again()
	w.run(0.7*capacity, 2*time.Second)
	if w.refused > 0 {
		t.Errorf("after the overload it refused %d of %d", w.refused, w.right+w.refused)
	}
}

// TestThrottleIsQuick: whenever an overload begins within a window, it is seen before a refusal waits for long.
func TestThrottleIsQuick(t *testing.T) {
	capacity := float64(time.Second) / float64(firstPart+secondPart)
	for offset := time.Duration(0); offset < 50*time.Millisecond; offset += 5 * time.Millisecond {
		w := newWorkshop()
		w.run(0.7*capacity, time.Second+offset)
		w.again()
		w.run(2*capacity, time.Second)
		if w.refused == 0 || w.longest > 75*time.Millisecond {
			t.Errorf("after %v, %d were refused, one after %v", offset, w.refused, w.longest)
		}
	}
}

// TestThrottleForgivesHiccups: windows in which everything stood still are no reason to refuse while they are few.
func TestThrottleForgivesHiccups(t *testing.T) {
	th := newThrottle(10*time.Millisecond, 1000)
	still := func(windows int) {
		for range windows {
			th.peak.Store(500)
			th.tick(time.Second)
		}
	}
	for range 3 {
		th.tick(0)
		still(patientWindows - 1)
		th.tick(0)
		if got := th.limit.Load(); got != 1000 || Strain(th.strained.Load()) != Easy {
			t.Errorf("limit %d, strain %d after a hiccup", got, th.strained.Load())
		}
	}
	still(patientWindows)
	if got := th.limit.Load(); got >= 500 || Strain(th.strained.Load()) != Late {
		t.Errorf("limit %d, strain %d after %d windows of standstill with 500 under way", got, th.strained.Load(), patientWindows)
	}
	for range 100 {
		th.tick(time.Second)
	}
	if got := th.limit.Load(); got != leastNew {
		t.Errorf("limit %d, least %d", got, leastNew)
	}
}

// TestThrottleAndSlowStores: an answer that takes long by itself is no overload; one that takes very long is.
func TestThrottleAndSlowStores(t *testing.T) {
	th := newThrottle(10*time.Millisecond, 1000)
	for range 10 {
		th.peak.Store(100)
		th.answered(200 * time.Millisecond)
		th.tick(time.Millisecond)
	}
	if got := th.limit.Load(); got != 1000 {
		t.Errorf("limit %d with a slow store", got)
	}
	for range 10 {
		th.peak.Store(100)
		th.answered(2 * time.Second)
		th.tick(time.Millisecond)
	}
	if got := th.limit.Load(); got != leastNew {
		t.Errorf("limit %d with a store that answers after two seconds", got)
	}
}

// TestThrottleHints: later the more is asked, within bounds, and not all at one time.
func TestThrottleHints(t *testing.T) {
	th := newThrottle(10*time.Millisecond, 100)
	spread := func() (least, most time.Duration) {
		least = time.Hour
		for seed := range uint64(1000) {
			h := th.hint(seed)
			least, most = min(least, h), max(most, h)
		}
		return least, most
	}
	low, high := spread()
	if low < leastHint || high > 2*leastHint || high-low < leastHint/2 {
		t.Errorf("at ease: %v..%v", low, high)
	}
	for range 20 {
		th.began.Store(10)
		th.refused.Store(90)
		th.tick(0)
	}
	if more, most := spread(); more <= high || most > mostHint {
		t.Errorf("ten times too much: %v..%v", more, most)
	}
}

// TestGreedyComeLast: under pressure who asks for more than others do finds only half of the places; at ease all are equal.
func TestGreedyComeLast(t *testing.T) {
	cfg := Config{Limits: Limits{InFlight: 40, TargetWait: 10 * time.Millisecond}}
	g := &gate{}
	g.open(&cfg)
	defer g.meter.close()
	flooder := &account{}
	for n := range leastAsks {
		if g.accounts.shares.ask(flooder, 1) {
			t.Fatalf("greedy at request %d", n+1)
		}
	}
	if !g.accounts.shares.ask(flooder, 1) {
		t.Fatal("not greedy after all others' and his own share")
	}
	if c := g.enter(flooder, 1); c != admitted {
		t.Fatalf("refused at ease: %d", c)
	}
	g.throttle.limit.Store(10) // pressure
	for g.throttle.underway.Load() < 5 {
		if c := g.enter(flooder, 1); c != admitted {
			t.Fatalf("refused with %d under way", g.throttle.underway.Load())
		}
	}
	if c := g.enter(flooder, 1); c != overShare {
		t.Errorf("more than half of the places: %d", c)
	}
	for range 5 {
		if c := g.enter(&account{}, 1); c != admitted {
			t.Fatalf("another user with %d under way: %d", g.throttle.underway.Load(), c)
		}
	}
	if c := g.enter(&account{}, 1); c != overload {
		t.Errorf("beyond the limit: %d", c)
	}
}

// TestLongListsWeighMore than invitations, and what carries on a call weighs nothing.
func TestLongListsWeighMore(t *testing.T) {
	for want, msgs := range map[int64][]any{
		0: {&envelope{command: command{Command: call.Command{Op: call.OpAccept}}}, &envelope{command: command{Command: call.Command{Op: call.OpEnd}}}},
		1: {&envelope{command: command{Command: call.Command{Op: call.OpInvite}}}, &list{Count: 20}},
		5: {&list{Count: maxPage}},
	} {
		for _, m := range msgs {
			if got := newWork(m); got != want {
				t.Errorf("%+v weighs %d, want %d", m, got, want)
			}
		}
	}
	var s shares
	a := &account{}
	for n, want := range []bool{false, false, true} {
		if s.ask(a, 5) != want {
			t.Errorf("long list %d of a second: greedy is not %v", n+1, want)
		}
	}
	if s.askers.Load() != 1 || s.sum.Load() != 10 {
		t.Errorf("%d askers, %d asked", s.askers.Load(), s.sum.Load())
	}
}

// TestShares: a flooder does not raise what counts as usual.
func TestShares(t *testing.T) {
	var s shares
	users := make([]account, 50)
	flooder := &account{}
	for range 3 {
		for range 10_000 {
			s.ask(flooder, 1)
		}
		for i := range users {
			for range 5 {
				if s.ask(&users[i], 1) {
					t.Fatal("five a second is greedy")
				}
			}
		}
		s.turn()
	}
	if got := s.enough(); got > 40 {
		t.Errorf("enough is %d", got)
	}
	for range 3 { // where everybody asks for much, nobody is greedy for long
		for i := range users {
			for range 30 {
				s.ask(&users[i], 1)
			}
		}
		s.turn()
	}
	for range 30 {
		if s.ask(&users[0], 1) {
			t.Fatal("as much as all others is greedy")
		}
	}
}

// TestAccounts: who insists stays away, longer each time; who logs in too often waits; all is forgotten in the end.
func TestAccounts(t *testing.T) {
	var a accounts
	now := time.Unix(1000, 0)
	for strike := range 3 {
		one, wait := a.enter("mallory", now)
		if wait > 0 {
			t.Fatalf("strike %d: %v", strike, wait)
		}
		a.leave("mallory", one, true, now)
		if _, wait := a.enter("mallory", now); wait != firstBar<<strike {
			t.Errorf("after strike %d: %v", strike, wait)
		}
		now = now.Add(firstBar << strike)
	}
	for range loginBurst {
		one, wait := a.enter("alice", now)
		if wait > 0 {
			t.Fatalf("refused within the burst: %v", wait)
		}
		a.leave("alice", one, false, now)
	}
	if _, wait := a.enter("alice", now); wait != time.Second/loginRate {
		t.Errorf("too many logins: %v", wait)
	}
	flooder, _ := a.enter("trudy", now)
	for range 100 {
		a.shares.ask(flooder, 1)
	}
	for range 10 {
		flooder.devices++
		a.leave("trudy", flooder, false, now)
	}
	a.leave("trudy", flooder, false, now)
	if _, wait := a.enter("trudy", now); wait != (loginBurst+1)*time.Second/loginRate {
		t.Errorf("who flooded on many connections is back in %v", wait)
	}
	a.shares.turn()
	if !a.shares.greedy(flooder) {
		t.Error("not greedy right after it")
	}
	a.shares.turn()
	if a.shares.greedy(flooder) {
		t.Error("greedy for ever")
	}
	bob, _ := a.enter("bob", now)
	now = now.Add(remember)
	carol, _ := a.enter("carol", now)
	if len(a.open) != 2 || len(a.left) != 0 {
		t.Errorf("%d accounts, %d left over; bob and carol are there", len(a.open), len(a.left))
	}
	a.leave("bob", bob, false, now)
	a.leave("carol", carol, false, now)
	for i := range 3 * maxLeftover {
		one, _ := a.enter(call.UserID(strconv.Itoa(i)), now)
		a.leave(call.UserID(strconv.Itoa(i)), one, false, now)
	}
	if len(a.open) > maxLeftover+2 || len(a.left) > maxLeftover+2 {
		t.Errorf("%d accounts, %d left over", len(a.open), len(a.left))
	}
}

// BenchmarkGate is all that admission adds to a request that is let in: 40 ns, of about 500 µs for a call.
func BenchmarkGate(b *testing.B) {
	g := &gate{}
	g.open(&Config{Limits: Limits{InFlight: 10_000, TargetWait: 10 * time.Millisecond}})
	defer g.meter.close()
	users := make([]account, 1000)
	for i := 0; b.Loop(); i++ {
		if g.enter(&users[i%len(users)], 1) != admitted {
			b.Fatal("refused")
		}
		g.throttle.answered(time.Millisecond)
		g.throttle.give(1)
	}
}
