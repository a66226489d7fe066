package client

import (
	"slices"
	"time"

	"carillon/transport/wire"
)

// sync compares what the device knows with what a login told, and gives the difference as the events that the app would
// have seen. arrived is when it was told, on this machine's clock: a redirect that failed may lie between. acting holds the
// calls on which this device has operations under way.
func (t *table) sync(result *wire.LoginResult, arrived time.Time, acting map[CallID]int) []Event {
	now := timeOf(result.GetServerTimeMs())
	named := slices.Clone(t.order)
	told := make(map[CallID]bool, len(result.GetSync()))
	var events []Event
	for _, s := range result.GetSync() {
		call := callOn(s, arrived)
		told[call.CallID] = true
		if k := t.live[call.CallID]; k != nil && call.Version >= k.Version {
			events = append(events, t.difference(k, call, now, acting[call.CallID] > 0)...)
		}
		t.see(call)
	}
	if result.GetSyncTruncated() {
		return events
	}
	for _, id := range named {
		if k := t.live[id]; k != nil && !told[id] {
			events = append(events, t.lost(k, now))
		}
	}
	return events
}

// lost is the end of a call that the server does not know as live, and has no newer version of.
func (t *table) lost(k *known, now time.Time) Event {
	t.bury(k.CallID, k.Version)
	return CallInvitationEnded{
		EventInfo: EventInfo{CallID: k.CallID, Version: k.Version, Reason: ReasonConnectionLost, Time: now, Local: true},
		Caller:    k.Caller, ExtendedData: k.ExtendedData, Mode: k.Mode, EndTime: now,
	}
}

// difference gives the events that lead from k to call, as SPEC section 3 tells them to this user, and marks k as ringing
// again when it is a new invitation. It does not store call.
func (t *table) difference(k *known, call CallInfo, now time.Time, acting bool) []Event {
	before, after := t.own(&k.CallInfo), t.own(&call)
	me, _ := call.User(t.user)
	info := EventInfo{CallID: call.CallID, Version: call.Version, Reason: me.Reason, Time: now, Local: true}
	switch {
	case before.Pending() && after == BeCancelled:
		return []Event{CallInvitationCancelled{EventInfo: info, Inviter: call.Inviter, Mode: call.Mode, ExtendedData: call.ExtendedData}}
	case before.Pending() && after == Timeout:
		return []Event{CallInvitationTimeout{EventInfo: info, Mode: call.Mode}}
	case before.Pending() && (after == Accepted && !call.IsMainDevice || after == Rejected && !acting):
		info.Reason = ReasonAnsweredElsewhere
		return []Event{CallUserStateChanged{EventInfo: info, Users: []CallUser{me}, CallState: call.State}}
	case before == Accepted && after == Accepted && !call.IsMainDevice && call.State != Ended:
		info.Reason = ReasonMovedToOtherDevice
		return []Event{CallUserStateChanged{EventInfo: info, Users: []CallUser{me}, CallState: call.State}}
	case before.Pending() && after.Pending() && k.rang && t.anew(k, &call):
		return []Event{CallInvitationReceived{EventInfo: info, Call: call}} // timed out or cancelled, and invited again
	}
	return t.changes(k, call, info)
}

// unacknowledged gives the calls that ring here although the server does not know it: a receipt was lost, or forgotten in a
// restart (Received is soft, SPEC 9.1).
func (t *table) unacknowledged() []CallID {
	var ids []CallID
	for _, id := range t.order {
		if k := t.live[id]; k.rang && t.own(&k.CallInfo) != Received {
			ids = append(ids, id)
		}
	}
	return ids
}

// forgotten reports whether a server that restarted has lost the soft part of a state.
func forgotten(before, after CallUser) bool {
	return before.State == Received && (after.State == Inviting || after.State == NotYetReceived)
}

// changes tells who changed, and the end of the call where SPEC has an event for it.
func (t *table) changes(k *known, call CallInfo, info EventInfo) []Event {
	var events []Event
	var changed []CallUser
	for _, u := range call.Users {
		old, ok := k.User(u.UserID)
		if ok && old.State == u.State && old.ExtendedData == u.ExtendedData || call.Version == k.Version && forgotten(old, u) {
			continue
		}
		changed = append(changed, u)
	}
	ended := call.State == Ended
	if len(changed) > 0 {
		if ended && call.Mode == Common {
			info.Reason = call.EndReason
		}
		events = append(events, CallUserStateChanged{EventInfo: info, Users: changed, CallState: call.State})
	}
	own := t.own(&call)
	if ended && (len(changed) == 0 || call.Mode == Advanced && (own.Pending() || own == Accepted)) {
		info.Reason, info.Time = call.EndReason, call.EndTime
		events = append(events, CallInvitationEnded{
			EventInfo: info, Caller: call.Caller, ExtendedData: call.ExtendedData, Mode: call.Mode, EndTime: call.EndTime,
		})
	}
	return events
}
