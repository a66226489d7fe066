package actors

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// sessionActor runs one user's session while it is in memory.
type sessionActor struct {
	user  call.UserID
	cfg   *Config
	host  host
	peers Peers

	state   *session.State
	touched time.Time
	resumed time.Time // the last standstill that the state knows of
}

func newSession(user call.UserID, cfg *Config, h host, p Peers) *sessionActor {
	rules := cfg.Sessions
	rules.Node = cfg.Node
	return &sessionActor{user: user, cfg: cfg, host: h, peers: p, state: session.New(rules, h.Now())}
}

// Receive handles one message; it may block on the store at a login and for a list, and only this user waits.
func (a *sessionActor) Receive(msg any) {
	switch m := msg.(type) {
	case *attach:
		a.attach(m)
	case *list:
		a.list(m)
		runtime.Gosched() // a page is long work, and there may be many: others first
	case leave:
		a.leave(m)
		return
	case doubt:
		a.step(session.Doubt{})
	case wake:
		a.step(session.Tick{})
		a.settle()
		return
	default:
		a.step(m)
	}
	a.touched = a.host.Now()
	a.settle()
}

func (a *sessionActor) settle() {
	deadline := a.state.Deadline()
	idle := a.touched.Add(idleAfter)
	switch {
	case !a.state.Idle():
		a.host.WakeAt(deadline)
	case a.host.Now().Before(idle):
		a.host.WakeAt(idle)
	default:
		a.host.WakeAt(time.Time{})
		a.host.Rest()
	}
}

func (a *sessionActor) step(msg any) {
	if at := a.host.Resumed(); at.After(a.resumed) {
		a.resumed = at
		a.state.Resume(at)
	}
	for _, e := range a.state.Step(msg, a.host.Now()) {
		a.perform(e)
	}
}

func (a *sessionActor) perform(e session.Effect) {
	switch e := e.(type) {
	case session.Deliver:
		a.peers.ToGateway(e.Conn, output{Number: e.Number, Frames: e.Frames, Answers: e.Answers, Code: e.Code})
	case session.Welcome:
		a.welcome(e)
	case session.Bye:
		a.cfg.Watch.operation("logout", call.OK, 0)
		a.peers.ToGateway(e.Conn, output{
			Frames: responseFrame(&wire.Response{RequestId: e.Request}), Answers: 1,
			Close: &closing{uint64(wire.CloseLoggedOut), "logged out"},
		})
	case session.Kick:
		kicked := &wire.Event{
			TimeMs: a.host.Now().UnixMilli(),
			Kind:   &wire.Event_KickedOut{KickedOut: &wire.KickedOut{ByDeviceId: string(e.By)}},
		}
		a.peers.ToGateway(e.Conn, output{
			Frames: frame(&wire.ServerFrame{Body: &wire.ServerFrame_Event{Event: kicked}}),
			Close:  &closing{uint64(wire.CloseKickedOut), "kicked out by device " + string(e.By)},
		})
	case session.Hang:
		c := closing{uint64(wire.CloseSlowConsumer), "too much to send before the login was answered"}
		if e.Silent {
			c.Reason = "no frame for " + a.cfg.Sessions.HeartbeatTimeout.String()
		}
		a.peers.ToGateway(e.Conn, output{Close: &c})
	case session.Recall:
		a.cfg.Watch.repaired("recall")
		a.peers.ToGateway(e.Conn, recall{})
	case session.Audit:
		a.peers.ToGateway(e.Conn, audit{Number: e.Number})
	case session.Ask:
		a.peers.ToCall(e.Call, a.question(e.Login, e.Call))
	case session.Ack:
		a.peers.ToCall(e.Call, told{Epoch: e.Epoch, User: a.user, From: e.From, Seq: e.Seq})
	case session.Presence:
		a.peers.ToCall(e.Call, presence{User: a.user, Online: e.Online})
	}
}

func (a *sessionActor) question(l session.Login, id call.ID) ask {
	q := ask{User: a.user, Device: l.Device, Conn: l.Conn}
	if i := slices.Index(l.Known, id); i >= 0 {
		q.Known, q.Since = true, l.Versions[i]
	}
	return q
}

// attach is a login: which calls must be asked before it is answered?
func (a *sessionActor) attach(m *attach) {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	login := session.Login{Device: m.Device, Conn: m.Conn, Request: m.Request}
	pending, err := a.cfg.Store.PendingFor(ctx, a.user)
	if err == nil && a.cfg.Users != nil {
		err = a.cfg.Users.Register(ctx, a.user)
	}
	if err != nil {
		a.turnAway(login, err)
		return
	}
	for _, k := range m.Known {
		login.Known, login.Versions = append(login.Known, k.Call), append(login.Versions, k.Version)
	}
	login.Calls, login.Cut = union(login.Known, pending)
	login.Cut = login.Cut || len(pending) >= session.MaxCalls // the store may know of more
	a.cfg.Watch.operation("login", call.OK, a.host.Now().Sub(m.At))
	a.step(login)
}

