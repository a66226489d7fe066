package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"carillon/transport/client"
)

// stateWords say how a user stands in a call, after his name.
var stateWords = map[client.UserState]string{
	client.Inviting: "invited", client.Received: "ringing", client.NotYetReceived: "not reached", client.Accepted: "in the call",
	client.Rejected: "declined", client.Cancelled: "cancelled", client.BeCancelled: "cancelled", client.Timeout: "no answer",
	client.Quit: "left",
}

// show tells one event.
func (p *phone) show(event client.Event) {
	switch e := event.(type) {
	case client.ConnectionStateChanged:
		p.showConnection(e)
	case client.CallInvitationCreated:
		c := p.book.note(e.Call)
		p.screen.line(bold, "%v you started %s call%s%s; call ID %v", c, article(e.Call.Mode), p.roster(e.Call), quoted(e.Call.ExtendedData), e.CallID)
	case client.CallInvitationReceived:
		p.rings.add()
		c := p.book.note(e.Call)
		p.screen.line(yellow, "%v RING: %s invites you to %s call, %d s left: accept or reject%s%s; call ID %v", c, e.Call.Inviter, article(e.Call.Mode),
			int(e.Call.Remaining.Round(time.Second).Seconds()), p.roster(e.Call), quoted(e.Call.ExtendedData), e.CallID)
	case client.CallInvitationCancelled:
		p.over(e.CallID, e.Version)
		p.screen.line(red, "%v stops ringing: %s%s", p.book.find(e.CallID), p.cancelWords(e), quoted(e.ExtendedData))
	case client.CallInvitationTimeout:
		p.over(e.CallID, e.Version)
		p.screen.line(red, "%v stops ringing: you did not answer", p.book.find(e.CallID))
	case client.CallInvitationEnded:
		p.over(e.CallID, e.Version)
		p.screen.line(red, "%v is over: %s%s", p.book.find(e.CallID), p.endWords(e), quoted(e.ExtendedData))
	case client.CallUserStateChanged:
		p.showChange(e)
	case client.KickedOut:
		p.screen.line(red, "kicked out by device %s", e.ByDeviceID)
	case client.TokenWillExpire:
		p.screen.line(yellow, "your token expires in %v", e.Left.Round(time.Second))
	case client.GoAway:
		to := ""
		if e.ReconnectTo != "" {
			to = " to " + e.ReconnectTo
		}
		p.screen.line(dim, "the server sends this phone on%s, in %v", to, e.ReconnectAfter.Round(time.Millisecond))
	}
	p.banner()
}

func (p *phone) showConnection(e client.ConnectionStateChanged) {
	switch e.State {
	case client.Connected:
		p.screen.line(green, "%s", p.arrive(e))
	case client.Reconnecting:
		p.screen.line(yellow, "connection lost, reconnecting (%v)", e.Reason)
	default: // Connecting and Disconnected are told by who asked for them
	}
}

// arrive says to which node the phone is connected now, and whether it has moved.
func (p *phone) arrive(e client.ConnectionStateChanged) string {
	node := e.Address
	if e.Node != "" {
		node += " (node " + e.Node + ")"
	}
	before := p.node
	p.node = node
	switch before {
	case "":
		return "connected to " + node
	case node:
		return "connected again to " + node
	default:
		return "moved to " + node
	}
}

// over marks a call as nothing to act on any more.
func (p *phone) over(id client.CallID, version uint64) {
	p.book.change(client.CallUserStateChanged{
		EventInfo: client.EventInfo{CallID: id, Version: version}, CallState: p.stateOver(id),
	})
}

// stateOver keeps an advanced call joinable for one whose own invitation is over.
func (p *phone) stateOver(id client.CallID) client.CallState {
	if c := p.book.find(id).call; c.Mode == client.Advanced && c.State == client.Started {
		return client.Started
	}
	return client.Ended
}

func (p *phone) showChange(e client.CallUserStateChanged) {
	before, after := p.book.change(e)
	var what []string
	for _, u := range e.Users {
		old, _ := before.call.User(u.UserID)
		if u.UserID != p.user && u.State == client.Accepted && old.State != client.Accepted {
			p.answers.add()
		}
		if !before.whole || p.news(u, old.State) {
			what = append(what, p.changeWords(u, old.State, e)+quoted(u.ExtendedData))
		}
	}
	if !before.whole && e.ActingUser == p.user && e.ActingDevice == p.device && len(what) > 1 {
		return // the call that this device has just started: Created tells it
	}
	if len(what) == 0 && e.CallState == client.Started {
		return
	}
	tail := p.roster(after.call)
	if e.CallState == client.Ended {
		tail += "; the call is over" + because(e.Reason)
	}
	p.screen.line(styleOf(e), "%v %s%s", after, strings.Join(what, ", "), tail)
}

