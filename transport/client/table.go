package client

import (
	"maps"
	"slices"
	"time"

	"carillon/transport/wire"
)

// Bounds of what a client remembers.
const (
	maxCalls  = 256 // live calls; above, the oldest is forgotten
	maxGraves = 256 // versions of calls that are over for this device
	reringing = 2 * time.Second
)

// table is what this device believes of its calls: the snapshots that the events shown to the app add up to. It belongs
// to Client.mu and makes no sound: its methods tell what the app must hear.
type table struct {
	user, device string
	live         map[CallID]*known
	order        []CallID // of live, oldest first
	graves       map[CallID]grave
	buried       []CallID // of graves, oldest first
}

// known is a call that is live here. IsMainDevice holds for every call in which the user is Accepted.
type known struct {
	CallInfo
	rang bool // the app was told that it rings
}

// grave is a call that is over for this device: an event below its version is old news.
type grave struct {
	version  uint64
	silenced bool // by its own clock: the server's Timeout would be the second one
}

func (t *table) list() []CallInfo {
	list := make([]CallInfo, 0, len(t.order))
	for _, id := range t.order {
		call := t.live[id].CallInfo
		call.Users = slices.Clone(call.Users)
		list = append(list, call)
	}
	return list
}

func (c *Client) known() []*wire.KnownCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*wire.KnownCall, 0, len(c.calls.order))
	for _, id := range c.calls.order {
		list = append(list, &wire.KnownCall{CallId: uint64(id), Version: c.calls.live[id].Version})
	}
	return list
}

// version is the highest version seen of a call; 0: none.
func (t *table) version(id CallID) uint64 {
	if k := t.live[id]; k != nil {
		return k.Version
	}
	return t.graves[id].version
}

func (t *table) own(call *CallInfo) UserState {
	me, _ := call.User(t.user)
	return me.State
}

// liveHere reports whether a call is for this device to follow: it rings, or this is the main device of one who is in it.
func (t *table) liveHere(call *CallInfo) bool {
	own := t.own(call)
	return call.State != Ended && (own.Pending() || own == Accepted && call.IsMainDevice)
}

// see takes a snapshot of the server's, which is the truth at its version.
func (t *table) see(call CallInfo) {
	if call.Version < t.version(call.CallID) {
		return
	}
	if !t.liveHere(&call) {
		t.bury(call.CallID, call.Version)
		return
	}
	k := t.live[call.CallID]
	if k == nil {
		k = t.raise(call.CallID)
	}
	pending := t.own(&call).Pending()
	if pending && call.RingUntil.IsZero() {
		call.RingUntil = k.RingUntil
	}
	k.CallInfo = call
	k.rang = k.rang && pending
}

// raise makes room for a call and enters it.
func (t *table) raise(id CallID) *known {
	if t.live == nil {
		t.live = make(map[CallID]*known)
	}
	if len(t.order) >= maxCalls {
		t.bury(t.order[0], t.live[t.order[0]].Version)
	}
	delete(t.graves, id)
	t.buried = without(t.buried, id)
	k := &known{CallInfo: CallInfo{CallID: id}}
	t.live[id] = k
	t.order = append(t.order, id)
	return k
}

func (t *table) bury(id CallID, version uint64) {
	version = max(version, t.version(id))
	delete(t.live, id)
	t.order = without(t.order, id)
	if t.graves == nil {
		t.graves = make(map[CallID]grave)
	}
	g, again := t.graves[id]
	if !again {
		if len(t.buried) >= maxGraves {
			delete(t.graves, t.buried[0])
			t.buried = t.buried[1:]
		}
		t.buried = append(t.buried, id)
	}
	g.version = version
	t.graves[id] = g
}

func without(ids []CallID, id CallID) []CallID {
	if i := slices.Index(ids, id); i >= 0 {
		return slices.Delete(ids, i, i+1)
	}
	return ids
}

// apply takes an event of the server and reports whether the app is to hear it.
func (t *table) apply(ev Event) bool {
	switch e := ev.(type) {
	case CallInvitationCreated:
		if t.old(e.EventInfo) {
			return false
		}
		call := e.Call
		call.IsMainDevice = call.IsMainDevice || e.ActingDevice == t.device
		t.see(call)
	case CallInvitationReceived:
		return !t.old(e.EventInfo) && t.rings(e.Call)
	case CallInvitationCancelled:
		return t.over(e.EventInfo)
	case CallInvitationTimeout:
		return !t.graves[e.CallID].silenced && t.over(e.EventInfo)
	case CallInvitationEnded:
		return t.over(e.EventInfo)
	case CallUserStateChanged:
		if t.old(e.EventInfo) {
			return false
		}
		t.change(e)
	}
	return true
}