// turnAway answers a login that cannot be served now; the device comes again.
func (a *sessionActor) turnAway(l session.Login, err error) {
	a.cfg.Logger.Error("login not served", "user", a.user, "error", err)
	a.peers.ToGateway(l.Conn, output{
		Frames:  refusal(l.Request, &call.Refusal{Code: call.Internal, Message: "the user's calls cannot be read now"}, 0),
		Answers: 1, Close: &closing{uint64(wire.CloseOverloaded), "the user's calls cannot be read now"},
	})
}

// union is the calls of both lists, each once, at most session.MaxCalls; it reports whether some were cut off.
func union(a, b []call.ID) ([]call.ID, bool) {
	seen := make(map[call.ID]bool, len(a)+len(b))
	var out []call.ID
	for _, list := range [][]call.ID{a, b} {
		for _, id := range list {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	if len(out) > session.MaxCalls {
		return out[:session.MaxCalls], true
	}
	return out, false
}

// fetch takes from the store what calls did not say in time: their durable state.
func (a *sessionActor) fetch(e *session.Welcome) error {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	for _, id := range e.Missing {
		s, err := a.cfg.Store.Load(ctx, id)
		if err != nil && !errors.Is(err, call.ErrNotFound) {
			return err
		}
		e.Synced = append(e.Synced, word(&s, id, a.question(e.Login, id), a.host.Now()))
	}
	return nil
}

// welcome answers a login: as many snapshots as fit into a frame, then the invitations that ring, then what came meanwhile.
func (a *sessionActor) welcome(e session.Welcome) {
	if err := a.fetch(&e); err != nil {
		a.turnAway(e.Login, err)
		return
	}
	result := &wire.LoginResult{
		SessionId: sessionID(e.Login.Conn), ServerTimeMs: a.host.Now().UnixMilli(), Node: e.Login.Conn.Node,
		HeartbeatIntervalMs: uint32(a.cfg.HeartbeatInterval.Milliseconds()),
		HeartbeatTimeoutMs:  uint32(a.cfg.Sessions.HeartbeatTimeout.Milliseconds()),
		SyncTruncated:       e.Login.Cut,
	}
	if e.Login.Conn.Node != a.cfg.Node {
		result.Redirect = a.cfg.Advertise
	}
	size := 0
	var sync [][]byte
	var rings []byte
	for _, s := range e.Synced {
		if len(s.Snapshot) == 0 {
			continue
		}
		if size += len(s.Snapshot) + len(s.Ring); size > maxPageBytes { // what rings counts too: all of it is queued at once
			result.SyncTruncated = true
			break
		}
		sync = append(sync, s.Snapshot)
		rings = append(rings, s.Ring...)
	}
	answer := loginFrame(e.Login.Request, result, sync)
	answer = append(answer, rings...)
	answers := 1
	for _, held := range e.Held {
		answer = append(answer, held.Frames...)
		answers += held.Answers
	}
	a.peers.ToGateway(e.Login.Conn, output{Number: e.Number, Frames: answer, Answers: answers, LoggedIn: true})
}

// list is queryCallInvitationList: a page of the user's calls as he sees them (SPEC 7).
func (a *sessionActor) list(m *list) {
	a.step(session.Seen{Conn: m.Conn})
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	calls, next, err := a.cfg.Store.UserCalls(ctx, a.user, m.After, m.Count)
	if err != nil {
		r := &call.Refusal{Code: call.Internal, Message: "the list cannot be read now"}
		if errors.Is(err, call.ErrNotFound) {
			r = bad("next_flag: %d is not one of the user's calls", m.After)
		}
		a.cfg.Watch.operation("queryCallInvitationList", r.Code, a.host.Now().Sub(m.At))
		a.peers.ToGateway(m.Conn, output{Frames: refusal(m.Request, r, 0), Answers: 1})
		return
	}
	a.cfg.Watch.operation("queryCallInvitationList", call.OK, a.host.Now().Sub(m.At))
	var page [][]byte
	size, now := 0, a.host.Now()
	for i := range calls {
		snap := snapshotOf(&calls[i], a.user, m.Device, now)
		if size += len(snap); size > maxPageBytes && i > 0 {
			next = calls[i-1].ID
			break
		}
		page = append(page, snap)
	}
	a.peers.ToGateway(m.Conn, output{Frames: listFrame(m.Request, page, next), Answers: 1})
}

// maxPageBytes is how much of a frame the snapshots of a sync or a page may fill.
const maxPageBytes = wire.MaxServerFrame - 64<<10
