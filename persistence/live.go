package persistence

import (
	"errors"
	"math"
	"sync"

	"carillon/actors/call"
)

// liveCalls is which calls are live for whom: what the records of the open calls say, kept in memory beside them. As with all that
// Pebble shows, what has just been written isn't durable yet.
type liveCalls struct {
	mu sync.Mutex
	of lists
}

func (l *liveCalls) set(user call.UserID, created call.Millis, id call.ID, remove bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of.set(user, line{created, id}, remove)
}

func (l *liveCalls) newest(user call.UserID) []call.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of.newest(user, maxPending)
}

// unreadable is the revision of a damaged record: nothing may be written over it.
const unreadable = math.MaxUint64

// survey reads the open calls, before anybody writes.
func (p *Pebble) survey() (map[call.ID]standing, error) {
	latest := make(map[call.ID]standing)
	err := p.scan(recordKey(nil, among, 0), append(recordKey(nil, among, math.MaxUint64), 0), func(key, value []byte) (bool, error) {
		id := idOf(key)
		s, err := p.alarm.read(id, value)
		if errors.Is(err, errCorrupt) || errors.Is(err, call.ErrNewer) { // whoever loads it is told
			latest[id] = standing{among, unreadable}
			return true, nil
		}
		if err != nil {
			return false, err
		}
		latest[id] = standing{among, s.Revision}
		for i := range s.Users {
			if live(&s, &s.Users[i]) {
				p.live.set(s.Users[i].User, s.Created, id, false)
			}
		}
		return true, nil
	})
	return latest, err
}
