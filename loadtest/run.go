package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	maxInFlight   = 200_000 // calls; more are not begun, which fails the run
	baselineUsers = 50      // logged in before the memory of the others is measured
	drainPoll     = 5 * time.Millisecond
)

// run is one scenario against one target, from the logins to the audit.
type run struct {
	scenario scenario
	name     string // prefix of the users' IDs, unique
	target   *target
	random   *rand.Rand // of the agenda's goroutine
	deck     []*story   // the mix, each story as often as it weighs

	agenda *agenda
	book   *book
	tally  *tally
	crowd  *crowd
	count  int // calls begun; of the agenda's goroutine

	progress progress
	delay    time.Duration // of the first call, so that the parts of a run don't all call at once
	crew     *crew         // workers that do it all; nil: this process does
	measured time.Time     // when measuring began

	pressed   *pressed // nil: no overload
	beset     *beset   // nil: nobody is hostile
	intruders *intruders
	weather   *weather // nil: whatever is lost is a failure
	diary     diary
}

// usage is what the servers used, when they can be seen.
type usage struct {
	logins   time.Duration // CPU of all logins
	cpu      time.Duration // of what is measured
	own      time.Duration // CPU of this program meanwhile
	took     time.Duration // from the first call to the last one's end, less what that call lasts by itself
	resident int64         // bytes at the end
	device   int64         // bytes per idle device
}

func newRun(s scenario, name string, t *target, seed uint64, sockets int) (*run, error) {
	r := &run{
		scenario: s, name: name, target: t, random: rand.New(rand.NewPCG(seed, 0)), agenda: newAgenda(), book: newBook(), tally: newTally(s.AuditCalls),
	}
	for _, one := range stories { // not in the map's order: a seed gives the same calls
		for range s.Mix[one.name] {
			r.deck = append(r.deck, one)
		}
	}
	var err error
	if r.crowd, err = newCrowd(t.addrs, sockets, r.agenda, r.book.tell); err == nil {
		r.crowd.trust = t.trust
	}
	if err == nil && s.Lenient {
		r.tolerate()
	}
	return r, err
}

// do runs the scenario. The agenda runs meanwhile, and ends with it, as do all connections.
func (r *run) do(ctx context.Context, say func(format string, args ...any)) (u usage, found *audit, err error) {
	ctx, stop := context.WithCancel(ctx)
	var clock sync.WaitGroup
	clock.Go(func() { r.agenda.run(ctx) })
	defer func() {
		err = errors.Join(err, r.intruders.close(), r.crowd.close())
		stop()
		clock.Wait()
	}()
	if err := r.progress.enter(ctx, loggingIn); err != nil {
		return u, nil, err
	}
	if u, err = r.logIn(ctx); err != nil {
		return u, nil, err
	}
	r.crowd.open(ctx)
	if err := r.progress.enter(ctx, warming); err != nil {
		return u, nil, err
	}
	say("%d users are logged in", r.scenario.Users)
	if err := r.offer(ctx, r.scenario.Rate/2, r.scenario.Warmup, false); err != nil {
		return u, nil, err
	}
	if err := r.prepare(ctx, say); err != nil {
		return u, nil, err
	}
	if err := r.progress.enter(ctx, measuring); err != nil {
		return u, nil, err
	}
	say("measuring for %v", r.scenario.Duration)
	self := &meter{pids: []int{os.Getpid()}}
	before, own, began := r.target.meter.cpu(), self.cpu(), time.Now()
	r.measured = began
	watched, unwatch := context.WithCancel(ctx)
	var sampling sync.WaitGroup
	sampling.Go(func() { r.sample(watched, began) })
	r.diary.begin(began)
	inflicted := make(chan error, 1)
	go func() { inflicted <- r.faults(watched, began) }()
	err = r.offer(ctx, r.scenario.Rate, r.scenario.Duration, true)
	unwatch()
	err = errors.Join(err, <-inflicted, r.gather(ctx))
	sampling.Wait()
	u.cpu, u.own, u.resident = r.target.meter.cpu()-before, self.cpu()-own, r.target.meter.resident()
	u.took = max(r.tally.ending().Sub(began), r.scenario.Duration)
	if base := u.device; r.scenario.Rate == 0 && u.resident > 0 {
		u.device = (u.resident - base) / int64(max(1, r.scenario.Users-baselineUsers))
	} else {
		u.device = 0
	}
	if err != nil {
		return u, nil, err
	}
	if err := r.progress.enter(ctx, auditing); err != nil {
		return u, nil, err
	}
	if r.crew != nil {
		return u, nil, r.letReport(ctx)
	}
	return u, r.audit(ctx), nil
}

