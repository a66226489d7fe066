package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"carillon/transport/wire"
)

// Bounds of trying again.
const (
	firstWait = 2 * time.Second // for an answer; doubles
	lastWait  = 8 * time.Second
	mostDelay = 2 * time.Second // before a deed that was refused for a passing reason is sent again
	lookEvery = time.Second     // at a call that goes on
	stillFor  = time.Second     // a call that has not moved for so long has its connections asked for a sign of life
)

// Refusals that leave open what has become of a request (SPEC 4).
const (
	internal       = 6000007
	connectionLost = 6000009
	timedOutCode   = 6000105
)

func passing(code uint32) bool {
	return code == internal || code == connectionLost || code == timedOutCode
}

// overrules reports whether a deed is refused so when the time of its invitation was over before it (SPEC 4).
func overrules(code uint32) bool {
	return code == 6000271 || code == 6000274 || code == 6000276 || code == 6000287
}

// attempt is a deed that is sent again, under the same command ID, until it is answered.
type attempt struct {
	by    device
	do    deed
	stage *stage
	frame *wire.ClientFrame
	sent  time.Time
	wait  time.Duration // from then, until it is sent again
	tries int
	done  bool
	code  uint32 // of the answer
}

// pursue sends a deed and goes on until it is answered. c.mu is held.
func (c *call) pursue(g *stage, now time.Time) {
	f := c.frame(g)
	f.CommandId = newCommandID()
	c.attempt = &attempt{by: g.by, do: g.do, stage: g, frame: f}
	c.try(c.attempt, now)
}

// try sends a deed once more. Without a connection it waits for the next one. c.mu is held.
func (c *call) try(a *attempt, now time.Time) {
	a.wait = min(max(2*a.wait, firstWait), lastWait)
	a.sent = now
	u := c.devices[a.by]
	if u == nil || u.ask(a.frame, func(r *wire.Response) { c.replied(a, r, time.Now()) }) != nil {
		return
	}
	if a.tries++; a.tries > 1 {
		c.machine.note(line{at: now, text: fmt.Sprintf("%v sends %v again", a.by, a.do)})
		c.run.tally.retried()
	}
}

// replied takes an answer to an attempt. Whatever is answered later must be the same.
func (c *call) replied(a *attempt, r *wire.Response, now time.Time) {
	if id := r.GetCall().GetCallId(); a.do == invite && id != 0 { // it may be all that names the call
		if found := c.run.book.find(id, c.name); found != nil {
			found.mu.Unlock()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machine
	c.feel(now)
	code := r.GetCode()
	switch {
	case a.done:
		if code != a.code && !passing(code) && code != tooFrequent && m.ending == going {
			m.fail(now, "%v's %v was answered with %d at first, and with %d when it was repeated", a.by, a.do, a.code, code)
			c.proceed(now, false)
		}
		return
	case passing(code):
		m.note(line{at: now, text: fmt.Sprintf("%v's %v is put off: %d %s", a.by, a.do, code, r.GetMessage())})
		c.run.agenda.at(now.Add(mostDelay/4+rand.N(mostDelay/2)), func(now time.Time) { c.again(a, now) })
		return
	}
	a.done, a.code = true, code
	if overrules(code) {
		if next, right := m.overruled(a.by, c.shown(r), now); right {
			m.note(line{at: now, text: fmt.Sprintf("%v's %v comes after the end of its time: %d", a.by, a.do, code)})
			c.proceed(now, next)
			return
		}
	}
	c.reply(a.stage, r, now)
}

// shown is the call as a refusal shows it, nil if it does not.
func (c *call) shown(r *wire.Response) *fact {
	if r.GetCall() == nil {
		return nil
	}
	f, err := c.machine.cast.sync(r.GetCall())
	if err != nil {
		return nil
	}
	return &f
}

// again sends a deed once more unless it is answered.
func (c *call) again(a *attempt, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !a.done && c.attempt == a && c.machine.ending == going {
		c.try(a, now)
	}
}

// feel takes notice of a fault. c.mu is held.
func (c *call) feel(now time.Time) {
	w := c.run.weather
	if w == nil {
		return
	}
	m := c.machine
	if !m.on && w.stormy(now) {
		m.disturb(now)
		c.run.tally.disturbed()
	}
	if m.on {
		m.fair = w.fair()
	}
}

// nurse has an unanswered deed sent again, and silent connections looked after. c.mu is held.
func (c *call) nurse(now time.Time) (next bool) {
	m := c.machine
	if m.ending != going {
		return false
	}
	c.feel(now)
	if a := c.attempt; a != nil && !a.done && now.Sub(a.sent) >= a.wait {
		c.try(a, now)
	}
	if m.on || now.Sub(m.due) > stillFor {
		for _, u := range c.devices {
			if u != nil {
				u.probe(now)
			}
		}
	}
	return m.goOn(now)
}

// look is when the call is to be watched next.
func (c *call) look(now time.Time) time.Time {
	at := c.machine.deadline()
	if c.run.weather == nil || at.Before(now.Add(lookEvery)) {
		return at
	}
	return now.Add(lookEvery)
}

// resume sends again what a user who has come back had no answer to.
func (c *call) resume(u *user, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.attempt
	if a != nil && !a.done && c.devices[a.by] == u && c.machine.ending == going {
		a.wait = 0
		c.try(a, now)
	}
}

// known is what a user's device knows of the call, nil if it is not live there.
func (c *call) known(u *user) *wire.KnownCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machine
	r, err := m.cast.role(u.name)
	if err != nil || m.id == 0 {
		return nil
	}
	version := m.devices[r.device(u.device)].version
	if g := m.story.at(version, len(m.story.stages)-1); g == nil || !g.live(r) {
		return nil
	}
	return &wire.KnownCall{CallId: m.id, Version: version}
}

// synced takes what a login says of the call. c.mu is held.
func (c *call) synced(u *user, s *wire.CallSnapshot, now time.Time) {
	m := c.machine
	c.feel(now)
	r, err := m.cast.role(u.name)
	if err == nil {
		var f fact
		if f, err = m.cast.sync(s); err == nil {
			d := r.device(u.device)
			m.back[d] = now
			next := m.hear(d, f, now)
			if m.ringing[d] && f.states[r] != rung && pending(f.states[r]) {
				c.receipt(u) // the server does not know that it rings
			}
			c.proceed(now, next)
			return
		}
	}
	m.fail(now, "%s's sync of this call: %v", u.name, err)
	c.proceed(now, false)
}

// unlisted takes a sync that does not hold the call.
func (c *call) unlisted(u *user, named uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.feel(now)
	r, err := c.machine.cast.role(u.name)
	if err != nil {
		return
	}
	c.machine.back[r.device(u.device)] = now
	if named > 0 {
		c.machine.unlisted(r.device(u.device), named, now)
	}
	c.proceed(now, c.machine.goOn(now))
}

func (c *call) receipt(u *user) {
	_ = u.send(&wire.ClientFrame{Body: &wire.ClientFrame_InvitationReceipt{InvitationReceipt: &wire.InvitationReceipt{CallId: c.machine.id}}})
}

// sync is the fact that a login's snapshot states.
func (c cast) sync(s *wire.CallSnapshot) (fact, error) {
	f := fact{kind: synced, by: nobody, reason: s.GetEndReason()}
	err := c.snapshot(&f, s)
	return f, err
}
