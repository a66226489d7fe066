package main

import (
	"fmt"
	"strings"
	"time"

	"carillon/transport/wire"
)

// timing is how long things take in a call.
type timing struct {
	ring     time.Duration // from the ring to the answer or the cancel
	talk     time.Duration // before each later deed
	timeout  time.Duration // of the invitation
	patience time.Duration // until all have heard all of a stage

	// After a fault.
	faultPatience time.Duration // instead of patience
	late          time.Duration // a time-out may be heard so late
}

// ringSlack is how much longer than it was told to a device may ring (SPEC 9.4).
const ringSlack = 2 * time.Second

// clockSlack is how far the server's clock and ours may go apart during a call.
const clockSlack = 100 * time.Millisecond

// maxTrace is how many lines are kept of a call. The longest story has about sixty.
const maxTrace = 200

// ending is how a call came out; zero: it goes on.
type ending uint8

// The endings.
const (
	going ending = iota
	right
	refused // by an overloaded server, which is its right; what was applied before stays as it is
	wrong
)

// metric is what is measured, from the scheduled instant.
type metric uint8

// The metrics: an answer to each deed, and what others learn.
const (
	ringMetric    metric = metric(deeds) + iota // invite, until the invitee's device rings
	knownMetric                                 // invite, until the caller knows that it rings
	wakeMetric                                  // a late callee's login, until his device rings
	toldMetric                                  // a later deed, until another device knows
	lateMetric                                  // the end of an invitation's time, until it stops ringing
	lagMetric                                   // how late this program was
	refusedMetric                               // a deed, until it is refused

	// The same, of calls that a fault may have touched.
	faultToldMetric
	faultLateMetric
	metrics
)

func (m metric) String() string {
	if m < metric(deeds) {
		return deed(m).String() + " answered"
	}
	return [...]string{
		"invite to ring", "invite to ring known", "login to ring", "told to others", "time-out late by", "generator late by",
		"refused after",
		"told, with a fault", "late, with a fault",
	}[m-ringMetric]
}

// sample is one measurement.
type sample struct {
	of   metric
	took time.Duration
}

// heard is how far one device is in a stage.
type heard struct {
	step    int
	seen    uint64 // facts of that step, a bit each
	version uint64 // the highest heard
	facts   []fact // all of the call
	until   time.Time
}

// machine follows one call through its story. It is pure: what was heard and when goes in, what to do next comes out.
type machine struct {
	story  *story
	cast   cast
	timing timing

	stage   int
	due     time.Time // when the present stage's deed is or was to be done
	rang    time.Time // the last ring
	missing int       // facts that the present stage still waits for
	devices [maxDevices]heard

	ending  ending
	why     string
	code    uint32 // of a refusal
	id      uint64
	created int64     // server's clock, Unix milliseconds
	made    time.Time // when it was heard that the call is there
	repeats int       // facts told again, which is harmless
	trace   []line
	born    time.Time
	samples []sample // since they were last taken

	trouble
}

func newMachine(s *story, c cast, t timing, due time.Time) *machine {
	m := &machine{story: s, cast: c, timing: t, born: due}
	m.enter(0, due)
	return m
}

// enter begins a stage whose deed is due then.
func (m *machine) enter(n int, due time.Time) {
	m.stage, m.due, m.missing = n, due, 0
	for r := range m.devices {
		m.devices[r].step, m.devices[r].seen = 0, 0
		for _, facts := range m.story.stages[n].hears[r] {
			m.missing += len(facts)
		}
	}
}

func (m *machine) present() *stage { return &m.story.stages[m.stage] }

// deadline is when the call is wrong if it has not moved on.
func (m *machine) deadline() time.Time {
	if m.on {
		return m.until(m.due, m.timing)
	}
	at := m.due.Add(m.timing.patience)
	for r := range m.devices {
		if d := m.devices[r].until; !d.IsZero() && d.Add(ringSlack).Before(at) {
			at = d.Add(ringSlack)
		}
	}
	return at
}

