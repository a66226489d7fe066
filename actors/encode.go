package actors

import (
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// encodeForCall, encodeForSession and encodeForGateway give a message as it travels to another node; ok is false for what
// does not: an actor's word to itself.

func encodeForCall(id call.ID, msg any) (kind uint8, body []byte, ok bool) {
	var out proto.Message
	switch m := msg.(type) {
	case *command:
		kind, out = kindCommand, nodeCommand(id, m)
	case told:
		kind, out = kindTold, &wire.NodeTold{CallId: uint64(id), Epoch: m.Epoch, User: string(m.User), From: m.From, Seq: m.Seq}
	case presence:
		kind, out = kindPresence, &wire.NodePresence{CallId: uint64(id), User: string(m.User), Online: m.Online}
	case ask:
		kind, out = kindAsk, &wire.NodeAsk{
			CallId: uint64(id), User: string(m.User), Device: string(m.Device), Conn: nodeConn(m.Conn), Known: m.Known, Since: m.Since,
		}
	default:
		return 0, nil, false
	}
	return kind, marshal(out), true
}

func encodeForSession(user call.UserID, msg any) (kind uint8, body []byte, ok bool) {
	var out proto.Message
	u := string(user)
	switch m := msg.(type) {
	case *attach:
		kind, out = kindAttach, &wire.NodeAttach{
			User: u, Device: string(m.Device), Conn: nodeConn(m.Conn), RequestId: m.Request, AtUs: m.At.UnixMicro(), Known: nodeKnown(m.Known),
		}
	case *list:
		kind, out = kindList, &wire.NodeList{
			User: u, Device: string(m.Device), Conn: nodeConn(m.Conn), RequestId: m.Request, AtUs: m.At.UnixMicro(),
			After: uint64(m.After), Count: uint32(m.Count),
		}
	case session.Seen:
		seen := &wire.NodeSeen{User: u, Conn: nodeConn(m.Conn), Heard: m.Heard, Silent: m.Silent}
		if !m.At.IsZero() {
			seen.AtUs = m.At.UnixMicro()
		}
		kind, out = kindSeen, seen
	case session.Broken:
		kind, out = kindBroken, &wire.NodeBroken{User: u, Conn: nodeConn(m.Conn)}
	case session.Logout:
		kind, out = kindLogout, &wire.NodeLogout{User: u, Conn: nodeConn(m.Conn), RequestId: m.Request}
	case session.Tell:
		kind, out = kindTell, nodeTell(u, &m)
	case session.Watch:
		kind, out = kindWatch, &wire.NodeWatch{User: u, CallId: uint64(m.Call), Offline: m.Offline}
	case session.Heard:
		kind, out = kindHeard, &wire.NodeHeard{User: u, CallId: uint64(m.Call), Offline: m.Offline, Done: m.Done}
	case session.Synced:
		kind, out = kindSynced, &wire.NodeSynced{
			User: u, CallId: uint64(m.Call), Conn: nodeConn(m.Conn), Seq: m.Seq, Snapshot: m.Snapshot, Ring: m.Ring,
		}
	case session.Handover:
		kind, out = kindHandover, nodeHandover(u, &m)
	default:
		return 0, nil, false
	}
	return kind, marshal(out), true
}

func encodeForGateway(conn uint64, msg any) (kind uint8, body []byte, ok bool) {
	switch m := msg.(type) {
	case output:
		out := &wire.NodeOutput{
			Conn: conn, Number: m.Number, Frames: m.Frames, Answers: uint32(m.Answers), Code: uint32(m.Code), LoggedIn: m.LoggedIn,
		}
		if m.Close != nil {
			out.Close = &wire.NodeClosing{Code: m.Close.Code, Reason: m.Close.Reason}
		}
		return kindOutput, marshal(out), true
	case recall:
		return kindRecall, marshal(&wire.NodeRecall{Conn: conn}), true
	case audit:
		return kindAudit, marshal(&wire.NodeAudit{Conn: conn, Number: m.Number}), true
	}
	return 0, nil, false
}

func nodeConn(c session.Conn) *wire.NodeConn {
	if c == (session.Conn{}) {
		return nil
	}
	return &wire.NodeConn{Node: c.Node, Id: c.ID}
}

func nodeKnown(in []known) []*wire.KnownCall {
	out := make([]*wire.KnownCall, len(in))
	for i, k := range in {
		out[i] = &wire.KnownCall{CallId: uint64(k.Call), Version: k.Version}
	}
	return out
}

func nodeCommand(id call.ID, c *command) *wire.NodeCommand {
	out := &wire.NodeCommand{
		CallId: uint64(id), Op: uint32(c.Op), User: string(c.User), Device: string(c.Device), CommandId: c.Command.Command[:],
		ExtendedData: c.ExtendedData, TimeoutMs: c.Timeout.Milliseconds(), Errors: userErrors(c.Errors),
		Conn: nodeConn(c.Conn), RequestId: c.Request, Attempt: uint32(c.Attempt), AtUs: c.At.UnixMicro(),
	}
	for _, u := range c.Users {
		out.Users = append(out.Users, string(u))
	}
	if in := c.Invite; in != nil {
		out.Invite = &wire.NodeInvite{
			Mode: uint32(in.Mode), AloneTimeoutMs: in.AloneTimeout.Milliseconds(), CheckReceived: in.CheckReceived,
			NotReceivedAfterMs: in.Rules.NotReceivedAfter.Milliseconds(), MaxDurationMs: in.Rules.MaxDuration.Milliseconds(),
			MemberLeaseMs: in.Rules.MemberLease.Milliseconds(), InvitedOnly: in.Rules.InvitedOnly,
			MaxInvitees: uint32(in.Rules.MaxInvitees), MaxUsers: uint32(in.Rules.MaxUsers),
		}
	}
	return out
}

func nodeTell(user string, m *session.Tell) *wire.NodeTell {
	out := &wire.NodeTell{
		User: user, CallId: uint64(m.Call), Epoch: m.Epoch, From: m.From, Seq: m.Seq, Version: m.Version,
		AnswerTo: nodeConn(m.AnswerTo), Answer: m.Answer, Code: uint32(m.Code),
	}
	for i := range m.Items {
		it := &m.Items[i]
		out.Items = append(out.Items, &wire.NodeItem{Devices: uint32(it.Devices), Device: string(it.Device), Frame: it.Frame, Ring: it.Ring})
	}
	return out
}

func nodeHandover(user string, m *session.Handover) *wire.NodeHandover {
	out := &wire.NodeHandover{User: user, Fresh: int64(m.Fresh)}
	for _, d := range m.Devices {
		out.Devices = append(out.Devices, &wire.NodeDevice{
			Device: string(d.Device), Conn: nodeConn(d.Conn), Seen: int64(d.Seen), Sent: d.Sent, Heard: d.Heard,
		})
	}
	for _, w := range m.Watchers {
		out.Watchers = append(out.Watchers, &wire.NodeWatcher{
			CallId: uint64(w.Call), Until: int64(w.Until), Offline: w.Offline, Again: int64(w.Again),
		})
	}
	for _, l := range m.Latest {
		out.Latest = append(out.Latest, &wire.NodeLatest{
			CallId: uint64(l.Call), Version: l.Version, Epoch: l.Epoch, From: l.From, Seq: l.Seq, Rang: l.Rang,
		})
	}
	return out
}

// since is an instant that another node has named; its clock may be ahead.
func since(us int64, now time.Time) time.Time {
	if at := time.UnixMicro(us); at.Before(now) {
		return at
	}
	return now
}
