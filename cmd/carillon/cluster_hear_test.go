//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carillon/transport/client"
)

func (p *person) fault(format string, args ...any) {
	p.faults = append(p.faults, p.name+": "+fmt.Sprintf(format, args...))
}

// hear is the client's OnEvent.
func (p *person) hear(event client.Event) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case client.ConnectionStateChanged:
		p.connection(e, now)
	case client.CallInvitationCreated:
		p.learn(e.EventInfo, e.Call.Users)
	case client.CallInvitationReceived:
		p.learn(e.EventInfo, e.Call.Users)
		p.rang(e, now)
	case client.CallInvitationCancelled:
		p.over(e.CallID, "cancelled", now)
	case client.CallInvitationTimeout:
		how := "timeout"
		if e.Reason == client.ReasonConnectionLost {
			how = ownClock
		} else {
			p.learn(e.EventInfo, []client.CallUser{{UserID: p.name, State: client.Timeout}})
		}
		p.over(e.CallID, how, now)
	case client.CallInvitationEnded:
		p.over(e.CallID, "ended", now)
		if e.Local && e.Reason == client.ReasonConnectionLost {
			p.fault("call %v was forgotten: not in the sync of a login that named it", e.CallID)
		}
	case client.CallUserStateChanged:
		p.learn(e.EventInfo, e.Users)
		for _, u := range e.Users {
			if u.UserID == p.name && !u.State.Pending() {
				p.over(e.CallID, u.State.String(), now)
			}
		}
		if e.CallState == client.Ended {
			p.over(e.CallID, "ended", now)
		}
	}
}

func (p *person) connection(e client.ConnectionStateChanged, now time.Time) {
	switch e.State {
	case client.Connected:
		p.connects = append(p.connects, now)
	case client.Reconnecting:
		p.losses = append(p.losses, fmt.Sprintf("%s %v", now.Format(clock), e.Reason))
	case client.Disconnected:
		if !errors.Is(e.Reason, client.ErrClosed) {
			p.fault("disconnected: %v", e.Reason)
		}
	}
}

// ownClock is how a device ends a ring when the server says nothing until its time is over.
const ownClock = "timeout by its own clock"

// rang: nobody here is invited to a call twice, so a second ring is one too many.
func (p *person) rang(e client.CallInvitationReceived, now time.Time) {
	r := p.rings[e.CallID]
	if r == nil {
		r = &ring{at: now, until: e.Call.RingUntil, times: 1}
		if r.until.IsZero() { // its time was over when it was told
			r.until = now
		}
		p.rings[e.CallID] = r
		return
	}
	r.times++
	p.fault("call %v has rung %d times (version %d, local %v)", e.CallID, r.times, e.Version, e.Local)
}

func (p *person) over(id client.CallID, how string, now time.Time) {
	if r := p.rings[id]; r != nil && r.over.IsZero() {
		r.over, r.how = now, how
	}
}

// learn notes what an event says, be it the server's or what the client found in a sync.
func (p *person) learn(e client.EventInfo, users []client.CallUser) {
	for _, u := range users {
		p.facts = append(p.facts, fact{time.Now(), e.CallID, e.Version, u.UserID, u.State})
	}
}

// concludeOwn: the answer to one's own operation, a refusal too, may tell the device that it rings no more.
func (p *person) concludeOwn(call client.CallInfo) {
	me, ok := call.User(p.name)
	if !ok || me.State.Pending() && call.State != client.Ended {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over(call.CallID, "own answer", time.Now())
}

// ringing is the calls whose outcome the device has not learned.
func (p *person) ringing() []client.CallID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []client.CallID
	for id, r := range p.rings {
		if r.over.IsZero() {
			out = append(out, id)
		}
	}
	return out
}

// settle stops the play and waits until nothing rings any more, everybody has ended what he is in, and read his list.
func (k *crowd) settle() {
	k.t.Helper()
	k.stop()
	deadline := time.Now().Add(settlePatience)
	k.each(func(p *person) { p.settle(k, deadline, true) })
	k.each(func(p *person) { p.settle(k, deadline, false) }) // the ends of others have come
}

func (p *person) settle(k *crowd, deadline time.Time, ending bool) {
	for {
		if ending {
			p.endAll()
		}
		ringing := p.ringing()
		list, err := p.readList()
		open := 0
		for _, call := range list {
			if call.State != client.Ended {
				open++
			}
		}
		if err == nil && len(ringing) == 0 && (open == 0 || ending && !p.pendingIn(list)) {
			return
		}
		if time.Now().After(deadline) {
			k.t.Errorf("%s: %d of his calls never end, these ring for ever on his device: %v; %v", p.name, open, ringing, err)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// endAll ends the advanced calls that he is in and that nobody is rung for any more.
func (p *person) endAll() {
	for _, call := range p.client.Calls() {
		rings := false
		for _, u := range call.Users {
			rings = rings || u.State.Pending()
		}
		if me, _ := call.User(p.name); call.Mode == client.Advanced && me.State == client.Accepted && !rings {
			p.end(call.CallID)
		}
	}
}

// pendingIn reports whether somebody is still rung for in one of the calls that go on, or this person is in one.
func (p *person) pendingIn(list []client.CallInfo) bool {
	for _, call := range list {
		for _, u := range call.Users {
			if call.State != client.Ended && (u.State.Pending() || u.UserID == p.name && u.State == client.Accepted) {
				return true
			}
		}
	}
	return false
}

// readList reads all his calls.
func (p *person) readList() ([]client.CallInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	var out []client.CallInfo
	for next, more := uint64(0), true; more; more = next != 0 {
		page, err := p.client.QueryCallInvitationList(ctx, 100, next)
		if err != nil {
			return nil, err
		}
		out, next = append(out, page.Calls...), page.NextFlag
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists, p.listed = out, [2]time.Time{began, time.Now()}
	return out, nil
}
