package main

import (
	"sync"
	"time"

	"carillon/transport/wire"
)

// tooFrequent is the refusal that an overloaded server may give (SPEC 4).
const tooFrequent = 6000005

// settle is how long a call is listened to after its end: nothing may follow.
const settle = 500 * time.Millisecond

// call joins a machine with the connections of its cast. Locks are taken in the order book, call, user.
type call struct {
	run    *run
	name   string // its extended data, unique in the run
	counts bool   // in the figures; calls of the warm-up are only checked

	mu       sync.Mutex
	machine  *machine
	devices  [maxDevices]*user // nil: not logged in
	visitors []*user           // of those
	seats    []*seat           // of the visitors who have not set out yet
	attempt  *attempt          // the present deed, where connections are replaced
	retiring bool
	retired  bool
}

// begin does the first deed and watches over the call from now on.
func (c *call) begin(now time.Time) {
	c.run.agenda.at(c.look(now), c.watch) // before others can hear of the call
	c.act(0, now)
}

// act does the deed of a stage, if the call is still in it.
func (c *call) act(stage int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.machine
	if m.ending != going || m.stage != stage {
		return
	}
	g := m.present()
	if g.do == expire { // the time was over before the deed
		return
	}
	if g.do == invite {
		c.run.tally.measure(c.counts, sample{lagMetric, now.Sub(m.due)})
	}
	m.note(line{at: now, text: g.by.String() + " sends " + g.do.String()})
	m.sends(now)
	if g.do == login {
		c.summon(g.by)
		return
	}
	if c.run.weather != nil {
		c.pursue(g, now)
		return
	}
	err := errLeft
	if u := c.devices[g.by]; u != nil {
		err = u.ask(c.frame(g), func(r *wire.Response) { c.answered(g, r, time.Now()) })
	}
	if err != nil {
		m.fail(now, "%v cannot send %v: %v", g.by, g.do, err)
		c.proceed(now, false)
	}
}

// frame is the request of a deed. c.mu is held.
func (c *call) frame(g *stage) *wire.ClientFrame {
	var names []string
	for _, r := range g.who {
		names = append(names, c.machine.cast[r])
	}
	id := c.machine.id
	switch g.do {
	case invite:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{
			Invitees: names, TimeoutS: uint32(c.machine.timing.timeout / time.Second), Mode: c.machine.story.mode, ExtendedData: c.name,
		}}}
	case accept:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallAccept{CallAccept: &wire.CallAccept{CallId: id}}}
	case reject:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallReject{CallReject: &wire.CallReject{CallId: id}}}
	case cancel:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallCancel{CallCancel: &wire.CallCancel{CallId: id}}}
	case add:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallingInvite{CallingInvite: &wire.CallingInvite{CallId: id, Invitees: names}}}
	case join:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallJoin{CallJoin: &wire.CallJoin{CallId: id}}}
	case quit:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallQuit{CallQuit: &wire.CallQuit{CallId: id}}}
	case list:
		return &wire.ClientFrame{Body: &wire.ClientFrame_QueryCallInvitationList{QueryCallInvitationList: &wire.QueryCallInvitationList{}}}
	default:
		return &wire.ClientFrame{Body: &wire.ClientFrame_CallEnd{CallEnd: &wire.CallEnd{CallId: id}}}
	}
}

// answered takes the answer to the deed of a stage.
func (c *call) answered(g *stage, answer *wire.Response, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply(g, answer, now)
}

// reply is answered with c.mu held.
func (c *call) reply(g *stage, answer *wire.Response, now time.Time) {
	m := c.machine
	if code := answer.GetCode(); code != 0 {
		m.refuse(code, answer.GetMessage(), now)
		c.proceed(now, false)
		return
	}
	f, err := m.cast.reply(g.do, m.id, answer)
	if err != nil {
		m.fail(now, "the answer to %v's %v %v", g.by, g.do, err)
		c.proceed(now, false)
		return
	}
	c.proceed(now, m.hear(g.by, f, now))
}

