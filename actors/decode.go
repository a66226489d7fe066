package actors

import (
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// target is whom a message between nodes is for.
type target uint8

const (
	toCall target = iota + 1
	toSession
	toGateway
)

// arrival is a message of another node, and its receiver.
type arrival struct {
	to   target
	call call.ID
	user call.UserID
	conn uint64
	msg  any
}

// decode reads a message of another node; ok is false for a kind that this version does not know and for a body that is
// none of its kind. Nothing of the body is kept.
func decode(kind uint8, body []byte, now time.Time) (a arrival, ok bool) {
	switch kind {
	case kindCommand, kindTold, kindPresence, kindAsk:
		return decodeForCall(kind, body, now)
	case kindAttach, kindList, kindSeen, kindBroken, kindLogout:
		return decodeOfGateway(kind, body, now)
	case kindTell, kindWatch, kindHeard, kindSynced, kindHandover:
		return decodeForSession(kind, body)
	case kindOutput, kindRecall, kindAudit:
		return decodeForGateway(kind, body)
	}
	return arrival{}, false
}

func decodeForCall(kind uint8, body []byte, now time.Time) (arrival, bool) {
	switch kind {
	case kindCommand:
		var m wire.NodeCommand
		ok := proto.Unmarshal(body, &m) == nil && len(m.GetCommandId()) == len(call.CommandID{})
		c := commandIn(&m, now) // a receipt has no command ID, only room for one
		return forCall(m.GetCallId(), m.GetUser(), c, ok && (c.Op == call.OpInvite) == (c.Invite != nil))
	case kindTold:
		var m wire.NodeTold
		ok := proto.Unmarshal(body, &m) == nil
		return forCall(m.GetCallId(), m.GetUser(), told{
			Epoch: m.GetEpoch(), User: call.UserID(m.GetUser()), From: m.GetFrom(), Seq: m.GetSeq(),
		}, ok)
	case kindPresence:
		var m wire.NodePresence
		ok := proto.Unmarshal(body, &m) == nil
		return forCall(m.GetCallId(), m.GetUser(), presence{User: call.UserID(m.GetUser()), Online: m.GetOnline()}, ok)
	default:
		var m wire.NodeAsk
		ok := proto.Unmarshal(body, &m) == nil
		return forCall(m.GetCallId(), m.GetUser(), ask{
			User: call.UserID(m.GetUser()), Device: call.DeviceID(m.GetDevice()), Conn: connIn(m.GetConn()), Known: m.GetKnown(), Since: m.GetSince(),
		}, ok)
	}
}

func forCall(id uint64, user string, msg any, ok bool) (arrival, bool) {
	return arrival{to: toCall, call: call.ID(id), msg: msg}, ok && user != ""
}

func commandIn(m *wire.NodeCommand, now time.Time) *command {
	c := &command{
		Command: call.Command{
			Op: call.Op(m.GetOp()), User: call.UserID(m.GetUser()), Device: call.DeviceID(m.GetDevice()),
			ExtendedData: m.GetExtendedData(), Timeout: ms(m.GetTimeoutMs()),
		},
		Conn: connIn(m.GetConn()), Request: m.GetRequestId(), Attempt: int(m.GetAttempt()), At: since(m.GetAtUs(), now),
	}
	copy(c.Command.Command[:], m.GetCommandId())
	for _, u := range m.GetUsers() {
		c.Users = append(c.Users, call.UserID(u))
	}
	for _, e := range m.GetErrors() {
		c.Errors = append(c.Errors, call.UserError{User: call.UserID(e.GetUserId()), Code: call.Code(e.GetCode())})
	}
	if in := m.GetInvite(); in != nil {
		c.Invite = &call.Invite{
			Mode: call.Mode(in.GetMode()), AloneTimeout: ms(in.GetAloneTimeoutMs()), CheckReceived: in.GetCheckReceived(),
			Rules: call.Rules{
				NotReceivedAfter: ms(in.GetNotReceivedAfterMs()), MaxDuration: ms(in.GetMaxDurationMs()), MemberLease: ms(in.GetMemberLeaseMs()),
				InvitedOnly: in.GetInvitedOnly(), MaxInvitees: int(in.GetMaxInvitees()), MaxUsers: int(in.GetMaxUsers()),
			},
		}
	}
	return c
}

// decodeOfGateway reads what gateways say to sessions.
func decodeOfGateway(kind uint8, body []byte, now time.Time) (arrival, bool) {
	switch kind {
	case kindAttach:
		var m wire.NodeAttach
		ok := proto.Unmarshal(body, &m) == nil
		a := &attach{Device: call.DeviceID(m.GetDevice()), Conn: connIn(m.GetConn()), Request: m.GetRequestId(), At: since(m.GetAtUs(), now)}
		for _, k := range m.GetKnown() {
			a.Known = append(a.Known, known{Call: call.ID(k.GetCallId()), Version: k.GetVersion()})
		}
		return forSession(m.GetUser(), a, ok && len(a.Known) <= maxKnownCalls)
	case kindList:
		var m wire.NodeList
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), &list{
			Conn: connIn(m.GetConn()), Device: call.DeviceID(m.GetDevice()), Request: m.GetRequestId(), At: since(m.GetAtUs(), now),
			After: call.ID(m.GetAfter()), Count: int(min(m.GetCount(), maxPage)),
		}, ok)
	case kindSeen:
		var m wire.NodeSeen
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), seenIn(&m, now), ok)
	case kindBroken:
		var m wire.NodeBroken
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), session.Broken{Conn: connIn(m.GetConn())}, ok)
	default:
		var m wire.NodeLogout
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), session.Logout{Conn: connIn(m.GetConn()), Request: m.GetRequestId()}, ok)
	}
}