func (t *table) old(e EventInfo) bool { return e.Version < t.version(e.CallID) }

func (t *table) over(e EventInfo) bool {
	if t.old(e) {
		return false
	}
	t.bury(e.CallID, e.Version)
	return true
}

// anew reports whether call, in which this user is pending as in k, is another invitation than the one that k is about: two
// changes at least lie between, the end of the one and the other, and it ends later. Word of the same one that was long on its
// way only seems to end later.
func (t *table) anew(k *known, call *CallInfo) bool {
	return call.Version >= k.Version+2 && call.RingUntil.After(k.RingUntil.Add(reringing))
}

// rings takes an invitation and reports whether it is news: not when the app already rings for it.
func (t *table) rings(call CallInfo) bool {
	k := t.live[call.CallID]
	again := k != nil && k.rang && t.own(&k.CallInfo).Pending() && !t.anew(k, &call)
	if g, over := t.graves[call.CallID]; over && g.silenced && g.version == call.Version {
		return false
	}
	t.see(call)
	if k = t.live[call.CallID]; k == nil || !t.own(&k.CallInfo).Pending() {
		return false
	}
	k.rang = true
	return !again
}

// change applies callUserStateChanged. An event about a call that the device does not follow changes nothing here, unless
// it brings this user into the call.
func (t *table) change(e CallUserStateChanged) {
	k := t.live[e.CallID]
	i := slices.IndexFunc(e.Users, func(u CallUser) bool { return u.UserID == t.user })
	elsewhere := e.Reason == ReasonAnsweredElsewhere || e.Reason == ReasonMovedToOtherDevice
	switch {
	case e.CallState == Ended || i >= 0 && elsewhere:
		t.bury(e.CallID, e.Version)
		return
	case k == nil && (i < 0 || e.Users[i].State != Accepted && !e.Users[i].State.Pending()):
		if t.version(e.CallID) > 0 {
			t.bury(e.CallID, e.Version)
		}
		return
	case k == nil:
		k = t.raise(e.CallID)
	}
	k.Version, k.State = e.Version, Started
	k.Users = slices.Clone(k.Users) // events that the app has hold the old ones
	for _, u := range e.Users {
		j := slices.IndexFunc(k.Users, func(old CallUser) bool { return old.UserID == u.UserID })
		if j < 0 {
			k.Users = append(k.Users, u)
		} else {
			k.Users[j] = u
		}
	}
	own := t.own(&k.CallInfo)
	k.IsMainDevice = own == Accepted
	if !own.Pending() {
		k.rang, k.Remaining, k.RingUntil = false, 0, time.Time{}
	}
	if !t.liveHere(&k.CallInfo) {
		t.bury(e.CallID, e.Version)
	}
}

// pending reports whether a call is live here in which somebody has not answered yet: it rings here, or this device waits for
// others.
func (t *table) pending() bool {
	for _, k := range t.live {
		if slices.ContainsFunc(k.Users, func(u CallUser) bool { return u.State.Pending() }) {
			return true
		}
	}
	return false
}

// nextSilence is when the first invitation runs out; zero: there is none.
func (t *table) nextSilence() time.Time {
	var first time.Time
	for k := range maps.Values(t.live) {
		if !k.RingUntil.IsZero() && (first.IsZero() || k.RingUntil.Before(first)) {
			first = k.RingUntil
		}
	}
	return first
}

// silence forgets the invitations that have run out by now without a word from the server, and gives the Timeout of each
// that rang.
func (t *table) silence(now time.Time) []Event {
	var events []Event
	for _, id := range slices.Clone(t.order) {
		k := t.live[id]
		if k.RingUntil.IsZero() || k.RingUntil.After(now) {
			continue
		}
		t.bury(id, k.Version)
		if !k.rang {
			continue
		}
		g := t.graves[id]
		g.silenced = true
		t.graves[id] = g
		events = append(events, CallInvitationTimeout{
			EventInfo: EventInfo{CallID: id, Version: k.Version, Reason: ReasonConnectionLost, Time: now, Local: true}, Mode: k.Mode,
		})
	}
	return events
}
