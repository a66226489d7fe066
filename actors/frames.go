package actors

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// What a node says of a call, as client.proto has it: each function writes the fields of the message that it is named after.

// Field numbers that more than one function needs.
const (
	frameResponse protowire.Number = 1 // of ServerFrame
	frameEvent    protowire.Number = 2
	responseID    protowire.Number = 1 // of Response
	responseLogin protowire.Number = 10
	responseList  protowire.Number = 12
	loginSync     protowire.Number = 5 // of LoginResult
)

// snapshot is the call as one user sees it on one of his devices.
func (p *pen) snapshot(s *call.State, viewer call.UserID, device call.DeviceID, now time.Time) {
	var inviter call.UserID
	timeout, data := s.Timeout, s.ExtendedData
	view, remaining, main := wire.CallState_CALL_STATE_ENDED, time.Duration(0), false
	if u := s.Find(viewer); u != nil {
		inviter = u.Inviter
		main = u.State == call.Accepted && u.Main == device
		if u.State.Live() {
			view = callState(s)
		}
		if s.Open() {
			remaining = u.Remaining(now)
		}
		if u.InvitedFor > 0 {
			timeout = u.InvitedFor
		}
		if u.InviteData != "" {
			data = u.InviteData
		}
	}
	p.number(1, uint64(s.ID))
	p.number(2, s.Version)
	p.number(3, uint64(callState(s)))
	p.number(4, uint64(view))
	p.number(5, uint64(s.Mode))
	p.text(6, string(s.Caller))
	p.text(7, string(inviter))
	p.number(8, uint64(s.Created))
	p.number(9, uint64(s.Ended))
	p.number(10, uint64(timeout/time.Second))
	p.number(11, uint64(remaining.Milliseconds()))
	p.text(12, data)
	for i := range s.Users {
		start := p.open(13)
		p.user(&s.Users[i])
		p.close(start)
	}
	p.number(14, uint64(s.EndReason))
	p.truth(15, main)
}

func callState(s *call.State) wire.CallState {
	if s.Open() {
		return wire.CallState_CALL_STATE_STARTED
	}
	return wire.CallState_CALL_STATE_ENDED
}

func (p *pen) user(u *call.Participant) {
	p.text(1, string(u.User))
	p.number(2, uint64(u.State))
	p.text(3, u.ExtendedData)
	p.number(4, uint64(u.Change.Reason))
	p.number(5, uint64(u.AcceptedAt))
	p.number(6, uint64(u.QuitAt))
}

// snapshotOf is the encoded message alone.
func snapshotOf(s *call.State, viewer call.UserID, device call.DeviceID, now time.Time) []byte {
	p := newPen()
	p.snapshot(s, viewer, device, now)
	return p.done()
}

// eventFrame is the frame of one event, as all devices of its audience get it.
func eventFrame(s *call.State, e *call.Event, now time.Time) []byte {
	if e.Then != nil {
		s = e.Then
	}
	p := newFrame(frameEvent)
	p.number(1, uint64(s.ID))
	p.number(2, e.Version)
	p.number(3, uint64(e.Reason))
	p.text(4, string(e.By))
	p.text(5, string(e.ByDev))
	p.number(6, uint64(e.At))
	p.kind(s, e, now)
	return p.frame()
}

// kind is the event's own part.
func (p *pen) kind(s *call.State, e *call.Event, now time.Time) {
	switch e.Kind {
	case call.EventCreated:
		device := call.DeviceID("")
		if e.Devices == call.OnlyDevice {
			device = e.Device
		}
		start := p.open(10)
		p.snapshot(s, e.To, device, now)
		p.close(start)
	case call.EventReceived:
		start := p.open(11)
		p.snapshot(s, e.To, "", now)
		p.close(start)
	case call.EventCancelled:
		start := p.open(12)
		p.text(1, string(e.Inviter))
		p.number(2, uint64(s.Mode))
		p.text(3, e.ExtendedData)
		p.close(start)
	case call.EventTimeout:
		start := p.open(13)
		p.number(1, uint64(s.Mode))
		p.close(start)
	case call.EventEnded:
		start := p.open(14)
		p.text(1, string(s.Caller))
		p.text(2, string(s.EndedBy))
		p.text(3, e.ExtendedData)
		p.number(4, uint64(s.Mode))
		p.number(5, uint64(s.Ended))
		p.close(start)
	case call.EventUserState:
		start := p.open(15)
		for _, u := range e.Changed {
			one := p.open(1)
			p.user(s.Find(u))
			p.close(one)
		}
		p.number(2, uint64(callState(s)))
		p.close(start)
	}
}

// answerFrame answers a command: with its outcome, remembered or not, and the call as the acting user may see it.
func answerFrame(s *call.State, c *command, err *call.Refusal, now time.Time) []byte {
	o, remembered := s.Outcome(c.User, c.Command.Command)
	errors := o.Errors
	p := newFrame(frameResponse)
	p.number(responseID, c.Request)
	if err != nil {
		p.number(2, uint64(err.Code))
		p.text(3, err.Message)
		errors = err.Errors
	}
	if s.Find(c.User) != nil {
		snap := p.open(4)
		p.snapshot(s, c.User, c.Device, now)
		p.close(snap)
	}
	p.userErrors(errors)
	if err == nil && remembered {
		p.times(s, &o)
	}
	return p.frame()
}

// refusal is the answer to a request that never reached a call. Who comes after the told milliseconds must not be early.
func refusal(request uint64, r *call.Refusal, retryAfter time.Duration) []byte {
	p := newFrame(frameResponse)
	p.number(responseID, request)
	p.number(2, uint64(r.Code))
	p.text(3, r.Message)
	p.userErrors(r.Errors)
	p.number(6, uint64((retryAfter + time.Millisecond - 1).Milliseconds()))
	return p.frame()
}

func (p *pen) userErrors(errors []call.UserError) {
	for _, u := range errors {
		one := p.open(5)
		p.text(1, string(u.User))
		p.number(2, uint64(u.Code))
		p.close(one)
	}
}

// times are the instants that some answers carry.
func (p *pen) times(s *call.State, o *call.Outcome) {
	switch o.Op {
	case call.OpInvite, call.OpJoin, call.OpQuit, call.OpEnd:
	default:
		return
	}
	start := p.open(11)
	p.number(1, uint64(o.Times.Created))
	p.number(2, uint64(o.Times.Accepted))
	p.number(3, uint64(o.Times.Joined))
	p.number(4, uint64(o.Times.Quit))
	p.number(5, uint64(o.Times.Ended))
	if o.Op == call.OpInvite {
		p.number(6, uint64(s.Timeout/time.Second))
	}
	p.close(start)
}

// loginFrame answers a login: r is LoginResult without its sync, which are encoded snapshots.
func loginFrame(request uint64, r *wire.LoginResult, sync [][]byte) []byte {
	p := newFrame(frameResponse)
	p.number(responseID, request)
	result := p.open(responseLogin)
	p.b = append(p.b, marshal(r)...)
	for _, snap := range sync {
		p.raw(loginSync, snap)
	}
	p.close(result)
	return p.frame()
}

// listFrame answers queryCallInvitationList with encoded snapshots.
func listFrame(request uint64, page [][]byte, next call.ID) []byte {
	p := newFrame(frameResponse)
	p.number(responseID, request)
	list := p.open(responseList)
	for _, snap := range page {
		p.raw(1, snap)
	}
	p.number(2, uint64(next))
	p.close(list)
	return p.frame()
}