// logIn brings all users in. Until the end of the run usage.device is the memory before most of them came.
func (r *run) logIn(ctx context.Context) (u usage, err error) {
	if r.crew != nil {
		return r.letLogIn(ctx)
	}
	if err := r.crowd.grow(ctx, r.name+"-", min(baselineUsers, r.scenario.Users)); err != nil {
		return u, err
	}
	u.device = r.target.meter.resident()
	before := r.target.meter.cpu()
	if err := r.crowd.grow(ctx, r.name+"-", r.scenario.Users); err != nil {
		return u, err
	}
	u.logins = r.target.meter.cpu() - before
	return u, nil
}

// offer begins calls at a rate, each at its scheduled instant whatever became of the others, and waits until all are over.
func (r *run) offer(ctx context.Context, rate float64, during time.Duration, counts bool) error {
	if r.crew != nil {
		return r.letOffer(ctx, counts)
	}
	calls := int(rate * during.Seconds())
	if calls == 0 {
		return rest(ctx, during)
	}
	last := make(chan struct{})
	start := time.Now().Add(drainPoll + r.delay)
	at := func(n int) time.Time { return start.Add(time.Duration(float64(n) / rate * float64(time.Second))) }
	n := 0
	var arrive func(time.Time)
	arrive = func(now time.Time) {
		r.arrive(at(n), now, counts)
		if n++; n == calls {
			close(last)
			return
		}
		r.agenda.at(at(n), arrive)
	}
	r.agenda.at(at(0), arrive)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-last:
	}
	for end := time.Now().Add(r.longest()); r.book.open() > 0; {
		if err := rest(ctx, drainPoll); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d calls have not come to an end after %v", r.book.open(), r.longest())
		}
	}
	return nil
}

// longest is how long a call can take until it is over or has failed.
func (r *run) longest() time.Duration {
	most := 0
	for _, s := range r.deck {
		most = max(most, len(s.stages))
	}
	t := r.scenario.timing()
	return time.Duration(most)*(t.patience+t.ring+t.talk) + t.timeout + ringSlack + settle
}

// arrive begins a call between random users.
func (r *run) arrive(due, now time.Time, counts bool) {
	if r.book.open() >= maxInFlight {
		r.tally.began(counts, tooMany)
		return
	}
	s := r.deck[r.random.IntN(len(r.deck))]
	seats, room := r.crowd.reserve(s.visitors())
	if !room {
		r.tally.began(counts, noSeat)
		return
	}
	r.tally.began(counts, begun)
	c := &call{run: r, name: r.name + "/" + strconv.Itoa(r.count), counts: counts, seats: seats}
	names := r.cast(c, s)
	r.count++
	c.machine = newMachine(s, names, r.scenario.timing(), due)
	r.book.add(c)
	for _, u := range c.devices {
		if u != nil {
			u.joins(c)
		}
	}
	c.begin(now)
}

// cast gives a call its users: random ones of the crowd, and visitors whom nobody else can call.
func (r *run) cast(c *call, s *story) cast {
	drawn := r.draw(s.cast)
	names := make(cast, s.cast)
	for i, n := range drawn {
		if s.visits[i] {
			names[i] = fmt.Sprintf("%s-%v%d", r.name, role(i), r.count)
			continue
		}
		c.devices[i] = r.crowd.users[n]
		names[i] = c.devices[i].name
	}
	return names
}

// draw gives n different users.
func (r *run) draw(n int) []int {
	out := make([]int, 0, n)
next:
	for len(out) < n {
		i := r.random.IntN(len(r.crowd.users))
		for _, other := range out {
			if i == other {
				continue next
			}
		}
		out = append(out, i)
	}
	return out
}

// sample closes a second of the tally each second.
func (r *run) sample(ctx context.Context, began time.Time) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	used := r.target.meter.cpu()
	for {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		cpu := r.target.meter.cpu()
		r.tally.tick(second{
			At: time.Since(began).Seconds(), InFlight: r.book.open(), Online: int(r.crowd.online.Load()),
			CPU: (cpu - used).Seconds(), Memory: r.target.meter.resident(),
		})
		used = cpu
		if ctx.Err() != nil {
			return
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
