package main

import (
	"slices"

	"carillon/transport/wire"
)

// Short names of the states.
const (
	inviting    = wire.UserState_USER_STATE_INVITING
	rung        = wire.UserState_USER_STATE_RECEIVED
	accepted    = wire.UserState_USER_STATE_ACCEPTED
	rejected    = wire.UserState_USER_STATE_REJECTED
	cancelledBy = wire.UserState_USER_STATE_CANCELLED
	beCancelled = wire.UserState_USER_STATE_BE_CANCELLED
	timeout     = wire.UserState_USER_STATE_TIMEOUT
	quitted     = wire.UserState_USER_STATE_QUIT
)

// plot writes a story: it knows the rules of SPEC.md section 3 and SEQUENCES.md, and derives from each deed what every device
// hears.
type plot struct {
	story   *story
	states  states
	inviter [maxCast]role
	online  [maxDevices]bool
	main    [maxCast]device // of who is accepted
	over    bool
	aside   bool // it writes a detour
}

// newPlot begins a story. The visitors are offline until they log in; all others are there, each with one device.
func newPlot(name string, mode wire.CallMode, visitors ...role) *plot {
	p := &plot{story: &story{name: name, mode: mode}}
	for r := range maxCast {
		p.online[r] = true
	}
	for _, r := range visitors {
		p.story.visits[r], p.online[r] = true, false
	}
	return p
}

// stage opens a stage.
func (p *plot) stage(do deed, by device, who ...role) *stage {
	p.story.stages = append(p.story.stages, stage{do: do, by: by, who: who, version: p.story.version})
	p.story.cast = max(p.story.cast, int(by.role())+1)
	for _, r := range who {
		p.story.cast = max(p.story.cast, int(r)+1)
	}
	return &p.story.stages[len(p.story.stages)-1]
}

// change opens a stage whose deed is one durable change.
func (p *plot) change(do deed, by device, who ...role) *stage {
	p.seal()
	p.story.version++
	return p.stage(do, by, who...)
}

// seal notes how the call is after the present stage.
func (p *plot) seal() {
	n := len(p.story.stages)
	if n == 0 {
		return
	}
	g := &p.story.stages[n-1]
	g.after, g.over = p.states, p.over
	for _, d := range p.listeners() {
		g.listens[d] = true
	}
	if !p.aside && len(p.story.detours) < n {
		p.story.detours = append(p.story.detours, p.detour())
	}
}

// detour is the story so far when nobody who is pending does anything more in time. A call that is not over by that is ended by A.
func (p *plot) detour() *story {
	if p.over || !p.awaits() {
		return nil
	}
	one := *p.story
	one.stages = slices.Clone(p.story.stages)
	d := *p
	d.aside, d.story = true, &one
	d.expire()
	if d.over {
		return d.end(d.itself())
	}
	d.endForAll(devA)
	return d.end(wire.Reason_REASON_ENDED_BY_USER)
}

// itself is why a common-mode call has ended by itself, in which somebody's time has run out (SPEC 2).
func (p *plot) itself() wire.Reason {
	for r, state := range p.states {
		if state == accepted && role(r) != roleA {
			return wire.Reason_REASON_ALL_ANSWERED
		}
	}
	if slices.Contains(p.states[:], rejected) {
		return wire.Reason_REASON_REJECTED
	}
	return wire.Reason_REASON_NO_ANSWER
}

func (p *plot) pending(r role) bool { return p.states[r] == inviting || p.states[r] == rung }

// awaits reports whether somebody is pending.
func (p *plot) awaits() bool {
	for r := range role(maxCast) {
		if p.pending(r) {
			return true
		}
	}
	return false
}

// hears reports whether a device hears of the call: all of the pending, the main device of the accepted.
func (p *plot) hears(d device) bool {
	r := d.role()
	return p.online[d] && (p.pending(r) || p.states[r] == accepted && p.main[r] == d)
}

// listeners are who hears of changes of others.
func (p *plot) listeners() []device {
	var out []device
	for d := range device(maxDevices) {
		if p.hears(d) {
			out = append(out, d)
		}
	}
	return out
}

func (p *plot) fact(k kind, by role, s states) fact {
	return fact{kind: k, version: p.story.version, by: by, states: s, over: p.over}
}

func (p *plot) answer() fact { return p.fact(answer, nobody, p.states) }

// invite is callInvite by A, and callingInvite later. Each invited device acknowledges its ring.
func (p *plot) invite(by device, who ...role) {
	do, first, caller := invite, p.story.version == 0, by.role()
	if !first {
		do = add
	}
	g := p.change(do, by, who...)
	heard := p.listeners()
	var diff states
	for _, r := range who {
		diff[r], p.states[r], p.inviter[r] = inviting, inviting, caller
	}
	if first {
		diff[caller], p.states[caller], p.main[caller] = accepted, accepted, by
		heard = []device{by}
	}
	for _, d := range heard {
		g.hears[d] = append(g.hears[d], step{p.fact(changed, caller, diff)})
	}
	if first {
		g.hears[by] = append(g.hears[by], step{p.fact(created, caller, p.states)})
	}
	g.hears[by] = append(g.hears[by], step{p.answer()})
	var rings []device
	for _, d := range p.listeners() {
		if slices.Contains(who, d.role()) {
			rings = append(rings, d)
		}
	}
	p.ring(g, rings)
}

