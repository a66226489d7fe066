//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"carillon/transport/client"
)

// The model is one call as SPEC 1, 2 and 4 have it, seen through answers: what each operation may be answered, what it
// changes, and what a snapshot must hold.

// step is one operation of a history. What an answer shows of the call is a step of its own, a look: an answer that was
// given again shows the call as it is then.
type step struct {
	op       string // invite accept reject cancel quit end add due offline look
	user     string
	invitees []string
	mode     client.Mode
	due      string // invite, add: which deadline the invitees get; due: whose time is over
	known    bool   // it was answered
	code     client.Code
	seen     client.CallInfo // look
}

// seat is a user in a modelled call.
type seat struct {
	user  string
	state client.UserState // Inviting for all that is pending
	due   string
}

func (s seat) live() bool { return s.state == client.Inviting || s.state == client.Accepted }

// modelled is the state of a call.
type modelled struct {
	version      uint64
	mode         client.Mode
	ended        bool
	everAccepted bool
	seats        []seat // the caller first
}

func (m modelled) equal(o modelled) bool {
	return m.version == o.version && m.ended == o.ended && m.everAccepted == o.everAccepted && slices.Equal(m.seats, o.seats)
}

func (m modelled) find(user string) int {
	return slices.IndexFunc(m.seats, func(s seat) bool { return s.user == user })
}

func (m modelled) count(states ...client.UserState) int {
	n := 0
	for _, s := range m.seats {
		if slices.Contains(states, s.state) {
			n++
		}
	}
	return n
}

// callModel is Porcupine's form of it.
var callModel = porcupine.Model{
	Init: func() any { return modelled{} },
	Step: func(state, input, _ any) (bool, any) {
		ok, next := state.(modelled).step(input.(step))
		return ok, next
	},
	Equal:             func(a, b any) bool { return a.(modelled).equal(b.(modelled)) },
	DescribeOperation: func(input, _ any) string { return input.(step).String() },
	DescribeState:     func(state any) string { return state.(modelled).String() },
}

// step reports whether the operation can have been answered so in this state, and gives the next one. An operation without
// an answer was applied if it could be.
func (m modelled) step(s step) (bool, modelled) {
	switch s.op {
	case "look":
		return m.looks(s.seen), m
	case "due":
		return true, m.timeout(s.due)
	case "offline":
		return true, m.abandoned()
	}
	if s.known && s.code == client.TooFrequent {
		return true, m
	}
	code, next := m.apply(s)
	if s.known && code != s.code {
		return false, m
	}
	return true, next
}

// apply gives the code that the operation must be answered with, and the state after it.
func (m modelled) apply(s step) (client.Code, modelled) {
	if s.op == "invite" {
		return m.create(s)
	}
	i := m.find(s.user)
	switch {
	case m.version == 0 || m.ended:
		return client.NoSuchCall, m
	case m.mode == client.Common && (s.op == "quit" || s.op == "end" || s.op == "add"):
		return client.AdvancedOnly, m
	case s.op == "cancel":
		return m.cancel(i)
	case i < 0:
		return client.NotInvited, m
	}
	state := m.seats[i].state
	switch s.op {
	case "accept", "reject":
		if state != client.Inviting {
			return client.NotInvited, m
		}
		if s.op == "accept" {
			next := m.with(i, client.Accepted)
			next.everAccepted = true
			return client.OK, next
		}
		return client.OK, m.with(i, client.Rejected)
	}
	if state != client.Accepted {
		return client.WrongState, m
	}
	switch s.op {
	case "quit":
		return client.OK, m.with(i, client.Quit)
	case "end":
		next := m.changed()
		next.ended = true
		return client.OK, next
	}
	return m.add(s)
}

func (m modelled) create(s step) (client.Code, modelled) {
	if m.version > 0 {
		return client.CallExists, m
	}
	next := modelled{version: 1, mode: s.mode, seats: []seat{{user: s.user, state: client.Accepted}}}
	for _, u := range s.invitees {
		next.seats = append(next.seats, seat{u, client.Inviting, s.due})
	}
	return client.OK, next
}