// expect fails the call when its deadline has passed.
func (m *machine) expect(now time.Time) {
	if m.ending != going || now.Before(m.deadline()) {
		return
	}
	for r := range m.devices {
		if d := m.devices[r].until; !m.on && !d.IsZero() && !now.Before(d.Add(ringSlack)) {
			m.fail(now, "%v rings %v past its deadline", device(r), now.Sub(d).Round(time.Millisecond))
			return
		}
	}
	lacks := m.awaited()
	if m.on {
		lacks = m.lacks(now)
	}
	m.fail(now, "%v after %v's %v was due: %s", now.Sub(m.due).Round(time.Millisecond), m.present().by, m.present().do, lacks)
}

// awaited says what the present stage waits for.
func (m *machine) awaited() string {
	var out []string
	for r, steps := range m.present().hears {
		d := &m.devices[r]
		if d.step < len(steps) {
			for i, f := range steps[d.step] {
				if d.seen&(1<<i) == 0 {
					out = append(out, fmt.Sprint(device(r), " has not heard ", f))
				}
			}
		}
	}
	return strings.Join(out, "; ")
}

// hear takes what a device was told. It reports whether a new stage begins.
func (m *machine) hear(by device, f fact, now time.Time) bool {
	m.note(line{at: now, by: by, hears: f})
	m.expect(now) // what comes too late is wrong, although it comes
	if m.on {
		return m.hearLoosely(by, f, now)
	}
	d := &m.devices[by]
	if m.ending == wrong || m.ending == refused {
		return false
	}
	if m.repeated(d, f) {
		m.repeats++
		return false
	}
	if m.ending == right {
		m.fail(now, "%v hears after the end: %v", by, f)
		return false
	}
	if !m.matches(d, by, f) {
		m.fail(now, "%v hears %v, expected: %s", by, f, m.awaited())
		return false
	}
	d.version = max(d.version, f.version)
	d.facts = append(d.facts, f)
	m.missing--
	m.measure(by, f, now)
	if m.missing > 0 {
		return false
	}
	return m.advance(now)
}

// repeated reports whether a device would drop f: it is older than what it knows, or says it once more (SPEC 3).
func (m *machine) repeated(d *heard, f fact) bool {
	if f.version < d.version && !f.kind.asked() {
		return true
	}
	for _, old := range d.facts {
		if old == f || f.kind == received && old.kind == received && old.version == f.version {
			return true
		}
	}
	return false
}

// matches reports whether f is what the device must hear now, and ticks it off.
func (m *machine) matches(d *heard, by device, f fact) bool {
	steps := m.present().hears[by]
	if d.step == len(steps) {
		return false
	}
	facts := steps[d.step]
	for i, want := range facts {
		if want == f && d.seen&(1<<i) == 0 {
			if d.seen |= 1 << i; d.seen == 1<<len(facts)-1 {
				d.step, d.seen = d.step+1, 0
			}
			return true
		}
	}
	return false
}

func (m *machine) measure(by device, f fact, now time.Time) {
	g, took := m.present(), now.Sub(m.due)
	told := !g.do.invites() && g.do != login && g.do != expire
	switch {
	case f.kind.asked():
		if !m.on {
			m.settled(now)
		}
		m.samples = append(m.samples, sample{metric(g.do), took})
	case f.kind == received:
		m.rang = now
		of := ringMetric
		if g.do == login {
			of = wakeMetric
		}
		m.samples = append(m.samples, sample{of, took})
	case f.kind == timedOut && !m.devices[by].until.IsZero():
		m.samples = append(m.samples, sample{lateMetric, now.Sub(m.devices[by].until)})
	case g.do.invites() && by == g.by && f.by != g.by.role():
		m.samples = append(m.samples, sample{knownMetric, took})
	case by != g.by && told:
		m.samples = append(m.samples, sample{toldMetric, took})
		if m.on {
			m.samples = append(m.samples, sample{faultToldMetric, now.Sub(latest(m.due, m.back[by], m.back[max(g.by, 0)]))})
		}
	}
	if f.kind == cancelled || f.kind == timedOut || f.kind == ended || f.kind == answer && (g.do == accept || g.do == reject) ||
		f.reason == wire.Reason_REASON_ANSWERED_ELSEWHERE {
		m.devices[by].until = time.Time{}
	}
}

