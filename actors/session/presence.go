package session

import (
	"slices"
	"time"

	"carillon/actors/call"
)

func millis(d time.Duration) call.Millis { return call.Millis(d.Milliseconds()) }

// watch notes that a call wants to know; a belief that is wrong is put right at once.
func (t *turn) watch(m Watch) {
	i := slices.IndexFunc(t.watchers, func(w watcher) bool { return w.call == m.Call })
	if i < 0 {
		if len(t.watchers) >= maxWatchers {
			oldest := slices.MinFunc(t.watchers, func(a, b watcher) int { return int(a.until - b.until) })
			t.watchers = slices.DeleteFunc(t.watchers, func(w watcher) bool { return w.call == oldest.call })
		}
		i = len(t.watchers)
		t.watchers = append(t.watchers, watcher{call: m.Call})
	}
	w := &t.watchers[i]
	w.until, w.offline, w.again = t.now+millis(watchLease), m.Offline, 0
}

func (t *turn) heard(m Heard) {
	i := slices.IndexFunc(t.watchers, func(w watcher) bool { return w.call == m.Call })
	switch {
	case i < 0:
	case m.Done:
		t.watchers = slices.Delete(t.watchers, i, i+1)
	default:
		t.watchers[i].offline, t.watchers[i].again = m.Offline, 0
	}
}

func (t *turn) say(w *watcher) {
	w.again = t.now + millis(sayAgain)
	t.do(Presence{Call: w.call, Online: t.online(t.now)})
}

// presence puts right what watchers believe of the user, and repeats what was not heard.
func (t *turn) presence() {
	is := t.online(t.now)
	for i := range t.watchers {
		switch w := &t.watchers[i]; {
		case w.offline != is:
			w.again = 0
		case w.again <= t.now:
			t.say(w)
		}
	}
}
