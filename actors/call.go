package actors

import (
	"context"
	"errors"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
)

// callActor owns one call while it is in memory: load, step, save, then tell and answer (ARCHITECTURE, the core).
type callActor struct {
	id    call.ID
	cfg   *Config
	host  host
	peers Peers

	// apply is call.Step with scratch; the simulator plants bugs here.
	scratch call.Scratch
	apply   func(call.State, call.Command, time.Time) (call.State, []call.Event, error)

	state  call.State // as stored, but for what is soft
	loaded bool
	epoch  uint64
	// presumed: the call was taken for new without asking the store.
	presumed bool
	failed   bool   // the last step could not be saved
	soft     bool   // something has changed since the last write
	shared   uint64 // number of the last change that the store is known to have
	phase    Phase
	touched  time.Time // last message that was not the passing of time
}

func newCall(id call.ID, cfg *Config, h host, p Peers) *callActor {
	a := &callActor{id: id, cfg: cfg, host: h, peers: p}
	a.apply = a.scratch.Step
	return a
}

// Receive handles one message; it may block on the store, and only this call waits.
func (a *callActor) Receive(msg any) {
	if m, ok := msg.(leave); ok {
		a.leave(m)
		return
	}
	if !a.loaded && !a.presume(msg) && !a.load(msg) {
		return
	}
	now := a.host.Now()
	switch m := msg.(type) {
	case wake:
		a.own(call.Command{Op: call.OpTick})
		a.settle()
		return
	case *command:
		a.command(m)
	case told:
		if m.Epoch == a.epoch {
			a.own(call.Command{Op: call.OpTold, User: m.User, From: m.From, Seq: m.Seq})
		}
	case presence:
		a.presence(m)
	case ask:
		a.answerLogin(m)
	case doubt:
		_, _ = a.refresh() // that it cannot be read now is found out by the next write
	case moved:
		a.rewatch(m)
	}
	if !patient(msg) {
		a.touched = now
	}
	a.settle()
}

// presume saves an invitation the look at the store that almost always finds nothing: the write, which compares, will tell.
func (a *callActor) presume(msg any) bool {
	c, ok := msg.(*command)
	if !ok || c.Op != call.OpInvite {
		return false
	}
	a.adopt(call.State{})
	a.presumed = true
	return true
}

// load takes the call up from the store. When it cannot be read, a command is answered so, and the rest comes again by
// itself: whoever is not acknowledged says it once more.
func (a *callActor) load(msg any) bool {
	stored, ok := a.reread()
	if !ok {
		if c, ok := msg.(*command); ok {
			a.answer(c, &call.Refusal{Code: call.Internal, Message: "the call cannot be read now"})
		}
		a.host.WakeAt(a.host.Now().Add(time.Second))
		return false
	}
	a.adopt(stored)
	a.failed = false
	return true
}

// refresh looks whether another owner has written, and if so goes on from there; ok is false when the store cannot be read.
func (a *callActor) refresh() (changed, ok bool) {
	stored, ok := a.reread()
	if !ok || stored.Revision == a.state.Revision {
		return false, ok
	}
	a.overtake(stored)
	return true, true
}

// overtake goes on from what another owner has written in the meantime.
func (a *callActor) overtake(stored call.State) {
	if a.state.Version > 0 && stored.Version > 0 {
		stored = stored.After(&a.state, a.shared, a.host.Now())
	}
	a.adopt(stored)
}

// adopt goes on from a stored state; what was acknowledged to an earlier one means nothing now.
func (a *callActor) adopt(stored call.State) {
	a.state, a.loaded, a.presumed, a.soft, a.epoch = stored, true, false, false, a.host.Epoch()
	a.shared = stored.Seq
}

// reread takes the call from the store, as a new owner does; false when it cannot be read now.
func (a *callActor) reread() (call.State, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	state, err := a.cfg.Store.Load(ctx, a.id)
	if err != nil && !errors.Is(err, call.ErrNotFound) {
		a.cfg.Logger.Error("call not loaded", "call", a.id, "error", err)
		return call.State{}, false
	}
	return state.Resume(), true
}

