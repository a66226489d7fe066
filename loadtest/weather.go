package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"carillon/transport/wire"
)

// Times of a fault's effects.
const (
	calm      = 15 * time.Second // after the last sign of a fault, calls are held to every event again
	detection = 3 * time.Second  // until the others have noticed that a node is dead
)

// weather is whether something is wrong, or was just now. Servers that we know of and connections that are lost make it.
type weather struct {
	always bool
	until  atomic.Int64 // Unix nanoseconds; a storm until then
	over   atomic.Int64 // the last fault of a server ended then, but for its detection
}

func (w *weather) stormy(now time.Time) bool { return w.always || now.UnixNano() < w.until.Load() }

// sign notes a sign that something is wrong.
func (w *weather) sign(now time.Time) {
	for at := now.Add(calm).UnixNano(); ; {
		old := w.until.Load()
		if old >= at || w.until.CompareAndSwap(old, at) {
			return
		}
	}
}

// fault notes that a server was stopped or is back.
func (w *weather) fault(now time.Time) {
	w.over.Store(now.Add(detection).UnixNano())
	w.sign(now)
}

// fair is when the last fault was over; what was due before may come late.
func (w *weather) fair() time.Time { return time.Unix(0, w.over.Load()) }

// exodus is how devices came back after one fault.
type exodus struct {
	At         float64 `json:"at_s"` // of the fault, on the clock of the seconds
	After      string  `json:"after"`
	Devices    int     `json:"devices"`              // connections that were lost and replaced
	Seconds    float64 `json:"seconds"`              // from the fault until the last of them was back
	Up         float64 `json:"seconds_since_up"`     // from when the last server was up again, 0 if none was started
	CPUPer1000 float64 `json:"login_cpu_s_per_1000"` // of all that the servers did meanwhile, 0 where it cannot be seen
}

const maxDiary = 1000 // that are kept

// diary keeps what was done to the servers, and how the devices came back.
type diary struct {
	mu      sync.Mutex
	began   time.Time // of what is measured
	moments []moment
	leaving []*exodus
	since   time.Time     // the last fault
	up      time.Time     // when a server was last up again after it
	used    time.Duration // the servers' CPU then
	returns int           // of all devices then
}

// faulted notes a moment of a fault. Devices that are lost from now on are lost by it.
func (r *run) faulted(what string) {
	now := time.Now()
	r.weather.fault(now)
	used := r.target.meter.cpu()
	returned := r.crowd.returns.total()
	d := &r.diary
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(now, what)
	d.since, d.up, d.used, d.returns = now, time.Time{}, used, returned
	if len(d.leaving) < maxDiary {
		d.leaving = append(d.leaving, &exodus{At: d.clock(now), After: what})
	}
}

// recovered notes that what a fault has stopped goes on.
func (r *run) recovered(what string) {
	now := time.Now()
	r.weather.fault(now)
	used := r.target.meter.cpu()
	d := &r.diary
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(now, what)
	d.up, d.used = now, used
}

func (d *diary) begin(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = now
}

// note keeps a moment. d.mu is held.
func (d *diary) note(now time.Time, what string) {
	if len(d.moments) < maxDiary {
		d.moments = append(d.moments, moment{At: d.clock(now), What: what})
	}
}

func (d *diary) all() []moment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.moments)
}

// clock is an instant in seconds since measuring began; before that it is 0. d.mu is held.
func (d *diary) clock(now time.Time) float64 {
	if d.began.IsZero() {
		return 0
	}
	return max(0, now.Sub(d.began).Seconds())
}

// moved takes notice that a device was lost or is back.
func (r *run) moved(now time.Time, away int, back bool) {
	r.weather.sign(now)
	if !back || away > 0 {
		return
	}
	used, returned := r.target.meter.cpu(), r.crowd.returns.total()
	d := &r.diary
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.leaving) == 0 {
		return
	}
	e := d.leaving[len(d.leaving)-1]
	e.Devices, e.Seconds = returned-d.returns, now.Sub(d.since).Seconds()
	if !d.up.IsZero() {
		e.Up = max(0, now.Sub(d.up).Seconds())
	}
	if e.Devices > 0 {
		e.CPUPer1000 = (used - d.used).Seconds() / float64(e.Devices) * 1000
	}
}

// tolerate has lost connections replaced and calls go on through faults. It comes before the first login.
func (r *run) tolerate() {
	r.weather = &weather{always: len(r.target.own) == 0}
	b := newReturns()
	b.known, b.synced, b.back, b.moved, b.down = r.known, r.synced, r.resumed, r.moved, r.target.down
	r.crowd.returns = b
	r.target.onEnd(r.faulted)
}

// known is the calls that a login names.
func (r *run) known(u *user) []*wire.KnownCall {
	var out []*wire.KnownCall
	for _, c := range u.open() {
		if k := c.known(u); k != nil {
			out = append(out, k)
		}
	}
	return out
}

// synced takes the sync of a login, before any event that comes after it.
func (r *run) synced(u *user, result *wire.LoginResult, known []*wire.KnownCall) {
	now := time.Now()
	named := map[uint64]uint64{}
	for _, k := range known {
		named[k.GetCallId()] = k.GetVersion()
	}
	told := map[*call]bool{}
	for _, s := range result.GetSync() {
		if c := r.book.find(s.GetCallId(), s.GetExtendedData()); c != nil {
			told[c] = true
			c.synced(u, s, now)
			c.mu.Unlock()
		}
	}
	if result.GetSyncTruncated() {
		return
	}
	for _, c := range u.open() {
		if !told[c] {
			c.unlisted(u, named[c.number()], now)
		}
	}
}

// resumed has a user's calls go on with his new connection.
func (r *run) resumed(u *user) {
	for _, c := range u.open() {
		c.resume(u, time.Now())
	}
}

// number is the call's ID, 0 if it has none yet.
func (c *call) number() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.id
}

// open is the calls of the user that go on.
func (u *user) open() []*call {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*call(nil), u.calls...)
}

// joins and leaves note which calls of the user go on, where connections are replaced.
func (u *user) joins(c *call) {
	if !u.crowd.lenient() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls = append(u.calls, c)
}

func (u *user) leaves(c *call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, one := range u.calls {
		if one == c {
			u.calls = append(u.calls[:i], u.calls[i+1:]...)
			return
		}
	}
}
