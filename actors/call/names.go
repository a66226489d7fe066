package call

import "strconv"

// String is the state's name in SPEC section 2.
func (u UserState) String() string { return name(userStates[:], uint8(u)) }

// String is the reason's name in SPEC section 2; empty for ReasonNone.
func (r Reason) String() string { return name(reasons[:], uint8(r)) }

// String is "common" or "advanced".
func (m Mode) String() string { return name(modes[:], uint8(m)) }

// String is the operation's name in SPEC section 1; owner's commands are in parentheses.
func (o Op) String() string {
	if o >= OpReceipt {
		return name(ownerOps[:], uint8(o-OpReceipt))
	}
	return name(userOps[:], uint8(o))
}

// String is the event's name in SPEC section 3; what no device hears is in parentheses.
func (k Kind) String() string { return name(kinds[:], uint8(k)) }

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return strconv.Itoa(int(i))
}

var (
	modes      = [...]string{"", "common", "advanced"}
	userStates = [...]string{
		"not a participant", "Inviting", "Received", "NotYetReceived", "Accepted", "Rejected",
		"Cancelled", "BeCancelled", "Timeout", "Quit", "Ended",
	}
	reasons = [...]string{
		"", "cancelled", "caller_offline", "all_answered", "no_answer", "rejected", "busy", "ended_by_user", "empty",
		"alone_timeout", "max_duration", "ended_by_server", "answered_elsewhere", "moved_to_other_device", "connection_lost",
	}
	userOps = [...]string{
		"", "callInvite", "callCancel", "callAccept", "callReject", "callingInvite", "callJoin", "callQuit", "callEnd",
	}
	ownerOps = [...]string{"(receipt)", "(tick)", "(told)", "(offline)", "(online)", "(stop)", "(park)", "(rewatch)"}
	kinds    = [...]string{
		"", "callInvitationCreated", "callInvitationReceived", "callInvitationCancelled", "callInvitationTimeout",
		"callInvitationEnded", "callUserStateChanged", "(watch)",
	}
)
