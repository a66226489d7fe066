package actors

import (
	"fmt"
	"slices"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// checker holds every step against what SPEC section 9 promises.
type checker struct {
	w          *world
	lossy      float64 // percent of messages between actors that suffer something
	storeFails float64 // percent of writes that fail

	changed  map[call.ID]time.Time     // when the version last rose
	history  map[call.ID][]call.State  // all that was ever durable
	outcomes map[intentKey]call.Code   // as durable
	answers  map[intentKey]call.Code   // as first told to the client
	made     map[intentKey]call.ID     // callInvite: the call it made
	here     map[call.UserID]time.Time // when a device of the user last had a connection
	rung     map[ringKey]bool          // orderly worlds: what has rung on a connection
	strays   map[string]time.Time      // activations that should not be, since when
}

type ringKey struct {
	conn    uint64
	call    call.ID
	invited call.Millis
}

// simStale is how old a message can be: delayed, and then frozen with its node.
const simStale = 24 * time.Second

type intentKey struct {
	user call.UserID
	id   call.CommandID
}

func newChecker(w *world) *checker {
	c := &checker{
		w: w, changed: map[call.ID]time.Time{}, history: map[call.ID][]call.State{}, outcomes: map[intentKey]call.Code{},
		answers: map[intentKey]call.Code{}, made: map[intentKey]call.ID{}, here: map[call.UserID]time.Time{},
		rung: map[ringKey]bool{}, strays: map[string]time.Time{},
	}
	if w.rng.IntN(4) > 0 && !w.orderly { // every fourth world has a perfect network and a perfect disk
		c.lossy, c.storeFails = float64(w.rng.IntN(15)), float64(w.rng.IntN(12))
	}
	return c
}

// saved sees each durable write: one linear history, each command applied once, no impossible transition.
func (c *checker) saved(old, next call.State) {
	w := c.w
	if next.Revision != old.Revision+1 || next.Version < old.Version || next.Seq < old.Seq {
		w.fail("call %s: history forks: revision %d version %d after revision %d version %d",
			next.ID, next.Revision, next.Version, old.Revision, old.Version)
	}
	if old.Ended != 0 && (next.Ended != old.Ended || next.Version != old.Version) {
		w.fail("call %s changed after its end", next.ID)
	}
	if old.Version == 0 {
		key := intentKey{next.Caller, next.InviteCommand}
		if other, twice := c.made[key]; twice {
			w.fail("one callInvite made calls %s and %s", other, next.ID)
		}
		c.made[key] = next.ID
		c.outcomes[key] = call.OK
	}
	for i, o := range next.Outcomes {
		key := intentKey{o.User, o.Command}
		again := func(p call.Outcome) bool { return p.User == o.User && p.Command == o.Command }
		if slices.ContainsFunc(next.Outcomes[:i], again) {
			w.fail("call %s: command %x of %s was applied twice", next.ID, o.Command[:4], o.User)
		}
		c.outcomes[key] = o.Code
	}
	for i := range old.Users {
		if a, b := old.Users[i], next.Users[i]; a.User != b.User || impossible(a.State, b.State) {
			w.fail("call %s: %s went from %s to %s %s", next.ID, a.User, a.State, b.User, b.State)
		}
	}
	c.deserted(old, next)
	if next.Version > old.Version {
		c.changed[next.ID] = w.now
	}
	c.history[next.ID] = append(c.history[next.ID], next)
}

// impossible reports transitions that no command and no deadline makes, not even two at once.
func impossible(from, to call.UserState) bool {
	switch from {
	case call.Accepted:
		return to == call.Rejected || to == call.Timeout || to == call.BeCancelled
	case call.Rejected, call.Timeout, call.BeCancelled:
		return from != to && (to == call.Rejected || to == call.Timeout || to == call.BeCancelled || to == call.Quit)
	}
	return false
}

// deserted: an invitation must not time out in a call whose caller was gone long before (SPEC 5).
func (c *checker) deserted(old, next call.State) {
	w := c.w
	if old.Version == 0 || old.EverAccepted || !old.Open() || next.EndReason == call.ReasonCallerOffline {
		return
	}
	since := later(c.lastHere(old.Caller), later(old.Created.Time(), w.disturbed))
	for _, n := range w.nodes {
		since = later(since, later(n.pausedUntil, n.started))
	}
	patience := simGrace + 30*time.Second
	if c.lossy == 0 { // a broken session is asked again within 10 s, and then gives one fresh grace
		patience = simGrace + 14*time.Second
	}
	if timedOut := next.StateOf(next.Users[len(next.Users)-1].User) == call.Timeout; timedOut && w.now.Sub(since) > patience {
		w.fail("call %s rang to its end although its caller was gone for %v", next.ID, w.now.Sub(since))
	}
}

func (c *checker) lastHere(user call.UserID) time.Time {
	for _, d := range c.w.devices {
		if d.user == user && d.conn != nil && !d.silent {
			return c.w.now
		}
	}
	return c.here[user]
}

// deadlines sees each write as it is asked for: a deadline that has passed comes before anything else (SPEC 2, Races).
func (c *checker) deadlines(t call.Transition, asked time.Time) {
	for i := range t.Prev.Users {
		was, is := &t.Prev.Users[i], &t.Next.Users[i]
		if was.Deadline == 0 || was.Deadline.Time().After(asked) || is.Change.Seq == was.Change.Seq {
			continue
		}
		if is.State == call.Accepted && is.JoinedSeq <= was.Change.Seq || is.State == call.Rejected || is.State == call.BeCancelled {
			c.w.fail("call %s: %s became %s %v after his deadline", t.Next.ID, is.User, is.State, asked.Sub(was.Deadline.Time()))
		}
	}
}

// told sees each event as a device gets it: nothing is told before it is durable, and only to whom it concerns.
func (c *checker) told(d *simDevice, e *wire.Event) {
	w := c.w
	id := call.ID(e.GetCallId())
	if durable := w.store.calls[id].Version; e.GetVersion() > durable {
		w.fail("%s/%s was told version %d of call %s, durable is %d", d.user, d.id, e.GetVersion(), id, durable)
		return
	}
	then := c.asOf(id, e.GetVersion())
	me := then.Find(d.user)
	if me == nil {
		w.fail("%s/%s, not in call %s, was told of it", d.user, d.id, id)
		return
	}
	switch b := e.GetKind().(type) {
	case *wire.Event_CallUserStateChanged:
		c.states(d, id, e, b.CallUserStateChanged, me, then.Version == e.GetVersion())
	case *wire.Event_CallInvitationReceived:
		c.rings(d, id, me)
		ends := w.now.Add(time.Duration(b.CallInvitationReceived.GetRemainingMs()) * time.Millisecond)
		if me.Deadline != 0 && ends.Sub(me.Deadline.Time()) > simStale {
			w.fail("%s/%s rings for call %s until %v past its deadline", d.user, d.id, id, ends.Sub(me.Deadline.Time()))
		}
	}
}

// rings: where nodes only come and go in order, nobody is rung twice for one invitation.
func (c *checker) rings(d *simDevice, id call.ID, me *call.Participant) {
	if !c.w.orderly {
		return
	}
	key := ringKey{d.conn.number, id, me.InvitedAt}
	if c.rung[key] {
		c.w.fail("%s/%s was rung twice for call %s", d.user, d.id, id)
	}
	c.rung[key] = true
}

// recalled: where nodes only come and go in order, sessions are handed over and forget nobody.
func (c *checker) recalled(conn session.Conn) {
	for _, d := range c.w.devices {
		if c.w.orderly && d.conn != nil && d.conn.number == conn.ID && !d.conn.closing {
			c.w.fail("%s/%s: connection %d was recalled", d.user, d.id, conn.ID)
		}
	}
}

// single looks, again and again, whether anything is active where it should not be for longer than a hand-off takes.
func (c *checker) single() {
	w := c.w
	seen := map[string]bool{}
	agreed := true
	for _, n := range w.nodes {
		agreed = agreed && !n.dead && !w.frozen(n) && n.view.version() == w.nodes[0].view.version()
	}
	for _, n := range w.nodes {
		if n.dead || !agreed {
			continue
		}
		for _, a := range n.everyone() {
			if n.owns(a.shard()) {
				continue
			}
			key := fmt.Sprint(n.name, n.boot, a.name)
			seen[key] = true
			if _, before := c.strays[key]; !before {
				c.strays[key] = w.now
			}
			if w.now.Sub(c.strays[key]) > simStray {
				w.fail("%s: %s is active, which belongs to %s, for %v", n.name, a.name, n.view.Owner(a.shard()).Node, w.now.Sub(c.strays[key]))
			}
		}
	}
	for key := range c.strays {
		if !seen[key] {
			delete(c.strays, key)
		}
	}
	w.after(500*time.Millisecond, c.single)
}

// simStray is how long an actor may go on after its shard has gone: its store may be slow, and many commands wait.
const simStray = 12 * time.Second

func (c *checker) states(d *simDevice, id call.ID, e *wire.Event, m *wire.CallUserStateChanged, me *call.Participant, exact bool) {
	own := false
	for _, u := range m.GetUsers() {
		own = own || u.GetUserId() == string(d.user)
		if !c.everWas(id, e.GetVersion(), call.UserID(u.GetUserId()), call.UserState(u.GetState())) {
			c.w.fail("%s/%s was told that %s is %s in call %s, never so from version %d on",
				d.user, d.id, u.GetUserId(), call.UserState(u.GetState()), id, e.GetVersion())
		}
	}
	switch e.GetReason() {
	case wire.Reason_REASON_MOVED_TO_OTHER_DEVICE, wire.Reason_REASON_ANSWERED_ELSEWHERE:
		if !own {
			c.w.fail("%s/%s was told %s of somebody else", d.user, d.id, call.Reason(e.GetReason()))
		}
	default:
		if exact && me.State == call.Accepted && me.Main != d.id && !own {
			c.w.fail("%s/%s, not the main device, was told of others in call %s", d.user, d.id, id)
		}
	}
}

// asOf is the call as first durable at a version.
func (c *checker) asOf(id call.ID, version uint64) call.State {
	for _, s := range c.history[id] {
		if s.Version >= version {
			return s
		}
	}
	return call.State{}
}

func (c *checker) everWas(id call.ID, version uint64, u call.UserID, state call.UserState) bool {
	if c.asOf(id, version).Version != version {
		return true // saved together with a later one: never durable by itself
	}
	for _, s := range c.history[id] {
		if was := s.StateOf(u); s.Version >= version && (was == state || (was.Pending() && state.Pending())) {
			return true
		}
	}
	return false
}

// responded sees each answer as a device gets it.
func (c *checker) responded(d *simDevice, r *wire.Response) {
	for _, s := range append(r.GetLogin().GetSync(), r.GetCall()) {
		if id := call.ID(s.GetCallId()); s.GetVersion() > c.w.store.calls[id].Version {
			c.w.fail("%s/%s was shown version %d of call %s, durable is %d", d.user, d.id, s.GetVersion(), id, c.w.store.calls[id].Version)
		}
	}
}

// answered sees what a command came to: durable, and the same every time.
func (c *checker) answered(d *simDevice, in *intent, r *wire.Response) {
	key := intentKey{d.user, in.id}
	code := call.Code(r.GetCode())
	durable, is := c.outcomes[key]
	if code == call.OK && (!is || durable != call.OK) {
		c.w.fail("%s/%s: %x was answered with success, which is not durable", d.user, d.id, in.id[:4])
	}
	first, before := c.answers[key]
	if !before {
		c.answers[key] = code
		return
	}
	if first != code && (first == call.NoSuchCall || c.remembered(call.ID(r.GetCall().GetCallId()), key)) {
		c.w.fail("%s/%s: %x was answered %d, then %d", d.user, d.id, in.id[:4], first, code)
	}
}

func (c *checker) remembered(id call.ID, key intentKey) bool {
	s := c.w.store.calls[id]
	_, ok := s.Outcome(key.user, key.id)
	return ok
}

// inStep looks at the world when things have not gone wrong for a while: every connected device knows how its calls stand
// (SPEC 9.4: a lost message is repaired within 2 s of the fault's end).
func (c *checker) inStep() {
	w := c.w
	for _, d := range w.devices {
		if d.conn == nil || !d.conn.loggedIn || d.silent || w.now.Sub(d.conn.since) < simRepair {
			continue
		}
		for _, id := range w.store.order {
			s := w.store.calls[id]
			p := s.Find(d.user)
			if p == nil || w.now.Sub(c.changed[id]) < simRepair || p.Deadline != 0 && w.now.Sub(p.Deadline.Time()).Abs() < simRepair {
				continue
			}
			k := d.known[id]
			believes := k != nil && k.live
			rings := s.Open() && p.State.Pending()
			lives := rings || s.Open() && p.State == call.Accepted && p.Main == d.id
			if believes && !lives && !w.splintered || rings && !believes {
				w.fail("%s/%s is out of step: call %s, in which %s is %s, is live for it: %t, the device believes: %t",
					d.user, d.id, id, d.user, p.State, lives, believes)
			}
		}
	}
}

// settled looks at the world after everything had time to heal: every call has ended and is at rest, every device knows.
func (c *checker) settled() {
	w := c.w
	for _, id := range w.store.order {
		if s := w.store.calls[id]; s.Open() || !s.Closed {
			w.fail("call %s has not ended: open %t, closed %t, deadline %v", id, s.Open(), s.Closed, s.Deadline())
		}
		for _, n := range w.nodes {
			for _, a := range n.calls[id] {
				w.fail("%s: %s is still in memory", n.name, a.name)
			}
		}
	}
	for key, code := range c.answers {
		if durable, is := c.outcomes[key]; code == call.OK && (!is || durable != call.OK) {
			w.fail("%x of %s was acknowledged and is lost", key.id[:4], key.user)
		}
	}
	for _, d := range w.devices {
		if d.conn == nil || !d.conn.loggedIn {
			w.fail("%s/%s could not come back", d.user, d.id)
		}
		for _, id := range d.order {
			if k := d.known[id]; k.live && !w.splintered || k.rings {
				w.fail("%s/%s believes that call %s is live (rings %t, version %d)", d.user, d.id, id, k.rings, k.version)
			}
		}
		for _, in := range d.commands {
			if !in.answered {
				w.fail("%s/%s never got an answer to %x, %s", d.user, d.id, in.id[:4], operation(in.frame))
			}
		}
	}
}
