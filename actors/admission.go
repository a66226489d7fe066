package actors

import (
	"slices"
	"sync/atomic"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// load counts the unanswered requests of a node.
type load struct {
	count *atomic.Int64
	limit int64
}

func (l *load) take() bool {
	if l.count.Add(1) > l.limit {
		l.count.Add(-1)
		return false
	}
	return true
}

func (l *load) give(n int) { l.count.Add(int64(-n)) }

// bucket is a token bucket; the zero value with its rates set is full. One goroutine uses it.
type bucket struct {
	rate, burst float64 // tokens a second, tokens
	used        float64
	at          time.Time
	insistence  int // refusals in a row
}

// next takes a token, or says how long to wait for one.
func (b *bucket) next(now time.Time) time.Duration {
	b.used = max(0, b.used-b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.used+1 > b.burst {
		b.insistence++
		return time.Duration((b.used + 1 - b.burst) / b.rate * float64(time.Second))
	}
	b.used++
	b.insistence = 0
	return 0
}

func (b *bucket) take(now time.Time) bool { return b.next(now) == 0 }

// admit takes a place for a request, on the device's account and on the node's; otherwise it says when to come again. Only
// new work has a weight.
func (g *Gateway) admit(id uint64, weight int64, end func(call.Code)) (*call.Refusal, time.Duration) {
	now := g.cfg.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	lost := 0
	for lost < len(g.requests) && now.Sub(g.requests[lost].at) > answerWait {
		lost++
	}
	g.forgive(lost)
	if len(g.requests) >= g.cfg.Limits.InFlightPerDevice {
		return g.gate.refuse(overDevice), time.Second
	}
	if !g.load.take() {
		return g.gate.refuse(overNode), time.Second
	}
	if weight > 0 {
		if c := g.gate.enter(g.own, weight); c != admitted {
			g.load.give(1)
			if c == overShare {
				g.out.Slow(refusedFrames)
			}
			return g.gate.refuse(c), g.gate.throttle.hint(g.conn.ID + id)
		}
	}
	g.requests = append(g.requests, request{at: now, fresh: weight > 0, end: end})
	return nil, 0
}

// forgive frees the places of the n oldest requests. g.mu is held.
func (g *Gateway) forgive(n int) {
	fresh := int64(0)
	for _, r := range g.requests[:n] {
		if r.fresh {
			fresh++
		}
	}
	g.load.give(n)
	g.gate.throttle.give(fresh)
	g.requests = slices.Delete(g.requests, 0, n)
}

// refuse answers a request that goes no further; who insists loses his connection.
func (g *Gateway) refuse(f *wire.ClientFrame, r *call.Refusal, hint time.Duration) {
	if r.Code != call.TooFrequent {
		hint = 0
	}
	g.cfg.Watch.operation(operation(f), r.Code, 0)
	g.out.Send(refusal(f.GetRequestId(), r, hint))
	if g.budget.insistence > maxInsistence {
		g.insisted = true
		g.out.Close(uint64(wire.CloseOverloaded), "requests: far too many from this device")
	}
}

// deliver hands on what the actors have for the connection.
func (g *Gateway) deliver(msg any) {
	switch m := msg.(type) {
	case output:
		g.output(m)
	case recall:
		g.recall("its session does not know it")
	case audit:
		g.mu.Lock()
		missed := g.heard < m.Number && g.stage != closed
		g.mu.Unlock()
		if missed {
			g.missed()
		} else {
			g.sign(session.Seen{Silent: true})
		}
	}
}

// missed is what a gateway does when something that its session has sent is lost.
func (g *Gateway) missed() {
	g.cfg.Watch.repaired("gap")
	g.recall("a message was lost between two nodes")
}

func (g *Gateway) output(m output) {
	g.mu.Lock()
	switch {
	case g.stage == closed || m.Number > 0 && m.Number <= g.heard:
		g.mu.Unlock()
		return
	case m.Number > g.heard+1:
		g.mu.Unlock()
		g.missed()
		return
	}
	g.heard = max(g.heard, m.Number)
	done := slices.Clone(g.requests[:min(m.Answers, len(g.requests))])
	if len(done) > 0 {
		g.gate.throttle.answered(g.cfg.Now().Sub(done[0].at))
		g.forgive(len(done))
	}
	if m.LoggedIn && g.stage == joining {
		g.stage = online
		g.devices.Add(1)
	}
	g.mu.Unlock()
	if m.LoggedIn {
		g.out.LoggedIn()
	}
	if len(m.Frames) > 0 {
		g.out.Send(m.Frames)
	}
	if m.Close != nil {
		g.out.Close(m.Close.Code, m.Close.Reason)
	}
	for _, r := range done {
		if r.end != nil {
			r.end(m.Code)
		}
	}
}

// Closed ends the gateway: the session hears of it, and the places of what was never answered are free again.
func (g *Gateway) Closed() {
	g.mu.Lock()
	was := g.stage
	g.stage = closed
	unanswered := slices.Clone(g.requests)
	g.forgive(len(unanswered))
	if was == online {
		g.devices.Add(-1)
	}
	g.mu.Unlock()
	for _, r := range unanswered {
		if r.end != nil {
			r.end(call.TimedOut)
		}
	}
	g.leave()
	if g.own != nil {
		g.gate.accounts.leave(g.user, g.own, g.insisted, g.cfg.Now())
	}
	if was == joining || was == online {
		g.peers.ToSession(g.user, session.Broken{Conn: g.conn})
	}
}
