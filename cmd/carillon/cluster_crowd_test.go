//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"carillon/transport/client"
)

// How people play.
const (
	personThinks   = 250 * time.Millisecond // at most, between two deeds
	personBudget   = 20 * time.Second       // for one deed, all its retries
	personRequest  = 3 * time.Second        // for one try
	hasteBudget    = 700 * time.Millisecond // for a deed of one who is in haste: its outcome may stay unknown
	settlePatience = 60 * time.Second
)

// act is one operation on a call, as the one who asked for it saw it.
type act struct {
	user, op     string
	call         client.CallID // 0: the call of an invitation without an answer
	tag          string        // extended data, no two alike
	invitees     []string
	mode         client.Mode
	timeout      time.Duration
	began, ended time.Time
	known        bool // it was answered
	code         client.Code
	seen         *client.CallInfo // the call in the answer
	tries        int              // at most so many
}

// ring is an invitation on a device.
type ring struct {
	at, until time.Time // until: by this machine's clock, as the server said
	over      time.Time // when the device learned the outcome; zero: it has not
	how       string    // what told it
	times     int       // how often the app was told that it rings
}

// fact is what an event said of one user at one version of a call.
type fact struct {
	at      time.Time
	call    client.CallID
	version uint64
	user    string
	state   client.UserState
}

// person is a user with one device who plays at random through the SDK and writes down what he does and hears.
type person struct {
	name, prefix string
	others       []string
	client       *client.Client
	chance       *rand.Rand // of the goroutine that plays
	counter      int        // of it, too
	answered     map[client.CallID]bool
	patient      bool // never in haste

	mu       sync.Mutex
	acts     []act
	rings    map[client.CallID]*ring
	facts    []fact
	connects []time.Time
	losses   []string          // of connections, when and why
	lists    []client.CallInfo // at the end
	listed   [2]time.Time      // when they were asked for, and came
	faults   []string
}

// crowd is many people.
type crowd struct {
	t       *testing.T
	people  []*person
	playing sync.WaitGroup
	quit    context.CancelFunc
	outages []span // in which nothing can be saved, or not everybody told
	faults  []span // from a fault until the cluster was whole again
}

// span is a stretch of time.
type span struct{ from, to time.Time }

// newCrowd logs people in, each at another node in turn.
func newCrowd(t *testing.T, f *fleet, prefix string, size int, seed uint64) *crowd {
	t.Helper()
	k := &crowd{t: t, quit: func() {}}
	names := numbered(prefix, size)
	var dials sync.WaitGroup
	doors := make(chan struct{}, 8)
	for i, name := range names {
		p := &person{
			name: name, prefix: prefix, chance: rand.New(rand.NewPCG(seed, uint64(i))),
			answered: map[client.CallID]bool{}, rings: map[client.CallID]*ring{},
		}
		p.others = append(append(p.others, names[:i]...), names[i+1:]...)
		k.people = append(k.people, p)
		dials.Go(func() {
			doors <- struct{}{}
			defer func() { <-doors }()
			p.dial(t, f.addresses(i%len(f.nodes)))
		})
	}
	dials.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(k.leave)
	return k
}

func (p *person) dial(t *testing.T, addresses []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{
		Addresses: addresses, UserID: p.name, DeviceID: "d", OnEvent: p.hear,
		TLS:         &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, // development certificates
		DialTimeout: 3 * time.Second, RequestTimeout: personRequest, RequestBudget: personBudget,
		BackoffMin: 50 * time.Millisecond, BackoffMax: time.Second,
	})
	if err != nil {
		t.Errorf("%s: %v", p.name, err)
		return
	}
	p.client = c
}

// leave ends all clients.
func (k *crowd) leave() {
	k.stop()
	for _, p := range k.people {
		if p.client != nil {
			_ = p.client.Close()
		}
	}
}

// begin lets everybody play until stop.
func (k *crowd) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	k.quit = cancel
	for _, p := range k.people {
		k.playing.Go(func() {
			for pause(ctx, time.Duration(p.chance.Int64N(int64(personThinks)))) == nil {
				p.play()
			}
		})
	}
}

func (k *crowd) stop() {
	k.quit()
	k.playing.Wait()
}

// each lets everybody do something at the same time.
func (k *crowd) each(do func(*person)) {
	var all sync.WaitGroup
	for _, p := range k.people {
		all.Go(func() { do(p) })
	}
	all.Wait()
}

// ring makes so many calls that ring for between the given whole seconds.
func (k *crowd) ring(calls, least, most int) {
	k.each(func(p *person) {
		for range (calls + len(k.people) - 1) / len(k.people) {
			p.invite(time.Duration(least+p.chance.IntN(most-least+1))*time.Second, 2, client.Mode(1+p.chance.IntN(2)))
		}
	})
}

// play does one thing: answer what rings, now and then cancel, leave, add or end, else invite. Half of all calls nobody
// answers.
func (p *person) play() {
	for _, call := range p.client.Calls() {
		me, ok := call.User(p.name)
		if !ok || p.answered[call.CallID] || uint64(call.CallID)%2 > 0 && me.State.Pending() || p.chance.IntN(3) > 0 {
			continue
		}
		if p.playOn(call, me, p.chance.IntN(10)) {
			return
		}
	}
	if p.chance.IntN(4) == 0 {
		p.invite(time.Duration(1+p.chance.IntN(4))*time.Second, 1+p.chance.IntN(3), client.Mode(1+p.chance.IntN(2)))
	}
}