// ring has devices of invitees ring and acknowledge; of each invitee's acknowledgements the first is told.
func (p *plot) ring(g *stage, devices []device) {
	for _, d := range devices {
		g.hears[d] = append(g.hears[d], step{p.fact(received, p.inviter[d.role()], p.states)})
	}
	var receipts step
	for _, d := range devices {
		if r := d.role(); p.states[r] == inviting {
			var rings states
			rings[r], p.states[r] = rung, rung
			receipts = append(receipts, p.fact(changed, r, rings))
		}
	}
	if receipts == nil {
		return
	}
	for _, d := range p.listeners() {
		g.hears[d] = append(g.hears[d], receipts)
	}
}

// logIn brings a visitor's device in: it learns of the call if it is live for him, and rings if he is pending.
func (p *plot) logIn(d device) {
	p.seal()
	g := p.stage(login, d)
	p.online[d] = true
	r := d.role()
	sync := fact{kind: synced, by: nobody}
	if !p.over && (p.pending(r) || p.states[r] == accepted) {
		sync = p.fact(synced, nobody, p.states)
	}
	g.hears[d] = append(g.hears[d], step{sync})
	if p.pending(r) {
		p.ring(g, []device{d})
	}
}

// list has a visitor look for the call in his list.
func (p *plot) list(d device) {
	p.seal()
	p.stage(list, d).hears[d] = []step{{p.fact(listed, nobody, p.states)}}
}

// move is a deed that changes only who does it: accept, reject, join, quit.
func (p *plot) move(do deed, by device) {
	r := by.role()
	if do == join && p.states[r] == accepted {
		p.takeOver(by)
		return
	}
	g := p.change(do, by)
	heard := slices.DeleteFunc(p.listeners(), func(d device) bool { return d == by })
	var diff states
	diff[r] = map[deed]wire.UserState{accept: accepted, reject: rejected, join: accepted, quit: quitted}[do]
	p.states[r], p.main[r] = diff[r], by
	p.over = p.story.mode == wire.CallMode_CALL_MODE_COMMON && !p.awaits()
	news := p.fact(changed, r, diff)
	if do == reject {
		news.reason = wire.Reason_REASON_REJECTED
	}
	for _, d := range heard {
		told := news
		if d.role() == r {
			told.reason = wire.Reason_REASON_ANSWERED_ELSEWHERE
		}
		g.hears[d] = append(g.hears[d], step{told})
	}
	own := step{p.answer()}
	if do != join {
		own = append(own, news)
	}
	g.hears[by] = append(g.hears[by], own)
}

// takeOver is the join that makes another device of an accepted user the main one: nobody is told but the old one.
func (p *plot) takeOver(by device) {
	g, r := p.change(join, by), by.role()
	var diff states
	diff[r] = accepted
	moved := p.fact(changed, r, diff)
	moved.reason = wire.Reason_REASON_MOVED_TO_OTHER_DEVICE
	g.hears[p.main[r]] = []step{{moved}}
	g.hears[by] = []step{{p.answer()}}
	p.main[r] = by
}

// cancel is A's cancel of the whole call.
func (p *plot) cancel() {
	g := p.change(cancel, devA)
	heard := p.listeners()
	var diff states
	for r := range diff {
		if p.pending(role(r)) {
			diff[r] = beCancelled
		}
	}
	diff[roleA] = cancelledBy
	p.states, p.over = diff, true
	news := p.fact(changed, roleA, diff)
	news.reason = wire.Reason_REASON_CANCELLED
	g.hears[devA] = []step{{news}, {p.answer()}}
	for _, d := range heard[1:] {
		stop := fact{kind: cancelled, version: news.version, by: roleA, reason: news.reason}
		g.hears[d] = []step{{stop}}
	}
}

// expire is the time-out of all who are pending.
func (p *plot) expire() {
	g := p.change(expire, devNone)
	heard := p.listeners()
	var diff states
	for r := range diff {
		if p.pending(role(r)) {
			diff[r], p.states[r] = timeout, timeout
		}
	}
	p.over = p.story.mode == wire.CallMode_CALL_MODE_COMMON
	news := p.fact(changed, nobody, diff)
	news.reason = wire.Reason_REASON_NO_ANSWER
	for _, d := range heard {
		if diff[d.role()] == timeout {
			stop := fact{kind: timedOut, version: news.version, by: nobody, reason: news.reason}
			g.hears[d] = []step{{stop}}
		} else {
			g.hears[d] = []step{{news}}
		}
	}
}

// endForAll is callEnd.
func (p *plot) endForAll(by device) {
	g := p.change(end, by)
	p.over = true
	for _, d := range p.listeners() {
		stop := fact{kind: ended, version: p.story.version, by: by.role(), reason: wire.Reason_REASON_ENDED_BY_USER}
		g.hears[d] = append(g.hears[d], step{stop})
	}
	g.hears[by] = append(g.hears[by], step{p.answer()})
}

// end finishes the story: an answer from an ended call says why it has ended, and so does a list.
func (p *plot) end(why wire.Reason) *story {
	p.seal()
	p.story.last, p.story.reason = p.states, why
	for _, g := range p.story.stages {
		for _, steps := range g.hears {
			for _, facts := range steps {
				for i := range facts {
					if facts[i].kind.asked() && facts[i].over {
						facts[i].reason = why
					}
				}
			}
		}
	}
	return p.story
}
