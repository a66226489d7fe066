package client

import (
	"runtime"
	"time"

	"carillon/transport/wire"
)

var platforms = map[Platform]wire.Platform{
	Windows: wire.Platform_PLATFORM_WINDOWS, IOS: wire.Platform_PLATFORM_IOS, Android: wire.Platform_PLATFORM_ANDROID,
	MacOS: wire.Platform_PLATFORM_MACOS, Linux: wire.Platform_PLATFORM_LINUX, Web: wire.Platform_PLATFORM_WEB,
	IPadOS: wire.Platform_PLATFORM_IPADOS, HarmonyOS: wire.Platform_PLATFORM_HARMONYOS, Server: wire.Platform_PLATFORM_SERVER,
	"darwin": wire.Platform_PLATFORM_MACOS,
}

func platformToWire(p Platform) wire.Platform {
	if p == "" {
		p = Platform(runtime.GOOS)
	}
	return platforms[p]
}

func pushToWire(p *PushConfig) *wire.PushConfig {
	if p == nil {
		return nil
	}
	return &wire.PushConfig{Title: p.Title, Content: p.Content, Payload: p.Payload, ResourcesId: p.ResourcesID, Voip: p.VoIP}
}

// wholeSeconds rounds up; what is too long for the wire, or negative, becomes a value that the server refuses.
func wholeSeconds(d time.Duration) uint32 {
	const most = 1<<32 - 1
	if d < 0 || d > most*time.Second {
		return most
	}
	return uint32((d + time.Second - 1) / time.Second)
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func millis(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }

func callOf(s *wire.CallSnapshot) CallInfo { return callOn(s, time.Now()) }

// ringOf is callOn for an invitation: one with no time left is over, and not one that rings for ever.
func ringOf(s *wire.CallSnapshot, arrived time.Time) CallInfo {
	call := callOn(s, arrived)
	call.RingUntil = arrived.Add(call.Remaining)
	return call
}

// callOn converts a snapshot that arrived at an instant of this machine's clock.
func callOn(s *wire.CallSnapshot, arrived time.Time) CallInfo {
	if s == nil {
		return CallInfo{}
	}
	info := CallInfo{
		CallID: CallID(s.CallId), Version: s.Version, State: CallState(s.State), ViewState: CallState(s.ViewState), Mode: Mode(s.Mode),
		Caller: s.Caller, Inviter: s.Inviter, CreateTime: timeOf(s.CreateTimeMs), EndTime: timeOf(s.EndTimeMs),
		Timeout: time.Duration(s.TimeoutS) * time.Second, Remaining: millis(s.RemainingMs), ExtendedData: s.ExtendedData,
		Users: usersOf(s.Users), EndReason: Reason(s.EndReason), IsMainDevice: s.IsMainDevice,
	}
	if info.Remaining > 0 {
		info.RingUntil = arrived.Add(info.Remaining)
	}
	return info
}

func usersOf(users []*wire.CallUser) []CallUser {
	list := make([]CallUser, 0, len(users))
	for _, u := range users {
		list = append(list, CallUser{
			UserID: u.GetUserId(), State: UserState(u.GetState()), ExtendedData: u.GetExtendedData(), Reason: Reason(u.GetReason()),
			AcceptTime: timeOf(u.GetAcceptTimeMs()), QuitTime: timeOf(u.GetQuitTimeMs()),
		})
	}
	return list
}

func errorUsersOf(r *wire.Response) []ErrorUser {
	var list []ErrorUser
	for _, e := range r.GetErrorUsers() {
		list = append(list, ErrorUser{UserID: e.GetUserId(), Code: Code(e.GetCode())})
	}
	return list
}

func errorOf(r *wire.Response) *Error {
	e := &Error{Code: Code(r.Code), Message: r.Message, RetryAfter: millis(r.RetryAfterMs), ErrorUsers: errorUsersOf(r)}
	if r.Call != nil {
		call := callOf(r.Call)
		e.Call = &call
	}
	return e
}

func eventInfoOf(e *wire.Event) EventInfo {
	return EventInfo{
		CallID: CallID(e.CallId), Version: e.Version, Reason: Reason(e.Reason), ActingUser: e.ActingUser, ActingDevice: e.ActingDevice,
		Time: timeOf(e.TimeMs),
	}
}

// eventOf gives nil for a kind that this client does not know.
func eventOf(e *wire.Event) Event {
	info := eventInfoOf(e)
	switch k := e.Kind.(type) {
	case *wire.Event_CallInvitationCreated:
		return CallInvitationCreated{EventInfo: info, Call: callOf(k.CallInvitationCreated)}
	case *wire.Event_CallInvitationReceived:
		return CallInvitationReceived{EventInfo: info, Call: ringOf(k.CallInvitationReceived, time.Now())}
	case *wire.Event_CallInvitationCancelled:
		v := k.CallInvitationCancelled
		return CallInvitationCancelled{EventInfo: info, Inviter: v.GetInviter(), Mode: Mode(v.GetMode()), ExtendedData: v.GetExtendedData()}
	case *wire.Event_CallInvitationTimeout:
		return CallInvitationTimeout{EventInfo: info, Mode: Mode(k.CallInvitationTimeout.GetMode())}
	case *wire.Event_CallInvitationEnded:
		v := k.CallInvitationEnded
		return CallInvitationEnded{
			EventInfo: info, Caller: v.GetCaller(), OperatedUserID: v.GetOperatedUserId(), ExtendedData: v.GetExtendedData(),
			Mode: Mode(v.GetMode()), EndTime: timeOf(v.GetEndTimeMs()),
		}
	case *wire.Event_CallUserStateChanged:
		v := k.CallUserStateChanged
		return CallUserStateChanged{EventInfo: info, Users: usersOf(v.GetUsers()), CallState: CallState(v.GetCallState())}
	case *wire.Event_KickedOut:
		return KickedOut{EventInfo: info, ByDeviceID: k.KickedOut.GetByDeviceId()}
	case *wire.Event_TokenWillExpire:
		return TokenWillExpire{EventInfo: info, Left: time.Duration(k.TokenWillExpire.GetSecondsLeft()) * time.Second}
	case *wire.Event_GoAway:
		return GoAway{EventInfo: info, ReconnectAfter: millis(k.GoAway.GetReconnectAfterMs()), ReconnectTo: k.GoAway.GetReconnectTo()}
	}
	return nil
}