// news reports whether a change is worth a line: not what was told before (a sync states it again), nor that it rings here.
func (p *phone) news(u client.CallUser, old client.UserState) bool {
	switch u.State {
	case client.Accepted:
		return true // the call may have moved to another device
	case client.Inviting:
		return !old.Pending()
	case client.Received:
		return old != client.Received && u.UserID != p.user
	default:
		return u.State != old
	}
}

func styleOf(e client.CallUserStateChanged) style {
	if len(e.Users) > 0 && e.Users[0].State == client.Accepted {
		return green
	}
	return plain
}

// changeWords say what became of one user.
func (p *phone) changeWords(u client.CallUser, old client.UserState, e client.CallUserStateChanged) string {
	me := u.UserID == p.user
	switch {
	case me && e.Reason == client.ReasonAnsweredElsewhere:
		return fmt.Sprintf("you answered on device %s (%s); join moves the call here", e.ActingDevice, stateWords[u.State])
	case me && e.Reason == client.ReasonMovedToOtherDevice:
		return fmt.Sprintf("you went on with device %s; join moves the call back", e.ActingDevice)
	}
	name := p.name(u.UserID)
	switch u.State {
	case client.Inviting:
		if e.ActingUser != "" {
			return fmt.Sprintf("%s invited %s", p.name(e.ActingUser), name)
		}
		return "invited: " + name
	case client.Received:
		return "it rings at " + name
	case client.NotYetReceived:
		return name + " could not be reached yet"
	case client.Accepted:
		if old.Pending() {
			return name + " accepted"
		}
		return name + " joined"
	case client.Rejected:
		return name + " declined"
	case client.Cancelled:
		return name + " cancelled the call"
	case client.BeCancelled:
		return "the invitation of " + name + " was taken back" + because(u.Reason)
	case client.Timeout:
		return name + " did not answer"
	case client.Quit:
		return name + " left" + because(u.Reason)
	default:
		return name + ": " + u.State.String()
	}
}

func (p *phone) cancelWords(e client.CallInvitationCancelled) string {
	if e.Reason == client.ReasonCallerOffline {
		return e.Inviter + " is gone (caller_offline)"
	}
	return e.Inviter + " took the invitation back"
}

func (p *phone) endWords(e client.CallInvitationEnded) string {
	if e.OperatedUserID != "" {
		return p.name(e.OperatedUserID) + " ended it"
	}
	return "the server ended it" + because(e.Reason)
}

// banner keeps the prompt: who rings and for how long, or with whom this user speaks.
func (p *phone) banner() {
	now := time.Now()
	for _, c := range slices.Backward(p.client.Calls()) {
		if left := c.RingUntil.Sub(now); p.ringing(c) && left > 0 {
			look := alarm
			if now.UnixMilli()/phoneTick.Milliseconds()%2 == 0 {
				look = alarm2
			}
			text := fmt.Sprintf("((( %s rings )))  %v, %d s: accept or reject?", c.Inviter, p.book.find(c.CallID), int(left.Seconds()+0.5))
			p.screen.status(look, text, p.user+"> ", look == alarm)
			return
		}
	}
	p.screen.status(green, p.talk(), p.user+"> ", false)
}

// talk names those with whom this user is in a call.
func (p *phone) talk() string {
	for _, c := range slices.Backward(p.client.Calls()) {
		if p.stateIn(c) != client.Accepted || c.State != client.Started {
			continue
		}
		var names []string
		for _, u := range c.Users {
			if u.UserID != p.user && (u.State == client.Accepted || u.State.Pending()) {
				name := u.UserID
				if u.State.Pending() {
					name += "?"
				}
				names = append(names, name)
			}
		}
		return fmt.Sprintf("[%v with %s]", p.book.find(c.CallID), strings.Join(names, ", "))
	}
	return ""
}

// turnedAway names the invitees that an operation did not reach.
func (p *phone) turnedAway(users []client.ErrorUser) {
	for _, u := range users {
		p.screen.line(red, "not %s: %v", u.UserID, u.Code)
	}
}

// roster says how everybody stands.
func (p *phone) roster(c client.CallInfo) string {
	if len(c.Users) == 0 {
		return ""
	}
	parts := make([]string, 0, len(c.Users))
	for _, u := range c.Users {
		word, ok := stateWords[u.State]
		if !ok {
			word = u.State.String()
		}
		parts = append(parts, p.name(u.UserID)+" "+word)
	}
	return "  [" + strings.Join(parts, ", ") + "]"
}

func (p *phone) name(user string) string {
	if user == p.user {
		return "you"
	}
	return user
}

func article(m client.Mode) string {
	if m == client.Advanced {
		return "an advanced"
	}
	return "a common"
}

func because(r client.Reason) string {
	if r == client.ReasonNone {
		return ""
	}
	return " (" + r.String() + ")"
}

func quoted(data string) string {
	if data == "" {
		return ""
	}
	return fmt.Sprintf(" %q", data)
}
