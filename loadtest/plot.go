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

// plot writes a story: it knows the rules of SPEC.md section 3 and SEQUENCES.md for users with one device each, and
// derives from each deed what everybody hears.
type plot struct {
	story  *story
	states states
	over   bool
}

func newPlot(name string, mode wire.CallMode) *plot {
	return &plot{story: &story{name: name, mode: mode}}
}

// begin opens a stage, which is one durable change.
func (p *plot) begin(do deed, by role, who ...role) *stage {
	p.story.version++
	p.story.stages = append(p.story.stages, stage{do: do, by: by, who: who})
	p.story.cast = max(p.story.cast, int(by)+1)
	for _, r := range who {
		p.story.cast = max(p.story.cast, int(r)+1)
	}
	return &p.story.stages[len(p.story.stages)-1]
}

func (p *plot) pending(r role) bool { return p.states[r] == inviting || p.states[r] == rung }

// listeners are who hears of changes of others: the pending and the accepted.
func (p *plot) listeners() []role {
	var out []role
	for r := range maxCast {
		if p.pending(role(r)) || p.states[r] == accepted {
			out = append(out, role(r))
		}
	}
	return out
}

func (p *plot) fact(k kind, by role, s states) fact {
	return fact{kind: k, version: p.story.version, by: by, states: s, over: p.over}
}

func (p *plot) answer() fact { return p.fact(answer, nobody, p.states) }

// invite is callInvite by A, and callingInvite later. Each invited device acknowledges its ring.
func (p *plot) invite(by role, who ...role) {
	do, first := invite, p.story.version == 0
	if !first {
		do = add
	}
	g := p.begin(do, by, who...)
	heard := p.listeners()
	var diff states
	for _, r := range who {
		diff[r] = inviting
		p.states[r] = inviting
	}
	if first {
		diff[by], p.states[by] = accepted, accepted
		heard = []role{by}
	}
	for _, r := range heard {
		g.hears[r] = append(g.hears[r], step{p.fact(changed, by, diff)})
	}
	if first {
		g.hears[by] = append(g.hears[by], step{p.fact(created, by, p.states)})
	}
	g.hears[by] = append(g.hears[by], step{p.answer()})
	for _, r := range who {
		g.hears[r] = append(g.hears[r], step{p.fact(received, by, p.states)})
	}
	var receipts step
	for _, r := range who {
		var rings states
		rings[r], p.states[r] = rung, rung
		receipts = append(receipts, p.fact(changed, r, rings))
	}
	for _, r := range p.listeners() {
		g.hears[r] = append(g.hears[r], receipts)
	}
}

// move is a deed that changes only who does it: accept, reject, join, quit.
func (p *plot) move(do deed, by role) {
	g := p.begin(do, by)
	heard := slices.DeleteFunc(p.listeners(), func(r role) bool { return r == by })
	var diff states
	diff[by] = map[deed]wire.UserState{accept: accepted, reject: rejected, join: accepted, quit: quitted}[do]
	p.states[by] = diff[by]
	p.over = p.story.mode == wire.CallMode_CALL_MODE_COMMON && !slices.ContainsFunc(p.listeners(), p.pending)
	news := p.fact(changed, by, diff)
	if do == reject {
		news.reason = wire.Reason_REASON_REJECTED
	}
	for _, r := range heard {
		g.hears[r] = append(g.hears[r], step{news})
	}
	own := step{p.answer()}
	if do != join {
		own = append(own, news)
	}
	g.hears[by] = append(g.hears[by], own)
}

// cancel is A's cancel of the whole call.
func (p *plot) cancel() {
	g := p.begin(cancel, roleA)
	heard := p.listeners()
	var diff states
	for _, r := range heard {
		diff[r] = beCancelled
	}
	diff[roleA] = cancelledBy
	p.states, p.over = diff, true
	news := p.fact(changed, roleA, diff)
	news.reason = wire.Reason_REASON_CANCELLED
	g.hears[roleA] = []step{{news}, {p.answer()}}
	for _, r := range heard[1:] {
		stop := fact{kind: cancelled, version: news.version, by: roleA, reason: news.reason}
		g.hears[r] = []step{{stop}}
	}
}

// expire is the time-out of all who are pending.
func (p *plot) expire() {
	g := p.begin(expire, nobody)
	var diff states
	heard := p.listeners()
	for _, r := range heard {
		if p.pending(r) {
			diff[r], p.states[r] = timeout, timeout
		}
	}
	p.over = p.story.mode == wire.CallMode_CALL_MODE_COMMON
	news := p.fact(changed, nobody, diff)
	news.reason = wire.Reason_REASON_NO_ANSWER
	for _, r := range heard {
		if diff[r] == timeout {
			stop := fact{kind: timedOut, version: news.version, by: nobody, reason: news.reason}
			g.hears[r] = []step{{stop}}
		} else {
			g.hears[r] = []step{{news}}
		}
	}
}

// endForAll is callEnd.
func (p *plot) endForAll(by role) {
	g := p.begin(end, by)
	p.over = true
	for _, r := range p.listeners() {
		stop := fact{kind: ended, version: p.story.version, by: by, reason: wire.Reason_REASON_ENDED_BY_USER}
		g.hears[r] = append(g.hears[r], step{stop})
	}
	g.hears[by] = append(g.hears[by], step{p.answer()})
}

// end finishes the story: an answer from an ended call says why it has ended.
func (p *plot) end(why wire.Reason) *story {
	p.story.last, p.story.reason = p.states, why
	for _, g := range p.story.stages {
		for _, steps := range g.hears {
			for _, facts := range steps {
				for i := range facts {
					if facts[i].kind == answer && facts[i].over {
						facts[i].reason = why
					}
				}
			}
		}
	}
	return p.story
}