// command applies a user's operation and answers it.
func (a *callActor) command(c *command) {
	end := a.span(c, "call")
	if c.Invite != nil {
		c.Invite.ID = a.id
	}
	code := a.step(c.ctx, c.Command, c)
	end(code)
	if c.Op == call.OpReceipt {
		return
	}
	a.cfg.Watch.operation(c.Op.String(), code, a.host.Now().Sub(c.At))
	if code != call.OK {
		a.cfg.Logger.Debug("refused", "call", a.id, "user", c.User, "op", c.Op, "code", uint32(code))
	}
}

func (a *callActor) span(c *command, step string) func(call.Code) {
	if c.ctx == nil {
		c.ctx = context.Background()
	}
	if a.cfg.Tracer == nil {
		return func(call.Code) {}
	}
	ctx, end := a.cfg.Tracer.Start(c.ctx, step, a.id, c.User)
	c.ctx = ctx
	return end
}

// own applies what nobody asked for and nobody is answered.
func (a *callActor) own(op call.Command) call.Code { return a.step(context.Background(), op, nil) }

// step applies a command, saves, and only then tells and answers. c is the command's envelope, nil for the owner's own.
func (a *callActor) step(ctx context.Context, op call.Command, c *command) call.Code {
	lent := eventRoom.Get().(*[]call.Event)
	a.scratch.Lend(*lent)
	defer func() {
		if *lent = a.scratch.Return(); cap(*lent) <= maxEventRoom {
			eventRoom.Put(lent)
		}
	}()
	for range maxConflicts {
		next, events, err := a.apply(a.state, op, a.host.Now())
		if a.presumed && err != nil { // what is refused now may have been done before
			if !a.reload() {
				return a.fail(c, call.Internal, "the call cannot be read now")
			}
			continue
		}
		if next.Revision != a.state.Revision {
			switch saved := a.save(ctx, next); {
			case errors.Is(saved, call.ErrConflict):
				if !a.presumed {
					if a.cfg.Watch.Fenced != nil {
						a.cfg.Watch.Fenced()
					}
					a.cfg.Logger.Warn("fenced: another owner has written", "call", a.id, "revision", next.Revision)
				}
				if !a.reload() {
					return a.fail(c, call.Internal, "the call cannot be read now")
				}
				continue
			case errors.Is(saved, call.ErrUnavailable):
				return a.fail(c, call.Internal, "the call cannot be saved now")
			case saved != nil:
				a.loaded = false
				return a.fail(c, call.TimedOut, "outcome unknown: retry with the same command ID")
			}
		}
		if next.Revision == a.state.Revision && c != nil && c.Op != call.OpReceipt {
			// An answer that no write confirms is a read, and a stale owner's is wrong. A store that cannot be read takes no
			// writes either: then what is known is the best there is.
			if changed, _ := a.refresh(); changed {
				continue
			}
		}
		a.observe(op, events, &next)
		if a.state.Open() && !next.Open() {
			a.cfg.Logger.Debug("ended", "call", a.id, "reason", next.EndReason, "version", next.Version)
		}
		a.soft = next.Revision == a.state.Revision && (a.soft || next.Seq != a.state.Seq || op.Op == call.OpTold)
		if next.Revision != a.state.Revision {
			a.shared = next.Seq
		}
		a.state, a.presumed = next, false
		var refused *call.Refusal
		errors.As(err, &refused)
		return a.finish(events, c, refused)
	}
	return a.fail(c, call.Internal, "the call is written by too many owners")
}

func (a *callActor) save(ctx context.Context, next call.State) error {
	ctx, cancel := a.cfg.patience.limit(ctx, a.host.Now())
	defer cancel()
	t := transitions.Get().(*[1]call.Transition)
	t[0] = call.Transition{Prev: a.state, Next: next}
	err := a.cfg.Store.Save(ctx, t[:])[0]
	t[0] = call.Transition{}
	transitions.Put(t)
	if err != nil {
		a.cfg.Logger.Error("call not saved", "call", a.id, "revision", next.Revision, "error", err)
		if a.cfg.Watch.Save != nil {
			a.cfg.Watch.Save(err)
		}
	}
	return err
}

