package call

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// phone is what one device knows of the call.
type phone struct {
	version uint64
	own     UserState
	rings   Millis // rings until then by itself; zero = quiet
	main    bool   // believes that it is the main device
	ended   bool
	created bool
}

func (f *phone) hear(e *Event, s *State) {
	if e.Then != nil {
		s = e.Then
	}
	if e.Version < f.version {
		return
	}
	f.version = e.Version
	p := s.Find(e.To)
	switch e.Kind {
	case EventCreated:
		f.created = true
	case EventReceived:
		f.believe(p.State)
		f.rings = p.Deadline
	case EventCancelled:
		f.believe(BeCancelled)
	case EventTimeout:
		f.believe(Timeout)
	case EventEnded:
		f.ended, f.rings = true, 0
	case EventUserState:
		for _, u := range e.Changed {
			if u == e.To {
				f.believe(p.State)
			}
		}
		if e.Reason == ReasonAnsweredElsewhere || e.Reason == ReasonMovedToOtherDevice {
			f.main = false
		}
	}
}

// answered is the call's snapshot in the answer to a command of this device.
func (f *phone) answered(s *State, d DeviceID) {
	p := s.Find(owner(d))
	if p == nil {
		return
	}
	f.version = s.Version
	f.believe(p.State)
	f.main = p.State == Accepted && p.Main == d
	if f.ended = !s.Open(); f.ended {
		f.rings = 0
	}
}

func (f *phone) believe(u UserState) {
	f.own = u
	if !u.Pending() {
		f.rings = 0
	}
	if u != Accepted {
		f.main = false
	}
}

// net is everybody's two devices behind a network that loses what a step tells a user, or what his session acknowledges.
type net struct {
	*play
	t      *rapid.T
	saved  State // as the store has it
	phones map[DeviceID]*phone
	acks   []Command // still under way
	faulty bool
}

func newNet(t *rapid.T) *net {
	n := &net{play: drawPlay(t), t: t, phones: map[DeviceID]*phone{}, faulty: true}
	for _, u := range people {
		n.phones[DeviceID(u+"1")], n.phones[DeviceID(u+"2")] = &phone{}, &phone{}
	}
	return n
}

func (n *net) lose(what string) bool {
	return n.faulty && rapid.IntRange(0, 2).Draw(n.t, "lose "+what) == 0
}

func (n *net) apply(c Command) {
	next, events, _ := Step(n.s, c, n.now)
	if next.Revision != n.s.Revision {
		n.saved = next
	}
	n.s = next
	for _, u := range people {
		n.tell(u, events)
	}
	if c.Op < OpReceipt {
		n.phones[c.Device].answered(&n.s, c.Device)
	}
}

// tell delivers what one step has for one user, all or nothing (the events of a step and user are one message).
func (n *net) tell(u UserID, events []Event) {
	var mine []Event
	for _, e := range awake(events) {
		if e.To == u {
			mine = append(mine, e)
		}
	}
	if len(mine) == 0 || n.lose("tell") {
		return
	}
	ack := Command{Op: OpTold, User: u, From: mine[0].From}
	for i := range mine {
		ack.From, ack.Seq = min(ack.From, mine[i].From), max(ack.Seq, mine[i].Seq)
		for d, f := range n.phones {
			if mine[i].reaches(d) {
				f.hear(&mine[i], &n.s)
			}
		}
	}
	if !n.lose("acknowledgement") {
		n.acks = append(n.acks, ack)
	}
}

// arrive lets some acknowledgements arrive, in any order.
func (n *net) arrive() {
	for len(n.acks) > 0 && !(n.faulty && rapid.Bool().Draw(n.t, "later")) {
		i := 0
		if n.faulty {
			i = rapid.IntRange(0, len(n.acks)-1).Draw(n.t, "which")
		}
		ack := n.acks[i]
		n.acks = append(n.acks[:i:i], n.acks[i+1:]...)
		n.apply(ack)
	}
}

// crash loses the owner; the next one goes on from what was saved. Old acknowledgements name the old owner's epoch.
func (n *net) crash() {
	n.s, n.acks = n.saved.Resume(), nil
}

func (n *net) lagging() bool {
	for i := range n.s.Users {
		if p := &n.s.Users[i]; p.Told < p.Sent {
			return true
		}
	}
	return false
}

// Whatever is lost, within two seconds of the fault's end every device knows what concerns it (SPEC 9.4).
func TestLostTellsAreRepaired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNet(t)
		if rapid.IntRange(0, 3).Draw(t, "common") > 0 {
			n.config.Mode = Advanced
		}
		n.apply(drawInvite(t, n.play))
		for range rapid.IntRange(1, 25).Draw(t, "commands") {
			drawPause(t, n.play)
			if rapid.IntRange(0, 15).Draw(t, "crash") == 0 {
				n.crash()
			}
			c := drawLikely(t, n.play)
			if c.Op == OpOffline {
				continue // these devices are all connected
			}
			n.apply(c)
			n.arrive()
		}
		n.repair()
		if n.s.Closed && n.lagging() {
			return // the linger is over: the rest learn it in their next sync
		}
		for i := range n.s.Users {
			n.check(&n.s.Users[i])
		}
	})
}

// repair ends the faults; it fails the test if somebody is still behind two seconds later.
func (n *net) repair() {
	n.faulty = false
	limit := n.now.Add(2 * time.Second)
	n.apply(Command{Op: OpTick})
	for n.arrive(); n.lagging() && !n.s.Closed; n.arrive() {
		if n.now = n.s.Deadline(); n.now.After(limit) {
			n.t.Fatalf("somebody is still behind 2 s after the faults: %+v", n.s.Users)
		}
		n.apply(Command{Op: OpTick})
	}
}

func (n *net) check(p *Participant) {
	for _, d := range []DeviceID{DeviceID(p.User + "1"), DeviceID(p.User + "2")} {
		f := n.phones[d]
		rings := f.rings > At(n.now)
		if want := n.s.Open() && p.State.Pending(); rings != want {
			n.t.Errorf("%s rings: %v, want %v; %+v, call ended %d", d, rings, want, p, n.s.Ended)
		}
		isMain := p.State == Accepted && p.Main == d
		if f.main != isMain {
			n.t.Errorf("%s believes to be the main device: %v; it is %q of %s %s", d, f.main, p.Main, p.User, p.State)
		}
		if !n.s.Open() && told(n.s.EndReason) && (isMain || p.State.Pending()) && !f.ended {
			n.t.Errorf("%s does not know that the call has ended as %s", d, n.s.EndReason)
		}
		if atFirst := p.Change.Seq == 1 && p.User == n.s.Caller; atFirst && n.s.Open() && !f.created {
			n.t.Errorf("%s has not heard of the call that its user made", d)
		}
		if n.knows(p, d) && f.own != p.State && !(f.own.Pending() && p.State.Pending()) {
			n.t.Errorf("%s believes that %s is %s, he is %s", d, p.User, f.own, p.State)
		}
	}
}

// told reports whether an end is told by an event of its own.
func told(r Reason) bool {
	switch r {
	case ReasonEndedByUser, ReasonMaxDuration, ReasonAloneTimeout, ReasonEndedByServer:
		return true
	}
	return false
}

// knows reports whether the device must know its user's state: all do, but those that are not main in a call that he is
// or was in, and those that heard of a call only when it had ended.
func (n *net) knows(p *Participant, d DeviceID) bool {
	switch p.State {
	case Accepted, Quit, Cancelled:
		return p.Main == d
	}
	return n.s.Open() || !p.State.Pending()
}