// hear takes an event that one of the cast was told. c.mu is held.
func (c *call) hear(u *user, e *wire.Event, now time.Time) {
	m := c.machine
	c.feel(now)
	r, err := m.cast.role(u.name)
	if err != nil {
		m.fail(now, "an event of this call goes to %s, who is not in it", u.name)
		c.proceed(now, false)
		return
	}
	d := r.device(u.device)
	ring := e.GetCallInvitationReceived()
	if ring != nil { // a device acknowledges whatever rings
		c.receipt(u)
	}
	f, err := m.cast.event(e)
	if err != nil {
		m.fail(now, "an event to %v %v", d, err)
		c.proceed(now, false)
		return
	}
	switch {
	case f.kind == created:
		m.begun(e.GetCallInvitationCreated().GetCreateTimeMs(), now)
	case f.reason == wire.Reason_REASON_NO_ANSWER:
		m.expired(d, e.GetTimeMs(), now)
	}
	repeats := m.repeats
	next := m.hear(d, f, now)
	if ring != nil && m.repeats == repeats {
		m.rings(d, ring, now)
	}
	c.proceed(now, next)
}

// identify gives the call its ID. An invitation makes one call. c.mu is held.
func (c *call) identify(id uint64) {
	if m := c.machine; m.id != 0 && m.id != id {
		m.fail(time.Now(), "the invitation has made two calls, %d and %d", m.id, id)
		c.proceed(time.Now(), false)
		return
	}
	c.machine.id = id
}

// proceed does what follows from what was heard. c.mu is held.
func (c *call) proceed(now time.Time, next bool) {
	m := c.machine
	for _, s := range m.samples {
		c.run.tally.measure(c.counts, s)
	}
	m.samples = m.samples[:0]
	if next && m.present().do != expire {
		stage := m.stage
		c.run.agenda.at(m.due, func(now time.Time) { c.act(stage, now) })
	}
	if m.ending != going && !c.retiring {
		c.retiring = true
		c.run.tally.ended(c, now)
		c.run.agenda.at(now.Add(settle), c.retire)
	}
}

// watch looks whether the call has stood still for too long, or rings for too long.
func (c *call) watch(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.run.weather != nil && c.nurse(now)
	c.machine.expect(now)
	c.proceed(now, next)
	if c.machine.ending == going {
		c.run.agenda.at(c.look(now), c.watch)
	}
}

// retire ends the call's life here. Its visitors log out.
func (c *call) retire(time.Time) {
	c.mu.Lock()
	id, visitors, seats := c.machine.id, c.visitors, c.seats
	c.retired, c.seats = true, nil
	c.run.tally.retired(c)
	c.mu.Unlock()
	c.run.book.remove(c.name, id)
	for _, u := range c.devices {
		if u != nil {
			u.leaves(c)
		}
	}
	for _, u := range visitors {
		u.logOut()
	}
	for _, p := range seats {
		p.free()
	}
}

// summon has a visitor's device set out for the call. c.mu is held.
func (c *call) summon(d device) {
	g := c.machine.present()
	v := visit{seat: c.seats[0], user: c.machine.cast[d.role()], device: d.id()}
	c.seats = c.seats[1:]
	v.answered = func(u *user, r *wire.Response) { c.visited(g, u, r, time.Now()) }
	v.failed = func(err error) { c.unvisited(d, err, time.Now()) }
	c.run.crowd.receive(v)
}

// visited takes the answer to a visitor's login, before anything else that he is told.
func (c *call) visited(g *stage, u *user, answer *wire.Response, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer.GetCode() == 0 {
		if c.retired {
			u.logOut()
			return
		}
		c.devices[g.by] = u
		c.visitors = append(c.visitors, u)
		u.joins(c)
	} else if c.run.weather != nil { // he tries elsewhere
		return
	}
	c.feel(now)
	c.reply(g, answer, now)
}

// unvisited notes that a visitor could not come.
func (c *call) unvisited(d device, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.machine.ending == going {
		c.machine.fail(now, "%v cannot log in: %v", d, err)
		c.proceed(now, false)
	}
}