func seenIn(m *wire.NodeSeen, now time.Time) session.Seen {
	s := session.Seen{Conn: connIn(m.GetConn()), Heard: m.GetHeard(), Silent: m.GetSilent()}
	if m.GetAtUs() != 0 {
		s.At = since(m.GetAtUs(), now)
	}
	return s
}

// decodeForSession reads what calls and other owners say to sessions.
func decodeForSession(kind uint8, body []byte) (arrival, bool) {
	switch kind {
	case kindTell:
		var m wire.NodeTell
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), tellIn(&m), ok)
	case kindWatch:
		var m wire.NodeWatch
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), session.Watch{Call: call.ID(m.GetCallId()), Offline: m.GetOffline()}, ok)
	case kindHeard:
		var m wire.NodeHeard
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), session.Heard{Call: call.ID(m.GetCallId()), Offline: m.GetOffline(), Done: m.GetDone()}, ok)
	case kindSynced:
		var m wire.NodeSynced
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), session.Synced{
			Call: call.ID(m.GetCallId()), Conn: connIn(m.GetConn()), Seq: m.GetSeq(), Snapshot: m.GetSnapshot(), Ring: m.GetRing(),
		}, ok)
	default:
		var m wire.NodeHandover
		ok := proto.Unmarshal(body, &m) == nil
		return forSession(m.GetUser(), handoverIn(&m), ok)
	}
}

func forSession(user string, msg any, ok bool) (arrival, bool) {
	return arrival{to: toSession, user: call.UserID(user), msg: msg}, ok && user != ""
}

func tellIn(m *wire.NodeTell) session.Tell {
	out := session.Tell{
		Call: call.ID(m.GetCallId()), Epoch: m.GetEpoch(), From: m.GetFrom(), Seq: m.GetSeq(), Version: m.GetVersion(),
		AnswerTo: connIn(m.GetAnswerTo()), Answer: m.GetAnswer(), Code: call.Code(m.GetCode()),
	}
	for _, it := range m.GetItems() {
		out.Items = append(out.Items, session.Item{
			Devices: call.Audience(it.GetDevices()), Device: call.DeviceID(it.GetDevice()), Frame: it.GetFrame(), Ring: it.GetRing(),
		})
	}
	return out
}

func handoverIn(m *wire.NodeHandover) session.Handover {
	out := session.Handover{Fresh: call.Millis(m.GetFresh())}
	for _, d := range m.GetDevices() {
		out.Devices = append(out.Devices, session.Handed{
			Device: call.DeviceID(d.GetDevice()), Conn: connIn(d.GetConn()), Seen: call.Millis(d.GetSeen()), Sent: d.GetSent(), Heard: d.GetHeard(),
		})
	}
	for _, w := range m.GetWatchers() {
		out.Watchers = append(out.Watchers, session.Watching{
			Call: call.ID(w.GetCallId()), Until: call.Millis(w.GetUntil()), Again: call.Millis(w.GetAgain()), Offline: w.GetOffline(),
		})
	}
	for _, l := range m.GetLatest() {
		out.Latest = append(out.Latest, session.Version{
			Call: call.ID(l.GetCallId()), Version: l.GetVersion(), Epoch: l.GetEpoch(), From: l.GetFrom(), Seq: l.GetSeq(), Rang: l.GetRang(),
		})
	}
	return out
}

func decodeForGateway(kind uint8, body []byte) (arrival, bool) {
	switch kind {
	case kindOutput:
		var m wire.NodeOutput
		ok := proto.Unmarshal(body, &m) == nil
		out := output{
			Number: m.GetNumber(), Frames: m.GetFrames(), Answers: int(m.GetAnswers()), Code: call.Code(m.GetCode()), LoggedIn: m.GetLoggedIn(),
		}
		if c := m.GetClose(); c != nil {
			out.Close = &closing{Code: c.GetCode(), Reason: c.GetReason()}
		}
		return arrival{to: toGateway, conn: m.GetConn(), msg: out}, ok
	case kindRecall:
		var m wire.NodeRecall
		ok := proto.Unmarshal(body, &m) == nil
		return arrival{to: toGateway, conn: m.GetConn(), msg: recall{}}, ok
	default:
		var m wire.NodeAudit
		ok := proto.Unmarshal(body, &m) == nil
		return arrival{to: toGateway, conn: m.GetConn(), msg: audit{Number: m.GetNumber()}}, ok
	}
}

func connIn(c *wire.NodeConn) session.Conn { return session.Conn{Node: c.GetNode(), ID: c.GetId()} }

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