// begun notes that the caller has heard of his call, and when it was created by the server's clock.
func (m *machine) begun(at int64, now time.Time) { m.created, m.made = at, now }

// rings notes for how long a device was told to ring, and what the server says of the call. All of that is the rest of the
// invitation's time: the call was created after it was due, and before its caller heard of it.
func (m *machine) rings(by device, s *wire.CallSnapshot, now time.Time) {
	if m.created == 0 {
		m.created = s.GetCreateTimeMs()
	}
	if m.ending != going {
		return
	}
	left := time.Duration(s.GetRemainingMs()) * time.Millisecond
	least, most := m.timing.timeout-now.Sub(m.born), m.timing.timeout
	if m.present().do == login {
		most -= m.due.Sub(m.made)
	}
	if m.on {
		least, most = 0, m.mostLeft(now)
	}
	if left < least-clockSlack || left > most+clockSlack {
		m.fail(now, "%v is told to ring for %v, where %v to %v are left", by, left, least, most)
		return
	}
	m.devices[by].until = now.Add(left)
}

// expired checks that an invitation has had all of its time, by the server's own clock.
func (m *machine) expired(by device, at int64, now time.Time) {
	if early := m.created + m.timing.timeout.Milliseconds() - at; early > 0 && m.ending == going {
		m.fail(now, "%v hears that an invitation timed out %d ms early", by, early)
	}
}

// advance begins the next stage, or ends the story well.
func (m *machine) advance(now time.Time) bool {
	if m.stage+1 == len(m.story.stages) {
		m.ending = right
		return false
	}
	wait, afterRing := m.story.pause(m.stage+1, m.timing)
	if afterRing && !m.rang.IsZero() {
		now = m.rang
	}
	m.enter(m.stage+1, now.Add(wait))
	return true
}

// refuse takes a refusal of the present stage's deed.
func (m *machine) refuse(code uint32, message string, now time.Time) {
	if m.ending != going {
		return
	}
	m.code = code
	text := fmt.Sprintf("%v's %v is refused: %d %s", m.present().by, m.present().do, code, message)
	if code != tooFrequent {
		m.fail(now, "%s", text)
		return
	}
	m.note(line{at: now, text: text})
	m.samples = append(m.samples, sample{refusedMetric, now.Sub(m.due)})
	m.ending, m.why = refused, message
	m.quiet()
}

func (m *machine) fail(now time.Time, format string, args ...any) {
	m.ending, m.why = wrong, fmt.Sprintf(format, args...)
	m.note(line{at: now, text: "WRONG: " + m.why})
	m.quiet()
}

// quiet forgets who rings: a call that has failed is not watched any more.
func (m *machine) quiet() {
	for r := range m.devices {
		m.devices[r].until = time.Time{}
	}
}

// line is one of a trace: what a device hears, or a text.
type line struct {
	at    time.Time
	by    device
	hears fact
	text  string
}

func (m *machine) note(l line) {
	if len(m.trace) < maxTrace {
		m.trace = append(m.trace, l)
	}
}

// lines is the trace, for people.
func (m *machine) lines() []string {
	var out []string
	for _, l := range m.trace {
		text := l.text
		if text == "" {
			text = fmt.Sprintf("%v hears %v", l.by, l.hears)
		}
		out = append(out, fmt.Sprintf("%+9.1f ms  %s", float64(l.at.Sub(m.born).Microseconds())/1000, text))
	}
	return out
}
