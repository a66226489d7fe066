package client

import (
	"context"
	"time"

	"carillon/transport/wire"
)

// PushConfig is the text of the push notification to invitees who are not online (SPEC 4 for the limits).
type PushConfig struct {
	Title       string
	Content     string
	Payload     string
	ResourcesID string
	VoIP        bool
}

// CallInviteConfig is the config of CallInvite.
type CallInviteConfig struct {
	Timeout                time.Duration // 1 s..600 s, rounded up to whole seconds; 0 = the server's default of 90 s
	Mode                   Mode          // 0 = Common
	ExtendedData           string
	PushConfig             *PushConfig
	EnableNotReceivedCheck bool
	AloneTimeout           time.Duration // Advanced: end the call when the caller has been alone this long; 0 = never
	Command                CommandID     // zero: a fresh one; else the Error.Command of an earlier try
}

// CallInviteResult is the new call, and the invitees who were not reached.
type CallInviteResult struct {
	CallID     CallID
	CreateTime time.Time
	Timeout    time.Duration
	ErrorUsers []ErrorUser
	Call       CallInfo
}

// CallInvite rings the invitees (1..9 user IDs) and makes this the caller's main device.
// Refusals: BadParameter, TooMany, NoUser.
func (c *Client) CallInvite(ctx context.Context, invitees []string, config CallInviteConfig) (CallInviteResult, error) {
	r, err := c.do(ctx, operation{takesMain: true, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{
		Invitees: invitees, TimeoutS: wholeSeconds(config.Timeout), Mode: wire.CallMode(config.Mode), ExtendedData: config.ExtendedData,
		Push: pushToWire(config.PushConfig), EnableNotReceivedCheck: config.EnableNotReceivedCheck, AloneTimeoutS: wholeSeconds(config.AloneTimeout),
	}}}})
	if err != nil {
		return CallInviteResult{}, err
	}
	t := r.GetTimes()
	return CallInviteResult{
		CallID: CallID(r.GetCall().GetCallId()), CreateTime: timeOf(t.GetCreateTimeMs()), Timeout: time.Duration(t.GetTimeoutS()) * time.Second,
		ErrorUsers: errorUsersOf(r), Call: callOf(r.GetCall()),
	}, nil
}

// CallCancelConfig is the config of CallCancel.
type CallCancelConfig struct {
	ExtendedData string
	PushConfig   *PushConfig
	Command      CommandID
}

// CallCancelResult holds the listed users who could not be cancelled.
type CallCancelResult struct {
	ErrorUsers []ErrorUser
	Call       CallInfo
}

// CallCancel takes back the invitations of the listed invitees; with an empty list it cancels the whole call, allowed while
// nobody has accepted (SPEC 1). Refusals: NoSuchCall, NotInviter, CannotCancel, NotInvited.
func (c *Client) CallCancel(ctx context.Context, callID CallID, invitees []string, config CallCancelConfig) (CallCancelResult, error) {
	r, err := c.do(ctx, operation{call: callID, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallCancel{CallCancel: &wire.CallCancel{
		CallId: uint64(callID), Invitees: invitees, ExtendedData: config.ExtendedData, Push: pushToWire(config.PushConfig),
	}}}})
	if err != nil {
		return CallCancelResult{}, err
	}
	return CallCancelResult{ErrorUsers: errorUsersOf(r), Call: callOf(r.GetCall())}, nil
}

// CallAcceptConfig is the config of CallAccept.
type CallAcceptConfig struct {
	ExtendedData string
	Command      CommandID
}

// CallAcceptResult is the call after the accept.
type CallAcceptResult struct {
	AcceptTime time.Time
	Call       CallInfo
}

// CallAccept takes the call on this device, which becomes the user's main device. Refusals: NoSuchCall, NotInvited.
func (c *Client) CallAccept(ctx context.Context, callID CallID, config CallAcceptConfig) (CallAcceptResult, error) {
	r, err := c.do(ctx, operation{takesMain: true, call: callID, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallAccept{CallAccept: &wire.CallAccept{
		CallId: uint64(callID), ExtendedData: config.ExtendedData,
	}}}})
	if err != nil {
		return CallAcceptResult{}, err
	}
	res := CallAcceptResult{AcceptTime: timeOf(r.GetTimes().GetAcceptTimeMs()), Call: callOf(r.GetCall())}
	if me, ok := res.Call.User(c.cfg.UserID); ok && res.AcceptTime.IsZero() {
		res.AcceptTime = me.AcceptTime
	}
	return res, nil
}

// CallRejectConfig is the config of CallReject.
type CallRejectConfig struct {
	ExtendedData string
	Command      CommandID
}

// CallRejectResult is the call after the reject.
type CallRejectResult struct{ Call CallInfo }

// CallReject declines the call on all the user's devices. Refusals: NoSuchCall, NotInvited.
func (c *Client) CallReject(ctx context.Context, callID CallID, config CallRejectConfig) (CallRejectResult, error) {
	r, err := c.do(ctx, operation{call: callID, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallReject{CallReject: &wire.CallReject{
		CallId: uint64(callID), ExtendedData: config.ExtendedData,
	}}}})
	if err != nil {
		return CallRejectResult{}, err
	}
	return CallRejectResult{Call: callOf(r.GetCall())}, nil
}

// CallingInviteConfig is the config of CallingInvite; what is zero is the call's own.
type CallingInviteConfig struct {
	PushConfig   *PushConfig
	Timeout      time.Duration // 1 s..600 s, rounded up to whole seconds
	ExtendedData string
	Command      CommandID
}

// CallingInviteResult holds the invitees who were not reached.
type CallingInviteResult struct {
	ErrorUsers []ErrorUser
	Call       CallInfo
}

