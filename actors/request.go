package actors

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// Lengths of identifiers in bytes, and of invitations in seconds (SPEC 1, 4).
const (
	maxUserID   = 32
	maxDeviceID = 64
	maxTimeout  = 600
	maxNamed    = 256 // entries of one invitees list, before any other check
	defaultPage = 20
	maxPage     = 100
)

// alphabet is what identifiers are made of, beside letters and digits (SPEC 4).
const alphabet = "!#$%&()+-:;<=.>?@[]^_ {}|~"

func validID(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte(alphabet, c) < 0 {
			return false
		}
	}
	return true
}

func bad(format string, args ...any) *call.Refusal {
	return &call.Refusal{Code: call.BadParameter, Message: fmt.Sprintf(format, args...)}
}

// callRequest is what the requests on an existing call share.
type callRequest interface {
	GetCallId() uint64
	GetExtendedData() string
}

// commandOf is the command that a frame asks for, and the call it is for (0: callInvite makes one). The frame's texts are
// not copied.
func (l *Limits) commandOf(f *wire.ClientFrame, fallback time.Duration) (call.Command, call.ID, *call.Refusal) {
	var c call.Command
	if len(f.GetCommandId()) != len(c.Command) {
		return c, 0, bad("command_id: %d bytes, must be %d", len(f.GetCommandId()), len(c.Command))
	}
	copy(c.Command[:], f.GetCommandId())
	var m callRequest
	var r *call.Refusal
	switch b := f.GetBody().(type) {
	case *wire.ClientFrame_CallInvite:
		return l.invite(c, b.CallInvite, fallback)
	case *wire.ClientFrame_CallCancel:
		c.Op, m = call.OpCancel, b.CallCancel
		if r = name(&c, b.CallCancel.GetInvitees()); r == nil {
			r = l.push(b.CallCancel.GetPush())
		}
	case *wire.ClientFrame_CallAccept:
		c.Op, m = call.OpAccept, b.CallAccept
	case *wire.ClientFrame_CallReject:
		c.Op, m = call.OpReject, b.CallReject
	case *wire.ClientFrame_CallingInvite:
		c.Op, m = call.OpAdd, b.CallingInvite
		r = l.add(&c, b.CallingInvite)
	case *wire.ClientFrame_CallJoin:
		c.Op, m = call.OpJoin, b.CallJoin
	case *wire.ClientFrame_CallQuit:
		c.Op, m = call.OpQuit, b.CallQuit
		r = l.push(b.CallQuit.GetPush())
	case *wire.ClientFrame_CallEnd:
		c.Op, m = call.OpEnd, b.CallEnd
		r = l.push(b.CallEnd.GetPush())
	default:
		return c, 0, bad("body: empty or unknown operation")
	}
	if r != nil {
		return c, 0, r
	}
	if m.GetCallId() == 0 {
		return c, 0, bad("call_id: missing")
	}
	c.ExtendedData = m.GetExtendedData()
	return c, call.ID(m.GetCallId()), l.size("extended_data", c.ExtendedData, l.ExtendedData)
}

func (l *Limits) invite(c call.Command, m *wire.CallInvite, fallback time.Duration) (call.Command, call.ID, *call.Refusal) {
	c.Op, c.ExtendedData, c.Timeout = call.OpInvite, m.GetExtendedData(), fallback
	c.Invite = &call.Invite{
		Mode: call.Common, CheckReceived: m.GetEnableNotReceivedCheck(),
		AloneTimeout: time.Duration(m.GetAloneTimeoutS()) * time.Second,
	}
	switch m.GetMode() {
	case wire.CallMode_CALL_MODE_UNSPECIFIED, wire.CallMode_CALL_MODE_COMMON:
	case wire.CallMode_CALL_MODE_ADVANCED:
		c.Invite.Mode = call.Advanced
	default:
		return c, 0, bad("mode: %d is unknown", m.GetMode())
	}
	if m.GetTimeoutS() > 0 {
		c.Timeout = time.Duration(m.GetTimeoutS()) * time.Second
	}
	r := l.invitation(&c, m.GetInvitees(), m.GetTimeoutS(), m.GetPush())
	return c, 0, r
}

func (l *Limits) add(c *call.Command, m *wire.CallingInvite) *call.Refusal {
	c.Timeout = time.Duration(m.GetTimeoutS()) * time.Second
	return l.invitation(c, m.GetInvitees(), m.GetTimeoutS(), m.GetPush())
}

// invitation checks what callInvite and callingInvite share.
func (l *Limits) invitation(c *call.Command, invitees []string, timeout uint32, push *wire.PushConfig) *call.Refusal {
	if len(invitees) == 0 {
		return bad("invitees: empty")
	}
	if r := name(c, invitees); r != nil {
		return r
	}
	if timeout > maxTimeout {
		return bad("timeout_s: %d, must be 1..%d", timeout, maxTimeout)
	}
	if r := l.size("extended_data", c.ExtendedData, l.ExtendedData); r != nil {
		return r
	}
	return l.push(push)
}

func (l *Limits) push(p *wire.PushConfig) *call.Refusal {
	if r := l.size("push.title", p.GetTitle(), l.PushTitle); r != nil {
		return r
	}
	if r := l.size("push.content", p.GetContent(), l.PushContent); r != nil {
		return r
	}
	return l.size("push.payload", p.GetPayload(), l.PushPayload)
}

func (l *Limits) size(field, value string, limit int) *call.Refusal {
	if len(value) > limit {
		return bad("%s: %d bytes, limit %d", field, len(value), limit)
	}
	return nil
}

// name takes each named user once and turns malformed ones away.
func name(c *call.Command, names []string) *call.Refusal {
	if len(names) > maxNamed {
		return &call.Refusal{Code: call.TooMany, Message: fmt.Sprintf("invitees: %d entries, limit %d", len(names), maxNamed)}
	}
	for i, n := range names {
		switch {
		case slices.Contains(names[:i], n):
		case !validID(n, maxUserID):
			c.Errors = append(c.Errors, call.UserError{User: call.UserID(shorten(n)), Code: call.BadParameter})
		default:
			c.Users = append(c.Users, call.UserID(n))
		}
	}
	return nil
}

// shorten bounds what a malformed name costs to remember.
func shorten(n string) string {
	return strings.ToValidUTF8(n[:min(len(n), maxDeviceID)], "")
}

// operation is a frame's name in SPEC section 1, for metrics.
func operation(f *wire.ClientFrame) string {
	switch f.GetBody().(type) {
	case *wire.ClientFrame_Logout:
		return "logout"
	case *wire.ClientFrame_CallInvite:
		return call.OpInvite.String()
	case *wire.ClientFrame_CallCancel:
		return call.OpCancel.String()
	case *wire.ClientFrame_CallAccept:
		return call.OpAccept.String()
	case *wire.ClientFrame_CallReject:
		return call.OpReject.String()
	case *wire.ClientFrame_CallingInvite:
		return call.OpAdd.String()
	case *wire.ClientFrame_CallJoin:
		return call.OpJoin.String()
	case *wire.ClientFrame_CallQuit:
		return call.OpQuit.String()
	case *wire.ClientFrame_CallEnd:
		return call.OpEnd.String()
	case *wire.ClientFrame_QueryCallInvitationList:
		return "queryCallInvitationList"
	}
	return "unknown"
}
