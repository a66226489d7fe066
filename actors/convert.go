package actors

import (
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/actors/call"
	"carillon/transport/wire"
)

// snapshot is the call as one user sees it on one of his devices.
func snapshot(s *call.State, viewer call.UserID, device call.DeviceID, now time.Time) *wire.CallSnapshot {
	out := &wire.CallSnapshot{
		CallId: uint64(s.ID), Version: s.Version, Mode: wire.CallMode(s.Mode), Caller: string(s.Caller),
		State: callState(s), CreateTimeMs: int64(s.Created), EndTimeMs: int64(s.Ended),
		TimeoutS: seconds(s.Timeout), ExtendedData: s.ExtendedData, EndReason: wire.Reason(s.EndReason),
		Users: make([]*wire.CallUser, len(s.Users)),
	}
	users := make([]wire.CallUser, len(s.Users)) // one allocation for all
	for i := range s.Users {
		fill(&users[i], &s.Users[i])
		out.Users[i] = &users[i]
	}
	out.ViewState = wire.CallState_CALL_STATE_ENDED
	if p := s.Find(viewer); p != nil {
		out.Inviter = string(p.Inviter)
		out.IsMainDevice = p.State == call.Accepted && p.Main == device
		if p.State.Live() {
			out.ViewState = out.State
		}
		if p.State.Pending() && s.Open() {
			out.RemainingMs = uint32(p.Remaining(now).Milliseconds())
		}
		if p.InvitedFor > 0 {
			out.TimeoutS = seconds(p.InvitedFor)
		}
		if p.InviteData != "" {
			out.ExtendedData = p.InviteData
		}
	}
	return out
}

func callState(s *call.State) wire.CallState {
	if s.Open() {
		return wire.CallState_CALL_STATE_STARTED
	}
	return wire.CallState_CALL_STATE_ENDED
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

func fill(u *wire.CallUser, p *call.Participant) {
	u.UserId, u.State, u.ExtendedData = string(p.User), wire.UserState(p.State), p.ExtendedData
	u.Reason, u.AcceptTimeMs, u.QuitTimeMs = wire.Reason(p.Change.Reason), int64(p.AcceptedAt), int64(p.QuitAt)
}

// eventFrame is the frame of one event, as all devices of its audience get it.
func eventFrame(s *call.State, e *call.Event, now time.Time) []byte {
	if e.Then != nil {
		s = e.Then
	}
	out := &wire.Event{
		CallId: uint64(s.ID), Version: e.Version, Reason: wire.Reason(e.Reason),
		ActingUser: string(e.By), ActingDevice: string(e.ByDev), TimeMs: int64(e.At),
	}
	mode := wire.CallMode(s.Mode)
	switch e.Kind {
	case call.EventCreated:
		device := call.DeviceID("")
		if e.Devices == call.OnlyDevice {
			device = e.Device
		}
		out.Kind = &wire.Event_CallInvitationCreated{CallInvitationCreated: snapshot(s, e.To, device, now)}
	case call.EventReceived:
		out.Kind = &wire.Event_CallInvitationReceived{CallInvitationReceived: snapshot(s, e.To, "", now)}
	case call.EventCancelled:
		out.Kind = &wire.Event_CallInvitationCancelled{CallInvitationCancelled: &wire.CallInvitationCancelled{
			Inviter: string(e.Inviter), Mode: mode, ExtendedData: e.ExtendedData,
		}}
	case call.EventTimeout:
		out.Kind = &wire.Event_CallInvitationTimeout{CallInvitationTimeout: &wire.CallInvitationTimeout{Mode: mode}}
	case call.EventEnded:
		out.Kind = &wire.Event_CallInvitationEnded{CallInvitationEnded: &wire.CallInvitationEnded{
			Caller: string(s.Caller), OperatedUserId: string(s.EndedBy), ExtendedData: e.ExtendedData, Mode: mode,
			EndTimeMs: int64(s.Ended),
		}}
	case call.EventUserState:
		changed := &wire.CallUserStateChanged{CallState: callState(s), Users: make([]*wire.CallUser, len(e.Changed))}
		for i, u := range e.Changed {
			changed.Users[i] = &wire.CallUser{}
			fill(changed.Users[i], s.Find(u))
		}
		out.Kind = &wire.Event_CallUserStateChanged{CallUserStateChanged: changed}
	}
	return frame(&wire.ServerFrame{Body: &wire.ServerFrame_Event{Event: out}})
}

// frame encodes what the server itself has built; strings came in as valid UTF-8, so it cannot fail.
func frame(f *wire.ServerFrame) []byte {
	out, err := wire.AppendFrame(make([]byte, 0, proto.Size(f)+4), f)
	if err != nil {
		panic(err)
	}
	return out
}

// marshal encodes a part of a frame that is put together elsewhere.
func marshal(m proto.Message) []byte {
	out, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return out
}

func responseFrame(r *wire.Response) []byte {
	return frame(&wire.ServerFrame{Body: &wire.ServerFrame_Response{Response: r}})
}

// refusal is the answer to a request that never reached a call. Who comes after the told milliseconds must not be early.
func refusal(request uint64, r *call.Refusal, retryAfter time.Duration) []byte {
	wait := (retryAfter + time.Millisecond - 1).Milliseconds()
	return responseFrame(&wire.Response{
		RequestId: request, Code: uint32(r.Code), Message: r.Message, RetryAfterMs: uint32(wait),
		ErrorUsers: userErrors(r.Errors),
	})
}

func userErrors(in []call.UserError) []*wire.UserError {
	out := make([]*wire.UserError, len(in))
	for i, e := range in {
		out[i] = &wire.UserError{UserId: string(e.User), Code: uint32(e.Code)}
	}
	return out
}

// answerFrame answers a command: with its outcome, remembered or not, and the call as the acting user may see it.
func answerFrame(s *call.State, c *command, err *call.Refusal, now time.Time) []byte {
	r := &wire.Response{RequestId: c.Request}
	if err != nil {
		r.Code, r.Message, r.ErrorUsers = uint32(err.Code), err.Message, userErrors(err.Errors)
	}
	if s.Find(c.User) != nil {
		r.Call = snapshot(s, c.User, c.Device, now)
	}
	o, remembered := s.Outcome(c.User, c.Command.Command)
	if err != nil || !remembered {
		return responseFrame(r)
	}
	r.ErrorUsers = userErrors(o.Errors)
	switch o.Op {
	case call.OpInvite, call.OpJoin, call.OpQuit, call.OpEnd:
		r.Result = &wire.Response_Times{Times: times(s, &o)}
	}
	return responseFrame(r)
}

func times(s *call.State, o *call.Outcome) *wire.CallTimes {
	t := &wire.CallTimes{
		CreateTimeMs: int64(o.Times.Created), AcceptTimeMs: int64(o.Times.Accepted), JoinTimeMs: int64(o.Times.Joined),
		QuitTimeMs: int64(o.Times.Quit), EndTimeMs: int64(o.Times.Ended),
	}
	if o.Op == call.OpInvite {
		t.TimeoutS = seconds(s.Timeout)
	}
	return t
}