// CallingInvite invites more users into a running advanced call. Refusals: NoSuchCall, AdvancedOnly, NotInvited,
// WrongState, TooMany, NoUser, BadParameter.
func (c *Client) CallingInvite(ctx context.Context, callID CallID, invitees []string, config CallingInviteConfig) (CallingInviteResult, error) {
	r, err := c.do(ctx, operation{call: callID, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallingInvite{CallingInvite: &wire.CallingInvite{
		CallId: uint64(callID), Invitees: invitees, Push: pushToWire(config.PushConfig), TimeoutS: wholeSeconds(config.Timeout), ExtendedData: config.ExtendedData,
	}}}})
	if err != nil {
		return CallingInviteResult{}, err
	}
	return CallingInviteResult{ErrorUsers: errorUsersOf(r), Call: callOf(r.GetCall())}, nil
}

// CallJoinConfig is the config of CallJoin.
type CallJoinConfig struct {
	ExtendedData string
	Command      CommandID
}

// CallJoinResult is the call as the newcomer finds it.
type CallJoinResult struct {
	CreateTime   time.Time
	JoinTime     time.Time
	ExtendedData string
	Users        []CallUser
	Call         CallInfo
}

// CallJoin enters a running advanced call, or moves it to this device when the user is in it with another one (SPEC 6).
// Refusals: NoSuchCall, AdvancedOnly, AlreadyMain, NotInvited, TooMany.
func (c *Client) CallJoin(ctx context.Context, callID CallID, config CallJoinConfig) (CallJoinResult, error) {
	r, err := c.do(ctx, operation{takesMain: true, call: callID, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallJoin{CallJoin: &wire.CallJoin{
		CallId: uint64(callID), ExtendedData: config.ExtendedData,
	}}}})
	if err != nil {
		return CallJoinResult{}, err
	}
	t, call := r.GetTimes(), callOf(r.GetCall())
	return CallJoinResult{
		CreateTime: timeOf(t.GetCreateTimeMs()), JoinTime: timeOf(t.GetJoinTimeMs()), ExtendedData: call.ExtendedData, Users: call.Users, Call: call,
	}, nil
}

// CallQuitConfig is the config of CallQuit.
type CallQuitConfig struct {
	ExtendedData string
	PushConfig   *PushConfig
	Command      CommandID
}

// CallQuitResult holds the user's times in the call.
type CallQuitResult struct {
	CreateTime time.Time
	AcceptTime time.Time
	QuitTime   time.Time
	Call       CallInfo
}

// CallQuit leaves an advanced call. Refusals: NoSuchCall, AdvancedOnly, NotInvited, WrongState.
func (c *Client) CallQuit(ctx context.Context, callID CallID, config CallQuitConfig) (CallQuitResult, error) {
	r, err := c.do(ctx, operation{call: callID, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallQuit{CallQuit: &wire.CallQuit{
		CallId: uint64(callID), ExtendedData: config.ExtendedData, Push: pushToWire(config.PushConfig),
	}}}})
	if err != nil {
		return CallQuitResult{}, err
	}
	t := r.GetTimes()
	return CallQuitResult{CreateTime: timeOf(t.GetCreateTimeMs()), AcceptTime: timeOf(t.GetAcceptTimeMs()), QuitTime: timeOf(t.GetQuitTimeMs()), Call: callOf(r.GetCall())}, nil
}

// CallEndConfig is the config of CallEnd.
type CallEndConfig struct {
	ExtendedData string
	PushConfig   *PushConfig
	Command      CommandID
}

// CallEndResult holds the times of the call.
type CallEndResult struct {
	CreateTime time.Time
	AcceptTime time.Time
	EndTime    time.Time
	Call       CallInfo
}

// CallEnd ends an advanced call for all. Refusals: NoSuchCall, AdvancedOnly, NotInvited, WrongState.
func (c *Client) CallEnd(ctx context.Context, callID CallID, config CallEndConfig) (CallEndResult, error) {
	r, err := c.do(ctx, operation{call: callID, command: config.Command, frame: &wire.ClientFrame{Body: &wire.ClientFrame_CallEnd{CallEnd: &wire.CallEnd{
		CallId: uint64(callID), ExtendedData: config.ExtendedData, Push: pushToWire(config.PushConfig),
	}}}})
	if err != nil {
		return CallEndResult{}, err
	}
	t := r.GetTimes()
	return CallEndResult{CreateTime: timeOf(t.GetCreateTimeMs()), AcceptTime: timeOf(t.GetAcceptTimeMs()), EndTime: timeOf(t.GetEndTimeMs()), Call: callOf(r.GetCall())}, nil
}

// CallInvitationList is one page of the user's calls, newest creation first. NextFlag 0: no more.
type CallInvitationList struct {
	Calls    []CallInfo
	NextFlag uint64
}

// QueryCallInvitationList gives count (1..100; more is 100, 0 is 20) of the user's calls from nextFlag on; 0 starts.
func (c *Client) QueryCallInvitationList(ctx context.Context, count int, nextFlag uint64) (CallInvitationList, error) {
	if count < 0 {
		return CallInvitationList{}, newError(BadParameter, nil, "count %d is negative", count)
	}
	r, err := c.do(ctx, operation{query: true, frame: &wire.ClientFrame{Body: &wire.ClientFrame_QueryCallInvitationList{QueryCallInvitationList: &wire.QueryCallInvitationList{
		Count: uint32(min(count, 100)), NextFlag: nextFlag,
	}}}})
	if err != nil {
		return CallInvitationList{}, err
	}
	list := CallInvitationList{NextFlag: r.GetList().GetNextFlag()}
	for _, s := range r.GetList().GetCalls() {
		list.Calls = append(list.Calls, callOf(s))
	}
	return list, nil
}
