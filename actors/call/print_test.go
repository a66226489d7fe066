package call

import (
	"fmt"
	"strings"
)

// shortKinds are the names that golden files and scripts use for events.
var shortKinds = map[Kind]string{
	EventCreated: "Created", EventReceived: "Received", EventCancelled: "Cancelled", EventTimeout: "Timeout",
	EventEnded: "Ended", EventUserState: "USC",
}

// print is an event's content as a device reads it in state s.
func (e *Event) print(s *State) string {
	if e.Then != nil {
		s = e.Then
	}
	var in []string
	switch e.Kind {
	case EventUserState:
		for _, u := range e.Changed {
			in = append(in, printUser(s.Find(u)))
		}
	case EventReceived:
		in = append(in, fmt.Sprintf("%s by %s, caller %s", s.Mode, s.Find(e.To).Inviter, s.Caller))
	case EventCreated:
		in = append(in, s.Mode.String())
	case EventCancelled:
		in = append(in, fmt.Sprintf("%s by %s", s.Mode, e.Inviter))
	case EventTimeout:
		in = append(in, s.Mode.String())
	case EventEnded:
		in = append(in, fmt.Sprintf("%s, caller %s", s.Mode, s.Caller))
		if s.EndedBy != "" {
			in = append(in, "operated by "+string(s.EndedBy))
		}
	}
	if e.ExtendedData != "" {
		in = append(in, fmt.Sprintf("%q", e.ExtendedData))
	}
	out := shortKinds[e.Kind] + "[" + strings.Join(in, ", ") + "]"
	if e.Reason != ReasonNone {
		out += " " + e.Reason.String()
	}
	return out
}

func printUser(p *Participant) string {
	out := fmt.Sprintf("%s %s", p.User, p.State)
	if p.ExtendedData != "" {
		out += fmt.Sprintf(" %q", p.ExtendedData)
	}
	return out
}

// printAudience is "A" for all devices, "A1" for one, "A~A1" for all but one.
func (e *Event) printAudience() string {
	switch e.Devices {
	case OnlyDevice:
		return string(e.Device)
	case OtherThan:
		return fmt.Sprintf("%s~%s", e.To, e.Device)
	case AllDevices:
	}
	return string(e.To)
}

func printCall(s *State) string {
	if s.Open() {
		return "Started"
	}
	return fmt.Sprintf("Ended(%s)", s.EndReason)
}

func printErrors(errs []UserError) string {
	out := make([]string, len(errs))
	for i, e := range errs {
		out[i] = fmt.Sprintf("%s %d", e.User, e.Code)
	}
	return strings.Join(out, ", ")
}
