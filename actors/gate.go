package actors

import (
	"sync/atomic"
	"time"

	"carillon/actors/call"
)

// gate is what a whole node lets in: the throttle of its new work and the accounts of its users.
type gate struct {
	throttle *throttle
	accounts accounts
	meter    *meter
	admitted atomic.Int64 // new work
	refused  [causes]atomic.Int64
}

// cause is why a request or a login was refused.
type cause uint8

const (
	admitted   cause = iota
	overRate         // the device's requests per second
	overDevice       // the device's unanswered requests
	overNode         // the node's unanswered requests
	overload         // the throttle is full
	overShare        // the throttle is half full, and the user asks for more than others do
	overLogins       // the user logs in too often, or was sent away for insisting
	causes
)

var causeNames = [causes]string{
	overRate: "rate", overDevice: "device", overNode: "node", overload: "overload", overShare: "share", overLogins: "logins",
}

// Refusals are shared: nobody changes them.
var causeRefusals = [causes]*call.Refusal{
	overRate:   {Code: call.TooFrequent, Message: "requests: too many from this device"},
	overDevice: {Code: call.TooFrequent, Message: "requests: too many unanswered ones from this device"},
	overNode:   {Code: call.TooFrequent, Message: "the server is overloaded"},
	overload:   {Code: call.TooFrequent, Message: "the server is overloaded"},
	overShare:  {Code: call.TooFrequent, Message: "the server is overloaded, and this user asks for more than others do"},
	overLogins: {Code: call.TooFrequent, Message: "logins: too many of this user"},
}

func (g *gate) open(cfg *Config) {
	most := cfg.Limits.InFlight - cfg.Limits.InFlight/4 // what carries on a call finds room where nothing new does
	g.throttle = newThrottle(cfg.Limits.TargetWait, most)
	g.meter = &meter{throttle: g.throttle, shares: &g.accounts.shares, wait: cfg.Wait}
}

// enter takes a place for new work of a user.
func (g *gate) enter(own *account, weight int64) cause {
	g.meter.wake()
	greedy := g.accounts.shares.ask(own, weight)
	switch {
	case g.throttle.take(greedy):
		g.admitted.Add(1)
		return admitted
	case greedy:
		return overShare
	}
	return overload
}

// refuse counts a refusal.
func (g *gate) refuse(c cause) *call.Refusal {
	g.refused[c].Add(1)
	return causeRefusals[c]
}

// newWork is what a request weighs that begins something, or only asks: what may be refused so that calls which are under way
// can go on. It is 0 for those, 1 for an invitation.
func newWork(msg any) int64 {
	switch m := msg.(type) {
	case *list:
		return 1 + int64(m.Count)/listed
	case *envelope:
		if m.Op == call.OpInvite || m.Op == call.OpAdd || m.Op == call.OpJoin {
			return 1
		}
	}
	return 0
}

// listed is how many calls of a list cost about as much as an invitation.
const listed = 25

// letIn takes a place for a login, on the user's account and on the node's.
func (g *Gateway) letIn(user call.UserID) (*call.Refusal, time.Duration) {
	if !g.load.take() {
		return g.gate.refuse(overNode), time.Second
	}
	own, wait := g.gate.accounts.enter(user, g.cfg.Now())
	if wait > 0 {
		g.load.give(1)
		return g.gate.refuse(overLogins), wait
	}
	g.own = own
	return nil, 0
}

// Strain is how hard the node is pressed.
func (s *System) Strain() Strain { return Strain(s.gate.throttle.strained.Load()) }

// Admission is what the gates of a node have let in since its start.
type Admission struct {
	Limit    int // places for new work at this moment
	Underway int // of them taken
	Admitted int
	Refused  map[string]int // by cause
}

// Admission reads the counters.
func (s *System) Admission() Admission {
	a := Admission{
		Limit: int(s.gate.throttle.limit.Load()), Underway: int(s.gate.throttle.underway.Load()), Admitted: int(s.gate.admitted.Load()),
		Refused: map[string]int{},
	}
	for c := overRate; c < causes; c++ {
		a.Refused[causeNames[c]] = int(s.gate.refused[c].Load())
	}
	return a
}