func (p *person) playOn(call client.CallInfo, me client.CallUser, roll int) bool {
	switch id, advanced := call.CallID, call.Mode == client.Advanced; {
	case me.State.Pending() && roll < 5:
		p.accept(id)
	case me.State.Pending() && roll < 8:
		p.reject(id)
	case me.State.Pending() && roll < 9: // once too often
		p.accept(id)
		p.reject(id)
	case me.State.Pending():
		return false
	case !advanced && roll > 8: // makes no sense
		p.leaveCall(id)
	case call.Caller == p.name && roll < 3:
		p.cancel(id)
	case advanced && roll < 5:
		p.add(id, call)
	case advanced && call.Caller != p.name && roll < 8:
		p.leaveCall(id)
	case advanced && roll > 8:
		p.end(id)
	default:
		return false
	}
	p.answered[call.CallID] = !me.State.Pending()
	return true
}

// do writes an operation down. Some are done in haste.
func (p *person) do(a act, operate func(context.Context, string) (client.CallInfo, error)) {
	budget := personBudget
	if !p.patient && p.chance.IntN(5) == 0 {
		budget = hasteBudget
	}
	ctx, cancel := context.WithTimeout(context.Background(), budget)
	defer cancel()
	p.counter++
	a.user, a.tag, a.began = p.name, fmt.Sprintf("%s #%d", p.name, p.counter), time.Now()
	call, err := operate(ctx, a.tag)
	a.ended = time.Now()
	var e *client.Error
	switch {
	case err == nil:
		a.known, a.call, a.seen = true, call.CallID, &call
	case errors.As(err, &e):
		a.code, a.seen = e.Code, e.Call
		switch e.Code {
		case client.ConnectionLost, client.TimedOut, client.Internal, client.NotLoggedIn:
		default:
			a.known = true
		}
	}
	if a.seen != nil {
		p.concludeOwn(*a.seen)
	}
	a.tries = 1 + int(a.ended.Sub(a.began)/personRequest) + p.connectsSince(a.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acts = append(p.acts, a)
}

// connections is when he got and lost connections, for people.
func (p *person) connections() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.losses)
	for _, c := range p.connects {
		out = append(out, c.Format(clock)+" connected")
	}
	slices.Sort(out)
	return out
}

func (p *person) connectsSince(at time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.connects {
		if c.After(at) {
			n++
		}
	}
	return n
}

func (p *person) invite(timeout time.Duration, invitees int, mode client.Mode) {
	a := act{op: "invite", mode: mode, timeout: timeout}
	for _, i := range p.chance.Perm(len(p.others))[:invitees] {
		a.invitees = append(a.invitees, p.others[i])
	}
	p.do(a, func(ctx context.Context, tag string) (client.CallInfo, error) {
		r, err := p.client.CallInvite(ctx, a.invitees, client.CallInviteConfig{Timeout: timeout, Mode: mode, ExtendedData: tag})
		return r.Call, err
	})
}

func (p *person) accept(id client.CallID) {
	p.do(act{op: "accept", call: id}, func(ctx context.Context, tag string) (client.CallInfo, error) {
		r, err := p.client.CallAccept(ctx, id, client.CallAcceptConfig{ExtendedData: tag})
		return r.Call, err
	})
}

func (p *person) reject(id client.CallID) {
	p.do(act{op: "reject", call: id}, func(ctx context.Context, tag string) (client.CallInfo, error) {
		r, err := p.client.CallReject(ctx, id, client.CallRejectConfig{ExtendedData: tag})
		return r.Call, err
	})
}

func (p *person) cancel(id client.CallID) {
	p.do(act{op: "cancel", call: id}, func(ctx context.Context, tag string) (client.CallInfo, error) {
		r, err := p.client.CallCancel(ctx, id, nil, client.CallCancelConfig{ExtendedData: tag})
		return r.Call, err
	})
}

func (p *person) leaveCall(id client.CallID) {
	p.do(act{op: "quit", call: id}, func(ctx context.Context, tag string) (client.CallInfo, error) {
		r, err := p.client.CallQuit(ctx, id, client.CallQuitConfig{ExtendedData: tag})
		return r.Call, err
	})
}

func (p *person) end(id client.CallID) {
	p.do(act{op: "end", call: id}, func(ctx context.Context, tag string) (client.CallInfo, error) {
		r, err := p.client.CallEnd(ctx, id, client.CallEndConfig{ExtendedData: tag})
		return r.Call, err
	})
}

// add invites somebody who was never in the call.
func (p *person) add(id client.CallID, call client.CallInfo) {
	who := p.others[p.chance.IntN(len(p.others))]
	if _, there := call.User(who); there {
		return
	}
	a := act{op: "add", call: id, invitees: []string{who}, timeout: time.Duration(1+p.chance.IntN(3)) * time.Second}
	p.do(a, func(ctx context.Context, tag string) (client.CallInfo, error) {
		r, err := p.client.CallingInvite(ctx, id, a.invitees, client.CallingInviteConfig{Timeout: a.timeout, ExtendedData: tag})
		return r.Call, err
	})
}