// reload goes on from what another owner has written, after the store has said that there is something.
func (a *callActor) reload() bool {
	stored, ok := a.reread()
	if !ok {
		a.loaded = false
		a.host.WakeAt(a.host.Now().Add(time.Second))
		return false
	}
	a.overtake(stored)
	return true
}

// fail answers what could not be saved; nothing has changed for anybody, and what was due is tried again in a second.
func (a *callActor) fail(c *command, code call.Code, why string) call.Code {
	if c != nil {
		a.answer(c, &call.Refusal{Code: code, Message: why})
	}
	a.failed = true
	return code
}

// finish tells and answers what is durable now. An invitation whose ID another call has goes on to its next ID.
func (a *callActor) finish(events []call.Event, c *command, refused *call.Refusal) call.Code {
	answered := c == nil || c.Op == call.OpReceipt
	if refused != nil && refused.Code == call.CallExists && c.Attempt < maxAttempts {
		c.Attempt++
		a.peers.ToCall(a.cfg.callID(c.User, c.Command.Command, c.Attempt), c)
		answered = true
	}
	for _, t := range a.tells(events, c, refused, answered) {
		a.peers.ToSession(t.user, t.Tell)
	}
	if refused != nil {
		return refused.Code
	}
	return call.OK
}

// presence hears whether a watched user is there, and says that it has heard.
func (a *callActor) presence(m presence) {
	op := call.OpOffline
	if m.Online {
		op = call.OpOnline
	}
	if a.own(call.Command{Op: op, User: m.User}) == call.OK {
		a.peers.ToSession(m.User, session.Heard{Call: a.id, Offline: !m.Online, Done: !a.state.Watches(m.User)})
	}
}

func (a *callActor) observe(op call.Command, events []call.Event, next *call.State) {
	for i := range events {
		if p := a.state.Find(events[i].To); p != nil && events[i].Kind != call.EventWatch && events[i].From < p.Sent {
			a.cfg.Watch.repaired("tell")
		}
	}
	if op.Op != call.OpReceipt || a.cfg.Watch.Ring == nil || next.Seq == a.state.Seq {
		return
	}
	if p := next.Find(op.User); p != nil && p.Change.Seq == next.Seq {
		a.cfg.Watch.Ring(time.Duration(p.Change.At-p.InvitedAt) * time.Millisecond)
	}
}

// enter counts the call where it is now.
func (a *callActor) enter(p Phase) {
	if p != a.phase && a.cfg.Watch.Phase != nil {
		a.cfg.Watch.Phase(a.phase, p)
	}
	a.phase = p
}

func (a *callActor) present() Phase {
	switch {
	case !a.state.Open():
		return PhaseEnding
	case a.state.Ringing():
		return PhaseRinging
	}
	return PhaseAnswered
}

// settle arms the timer for what the state will do by itself, and lets go of a call that needs no memory.
func (a *callActor) settle() {
	if a.failed || !a.loaded {
		a.failed = false
		a.host.WakeAt(a.host.Now().Add(time.Second))
		return
	}
	a.enter(a.present())
	a.host.Hurry(!a.state.Open()) // the last acknowledgement closes it
	deadline := a.state.Deadline()
	idle := a.touched.Add(idleAfter)
	switch {
	case a.state.Version == 0 || a.state.Done():
		a.enter(PhaseNone)
		a.host.WakeAt(time.Time{})
		a.host.Rest()
	case !a.state.Quiet():
		a.host.WakeAt(deadline)
	case !a.host.Now().Before(idle):
		a.enter(PhaseNone)
		a.host.WakeAt(deadline)
		a.host.Rest()
	case idle.Before(deadline):
		a.host.WakeAt(idle)
	default:
		a.host.WakeAt(deadline)
	}
}