// cancel is callCancel of the whole call, by somebody who may only be its caller.
func (m modelled) cancel(i int) (client.Code, modelled) {
	switch {
	case i != 0:
		return client.NotInviter, m
	case m.everAccepted:
		return client.CannotCancel, m
	}
	return client.OK, m.abandoned()
}

// abandoned is a call that nobody has accepted and whose caller is gone.
func (m modelled) abandoned() modelled {
	if m.everAccepted || m.ended || m.version == 0 {
		return m
	}
	next := m.changed()
	next.ended = true
	next.seats[0].state = client.Cancelled
	for i := range next.seats {
		if next.seats[i].state == client.Inviting {
			next.seats[i].state = client.BeCancelled
		}
	}
	return next
}

// add is callingInvite of users who were never in the call.
func (m modelled) add(s step) (client.Code, modelled) {
	const most = 10 // users in a call
	next := m.changed()
	for _, u := range s.invitees {
		switch i := next.find(u); {
		case i < 0:
			next.seats = append(next.seats, seat{u, client.Inviting, s.due})
		case !next.seats[i].live():
			next.seats[i] = seat{u, client.Inviting, s.due}
		default: // an entry in errorUsers, and nobody else was asked for
			return client.BadParameter, m
		}
	}
	if next.count(client.Inviting, client.Accepted) > most {
		return client.TooMany, m
	}
	return client.OK, next
}

// timeout is the deadline of those that share it.
func (m modelled) timeout(due string) modelled {
	if m.ended || !slices.ContainsFunc(m.seats, func(s seat) bool { return s.state == client.Inviting && s.due == due }) {
		return m
	}
	next := m.changed()
	for i := range next.seats {
		if next.seats[i].state == client.Inviting && next.seats[i].due == due {
			next.seats[i].state = client.Timeout
		}
	}
	return next.settled()
}

func (m modelled) changed() modelled {
	m.version++
	m.seats = slices.Clone(m.seats)
	return m
}

func (m modelled) with(i int, state client.UserState) modelled {
	next := m.changed()
	next.seats[i].state = state
	return next.settled()
}

// settled ends a call that goes on for nobody.
func (m modelled) settled() modelled {
	m.ended = m.count(client.Inviting) == 0 && (m.mode == client.Common || m.count(client.Accepted) == 0)
	return m
}

// looks reports whether a snapshot shows this state.
func (m modelled) looks(call client.CallInfo) bool {
	if m.version != call.Version || m.ended != (call.State == client.Ended) || len(m.seats) != len(call.Users) || m.mode != call.Mode {
		return false
	}
	for _, u := range call.Users {
		if i := m.find(u.UserID); i < 0 || m.seats[i].state != hardened(u.State) {
			return false
		}
	}
	return true
}

// hardened is the state without what is soft: whether the invitation was acknowledged.
func hardened(s client.UserState) client.UserState {
	if s.Pending() {
		return client.Inviting
	}
	return s
}

func (m modelled) String() string {
	if m.version == 0 {
		return "none"
	}
	out := fmt.Sprintf("v%d", m.version)
	for _, s := range m.seats {
		out += fmt.Sprintf(" %s:%v", s.user, s.state)
	}
	if m.ended {
		out += " ended"
	}
	return out
}

func (s step) String() string {
	switch {
	case s.op == "look":
		var users []string
		for _, u := range s.seen.Users {
			users = append(users, fmt.Sprintf("%s:%v", u.UserID, u.State))
		}
		return fmt.Sprintf("%s sees v%d %s %v", s.user, s.seen.Version, strings.Join(users, " "), s.seen.State)
	case s.op == "due":
		return "due " + s.due
	case !s.known:
		return fmt.Sprintf("%s: %s %v -> ?", s.user, s.op, s.invitees)
	}
	return fmt.Sprintf("%s: %s %v -> %d", s.user, s.op, s.invitees, uint32(s.code))
}

// forever is the end of what has no known end.
const forever = time.Duration(1<<63 - 1)
