package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"carillon/transport/client"
)

// bookSize is how many calls a phone remembers.
const bookSize = 256

// book is the calls that a phone has seen, each under a number of its own: call #1 is easier said than a call ID.
type book struct {
	mu      sync.Mutex
	entries []entry // oldest first, at most bookSize
	last    int     // number given last
}

// entry is one call as the phone last heard of it.
type entry struct {
	number int
	call   client.CallInfo
	whole  bool // call is a whole snapshot, not only the users that an event named
}

func (e entry) String() string { return "#" + strconv.Itoa(e.number) }

// note takes in a whole snapshot.
func (b *book) note(info client.CallInfo) entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.at(info.CallID)
	if info.Version >= e.call.Version {
		e.call, e.whole = info, true
		e.call.Users = slices.Clone(info.Users)
	}
	return *e
}

// change takes in users that changed and gives the call before and after.
func (b *book) change(event client.CallUserStateChanged) (before, after entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.at(event.CallID)
	before = *e
	e.call.Users = slices.Clone(e.call.Users)
	for _, u := range event.Users {
		if i := slices.IndexFunc(e.call.Users, func(o client.CallUser) bool { return o.UserID == u.UserID }); i >= 0 {
			e.call.Users[i] = u
		} else {
			e.call.Users = append(e.call.Users, u)
		}
	}
	e.call.Version = max(e.call.Version, event.Version)
	e.call.State = event.CallState
	return before, *e
}

// find gives the entry of a call, adding it if need be.
func (b *book) find(id client.CallID) entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.at(id)
}

// at gives the entry of a call, adding it if need be. b.mu is held.
func (b *book) at(id client.CallID) *entry {
	if i := slices.IndexFunc(b.entries, func(e entry) bool { return e.call.CallID == id }); i >= 0 {
		return &b.entries[i]
	}
	if len(b.entries) == bookSize {
		b.entries = slices.Delete(b.entries, 0, 1)
	}
	b.last++
	b.entries = append(b.entries, entry{number: b.last, call: client.CallInfo{CallID: id}})
	return &b.entries[len(b.entries)-1]
}

// parse reads #1, 1 or a whole call ID.
func (b *book) parse(s string) (client.CallID, error) {
	s = strings.TrimPrefix(s, "#")
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if strconv.Itoa(e.number) == s {
			return e.call.CallID, nil
		}
	}
	id, err := client.ParseCallID(s)
	if err != nil || len(s) < 6 {
		return 0, fmt.Errorf("there is no call %s: give its number as shown, such as #1, or its whole ID", s)
	}
	return id, nil
}

// newest gives the newest call that fits.
func (b *book) newest(fits func(client.CallInfo) bool) (client.CallID, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range slices.Backward(b.entries) {
		if fits(e.call) {
			return e.call.CallID, true
		}
	}
	return 0, false
}
