package call

import (
	"slices"
	"time"

	"pgregory.net/rapid"
)

// The people of random calls: few, so that they meet. Each has two devices.
var people = []UserID{"A", "B", "C", "D", "E", "F"}

func drawPlay(t *rapid.T) *play {
	p := newPlay(rapid.SampledFrom([]Mode{Common, Advanced}).Draw(t, "mode"))
	p.ring = rapid.SampledFrom([]time.Duration{3 * time.Second, 20 * time.Second, 90 * time.Second}).Draw(t, "ring")
	p.config.CheckReceived = rapid.Bool().Draw(t, "check")
	p.config.AloneTimeout = rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(t, "alone")
	r := &p.config.Rules
	r.MaxDuration = rapid.SampledFrom([]time.Duration{90 * time.Second, 10 * time.Minute}).Draw(t, "longest")
	r.MemberLease = rapid.SampledFrom([]time.Duration{0, 20 * time.Second}).Draw(t, "lease")
	r.InvitedOnly = rapid.Bool().Draw(t, "invitedOnly")
	r.MaxInvitees = rapid.IntRange(2, 5).Draw(t, "maxInvitees")
	r.MaxUsers = rapid.IntRange(3, 6).Draw(t, "maxUsers")
	return p
}

// drawInvite is a callInvite that succeeds.
func drawInvite(t *rapid.T, p *play) Command {
	c := p.command(OpInvite, "A1", rapid.SliceOfNDistinct(rapid.SampledFrom(people[1:]), 1, 2, rapid.ID).Draw(t, "invitees")...)
	c.ExtendedData = drawData(t)
	return c
}

func drawData(t *rapid.T) string { return rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "data") }

func drawDevice(t *rapid.T) DeviceID {
	return DeviceID(rapid.SampledFrom(people).Draw(t, "user")) + rapid.SampledFrom([]DeviceID{"1", "2"}).Draw(t, "device")
}

var (
	userOperations  = []Op{OpInvite, OpCancel, OpAccept, OpAccept, OpReject, OpAdd, OpAdd, OpJoin, OpJoin, OpQuit, OpEnd}
	ownerOperations = []Op{OpReceipt, OpReceipt, OpTick, OpTick, OpOffline, OpOnline, OpPark, OpRewatch}
)

// drawCommand is anything that anybody may ask of the call.
func drawCommand(t *rapid.T, p *play) Command {
	op := rapid.SampledFrom(slices.Concat(userOperations, ownerOperations)).Draw(t, "op")
	if rapid.IntRange(0, 60).Draw(t, "stop") == 60 {
		op = OpStop
	}
	d := drawDevice(t)
	if op >= OpReceipt {
		return Command{Op: op, User: owner(d), Device: d}
	}
	c := p.command(op, d)
	c.ExtendedData = drawData(t)
	if op == OpInvite || op == OpCancel || op == OpAdd {
		c.Users = rapid.SliceOfN(rapid.SampledFrom(people), 0, 3).Draw(t, "users")
		if rapid.IntRange(0, 9).Draw(t, "malformed") == 9 {
			c.Errors = []UserError{{"~", rapid.SampledFrom([]Code{BadParameter, NoUser}).Draw(t, "why")}}
		}
	}
	if op == OpAdd {
		c.Timeout = rapid.SampledFrom([]time.Duration{0, 5 * time.Second, 30 * time.Second}).Draw(t, "timeout")
	}
	return c
}

// drawLikely is a command that is mostly in order: what the user's state allows.
func drawLikely(t *rapid.T, p *play) Command {
	if rapid.IntRange(0, 5).Draw(t, "wild") == 0 {
		return drawCommand(t, p)
	}
	d := drawDevice(t)
	ops := []Op{OpJoin}
	switch u := p.s.StateOf(owner(d)); {
	case u.Pending():
		ops = []Op{OpAccept, OpReject, OpJoin, OpReceipt}
	case u == Accepted:
		ops = []Op{OpAdd, OpJoin, OpJoin, OpQuit, OpCancel}
	}
	op := rapid.SampledFrom(ops).Draw(t, "op")
	if op == OpReceipt {
		return Command{Op: op, User: owner(d), Device: d}
	}
	c := p.command(op, d)
	if op == OpAdd || op == OpCancel {
		c.Users = []UserID{rapid.SampledFrom(people).Draw(t, "other")}
	}
	return c
}

// drawPause lets time pass: a little, a lot, or exactly to the next deadline.
func drawPause(t *rapid.T, p *play) {
	switch rapid.IntRange(0, 5).Draw(t, "pause") {
	case 0, 1:
	case 2:
		p.now = p.now.Add(rapid.SampledFrom([]time.Duration{1, 300, 999, 1000, 1001}).Draw(t, "ms") * time.Millisecond)
	case 3:
		p.now = p.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "s")) * time.Second)
	default:
		if d := p.s.Deadline(); d.After(p.now) {
			p.now = d
		}
	}
}

// clone is a copy that shares no memory with s.
func (s State) clone() State {
	s.InviteErrors = slices.Clone(s.InviteErrors)
	s.Users = slices.Clone(s.Users)
	s.Outcomes = slices.Clone(s.Outcomes)
	for i := range s.Outcomes {
		s.Outcomes[i].Errors = slices.Clone(s.Outcomes[i].Errors)
	}
	return s
}

// hard is what a store must not lose: the state without what only the living owner knows, and without soft changes.
func (s State) hard() State {
	s.Users = slices.Clone(s.Users)
	s.Seq, s.Revision, s.LingerFrom = 0, 0, 0
	for i := range s.Users {
		p := &s.Users[i]
		p.Told, p.Sent, p.RetryAt, p.WatchedUntil, p.OfflineSince = 0, 0, 0, 0, 0
		if p.State.Pending() {
			p.State, p.Change = Inviting, Change{}
		}
	}
	return s
}

// apart is the state without the trace that a refused command leaves.
func (s State) apart() State {
	s.Outcomes, s.Revision = nil, 0
	return s
}

func (s *State) live() int {
	n := 0
	for i := range s.Users {
		if s.Users[i].State.Live() {
			n++
		}
	}
	return n
}

func (s *State) pending() int {
	n := 0
	for i := range s.Users {
		if s.Users[i].State.Pending() {
			n++
		}
	}
	return n
}
