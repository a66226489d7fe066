package main

import (
	"fmt"
	"strings"

	"carillon/transport/wire"
)

// print is a frame in one line, complete but for its times: a sequence is a list of such lines.
func (c *rawClient) print(f *wire.ServerFrame) string {
	var line string
	switch {
	case f.GetResponse() != nil:
		line = c.printResponse(f.GetResponse())
	case f.GetEvent() != nil:
		line = printEvent(f.GetEvent())
	default:
		line = f.String()
	}
	return c.unmask(line)
}

// unmask makes names short again.
func (c *rawClient) unmask(line string) string {
	if c.mask == "" {
		return line
	}
	return strings.ReplaceAll(line, c.mask, "")
}

func (c *rawClient) printResponse(r *wire.Response) string {
	line := "result"
	if r.GetRequestId() != c.requests {
		line = fmt.Sprintf("result of request %d", r.GetRequestId())
	}
	if r.GetCode() != 0 {
		line += fmt.Sprintf(" %d", r.GetCode())
	}
	for _, e := range r.GetErrorUsers() {
		line += fmt.Sprintf(" !%s=%d", e.GetUserId(), e.GetCode())
	}
	if s := r.GetCall(); s != nil {
		line += " " + printSnapshot(s)
	}
	return line
}

func printEvent(e *wire.Event) string {
	by := "server"
	if e.GetActingUser() != "" {
		by = e.GetActingUser() + "/" + e.GetActingDevice()
	}
	head := fmt.Sprintf("v%d by %s", e.GetVersion(), by)
	if e.GetReason() != 0 {
		head += " " + printReason(e.GetReason())
	}
	switch k := e.GetKind().(type) {
	case *wire.Event_CallInvitationCreated:
		return "Created " + head + ": " + printSnapshot(k.CallInvitationCreated)
	case *wire.Event_CallInvitationReceived:
		return "Received " + head + ": " + printSnapshot(k.CallInvitationReceived)
	case *wire.Event_CallInvitationCancelled:
		m := k.CallInvitationCancelled
		return fmt.Sprintf("Cancelled %s: inviter %s %s %q", head, m.GetInviter(), printMode(m.GetMode()), m.GetExtendedData())
	case *wire.Event_CallInvitationTimeout:
		return fmt.Sprintf("Timeout %s: %s", head, printMode(k.CallInvitationTimeout.GetMode()))
	case *wire.Event_CallInvitationEnded:
		m := k.CallInvitationEnded
		end := ""
		if m.GetEndTimeMs() == 0 {
			end = " without end time"
		}
		return fmt.Sprintf("Ended %s: caller %s operated %s %s %q%s", head, m.GetCaller(), m.GetOperatedUserId(), printMode(m.GetMode()), m.GetExtendedData(), end)
	case *wire.Event_CallUserStateChanged:
		m := k.CallUserStateChanged
		return fmt.Sprintf("USC %s: %s %s", head, printUsers(m.GetUsers()), printCallState(m.GetCallState()))
	case *wire.Event_KickedOut:
		return "KickedOut by " + k.KickedOut.GetByDeviceId()
	case *wire.Event_GoAway:
		return "GoAway"
	}
	return e.String()
}

// printSnapshot says everything but times; what is left of a ring is said as "ringing".
func printSnapshot(s *wire.CallSnapshot) string {
	words := []string{
		printMode(s.GetMode()), s.GetCaller(), fmt.Sprintf("v%d", s.GetVersion()), fmt.Sprintf("%ds", s.GetTimeoutS()),
		fmt.Sprintf("%q", s.GetExtendedData()), printUsers(s.GetUsers()), printCallState(s.GetState()) + "/" + printCallState(s.GetViewState()),
	}
	if s.GetInviter() != "" {
		words = append(words, "inviter "+s.GetInviter())
	}
	if left := s.GetRemainingMs(); left > 0 && left <= 1000*s.GetTimeoutS() {
		words = append(words, "ringing")
	} else if left > 0 {
		words = append(words, fmt.Sprintf("ringing for %d ms", left))
	}
	if s.GetIsMainDevice() {
		words = append(words, "main")
	}
	if s.GetEndReason() != 0 {
		words = append(words, printReason(s.GetEndReason()))
	}
	if s.GetCreateTimeMs() == 0 || (s.GetEndTimeMs() != 0) != (s.GetState() == wire.CallState_CALL_STATE_ENDED) {
		words = append(words, fmt.Sprintf("created %d ended %d", s.GetCreateTimeMs(), s.GetEndTimeMs()))
	}
	return strings.Join(words, " ")
}

func printUsers(users []*wire.CallUser) string {
	var out []string
	for _, u := range users {
		word := u.GetUserId() + " " + strings.TrimPrefix(u.GetState().String(), "USER_STATE_")
		if u.GetExtendedData() != "" {
			word += fmt.Sprintf(" %q", u.GetExtendedData())
		}
		if u.GetReason() != 0 {
			word += " " + printReason(u.GetReason())
		}
		out = append(out, word)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func printReason(r wire.Reason) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "REASON_"))
}

func printMode(m wire.CallMode) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "CALL_MODE_"))
}

func printCallState(s wire.CallState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "CALL_STATE_"))
}
