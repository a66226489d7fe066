package session

import (
	"slices"
	"time"

	"carillon/actors/call"
)

// Conn names one client connection: the node whose gateway holds it, and its number there.
type Conn struct {
	Node string
	ID   uint64
}

// Rules are the settings that sessions run under.
type Rules struct {
	Node             string        // the session's own; messages to connections of others may be lost
	MaxDevices       int           // online at once, 1..100 (SPEC 4)
	HeartbeatTimeout time.Duration // silence after which a device is offline; also the grace after a broken connection
}

// Limits of one session's memory and patience.
const (
	MaxCalls    = 256             // calls asked for one login's sync
	maxWatchers = 256             // calls that may watch one user
	maxLatest   = 32              // calls whose last version is remembered
	maxHeld     = 64 << 10        // bytes held for a device whose login is not answered yet
	syncWait    = 2 * time.Second // how long a login waits for the calls it asked
	askAgain    = 500 * time.Millisecond
	watchLease  = 25 * time.Second // a watcher that has not renewed for this long has lost interest
	sayAgain    = time.Second      // an unheard word of presence is repeated
	auditAfter  = time.Second      // from a delivery to another node to the question whether it has arrived
)

// State is one user's session. Use New.
type State struct {
	rules    Rules
	devices  []device
	watchers []watcher
	latest   []latest    // of the calls that told something lately, at most maxLatest
	fresh    call.Millis // until then devices that were not seen yet count as in grace; zero = over
	used     bool        // it has heard something
}

// device is one device, online (Conn set) or in grace.
type device struct {
	id      call.DeviceID
	conn    Conn
	seen    call.Millis // last frame
	joining *join       // its login is not answered yet
	sent    uint64      // number of the last delivery to conn
	heard   uint64      // number of the last one that conn is known to have got
	audit   call.Millis // when to ask conn; zero = it has got all, or loses nothing
}

// join is a login that waits for the calls it asked.
type join struct {
	login  Login
	await  []awaited
	synced []Synced
	held   []Deliver
	size   int         // bytes in held
	again  call.Millis // when to ask again those that have not answered
	until  call.Millis // when to go on without them
}

// awaited is a call that has not said its word for a login.
type awaited struct {
	call call.ID
	seq  uint64 // it has told the session of this change meanwhile: an older word comes too late
}

// latest is what a call has told: its version, and the changes that were handed on, of one life of its owner.
type latest struct {
	call      call.ID
	version   uint64
	epoch     uint64
	from, seq uint64
	rang      uint64 // the last invitation that was handed on
}

// watcher is a call that wants to know whether the user is there.
type watcher struct {
	call    call.ID
	until   call.Millis
	offline bool        // what the call believes
	again   call.Millis // when to say it again; zero = heard
}

// New is a session that has just come to life at instant now and knows nobody yet.
func New(r Rules, now time.Time) *State {
	return &State{rules: r, fresh: call.At(now.Add(r.HeartbeatTimeout))}
}

// Online reports whether a device of the user is online or in grace at instant now (SPEC 5).
func (s *State) Online(now time.Time) bool { return s.online(call.At(now)) }

func (s *State) online(now call.Millis) bool { return len(s.devices) > 0 || now < s.fresh }

// Resume says that until instant at nobody could hear anything: what devices did not say before it is no silence.
func (s *State) Resume(at time.Time) {
	for i := range s.devices {
		s.devices[i].seen = max(s.devices[i].seen, call.At(at))
	}
}

// Connected is how many devices have a connection.
func (s *State) Connected() int {
	n := 0
	for i := range s.devices {
		if s.devices[i].conn != (Conn{}) {
			n++
		}
	}
	return n
}

// Idle reports whether nothing is lost when the session is forgotten: no device, and nobody who wants to know.
func (s *State) Idle() bool { return len(s.devices) == 0 && len(s.watchers) == 0 }

func (s *State) byConn(c Conn) *device {
	if c == (Conn{}) {
		return nil
	}
	for i := range s.devices {
		if s.devices[i].conn == c {
			return &s.devices[i]
		}
	}
	return nil
}

func (s *State) byID(id call.DeviceID) *device {
	for i := range s.devices {
		if s.devices[i].id == id {
			return &s.devices[i]
		}
	}
	return nil
}

func (s *State) drop(id call.DeviceID) {
	s.devices = slices.DeleteFunc(s.devices, func(d device) bool { return d.id == id })
}

// Deadline is when the session next changes by itself; zero means never.
func (s *State) Deadline() time.Time {
	var next call.Millis
	soonest := func(m call.Millis) {
		if m != 0 && (next == 0 || m < next) {
			next = m
		}
	}
	if len(s.watchers) > 0 && len(s.devices) == 0 {
		soonest(s.fresh)
	}
	for i := range s.devices {
		d := &s.devices[i]
		soonest(d.seen + s.timeout())
		soonest(d.audit)
		if d.joining != nil {
			soonest(d.joining.again)
		}
	}
	for i := range s.watchers {
		soonest(s.watchers[i].until)
		soonest(s.watchers[i].again)
	}
	return next.Time()
}

func (s *State) timeout() call.Millis { return call.Millis(s.rules.HeartbeatTimeout.Milliseconds()) }
