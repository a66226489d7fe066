package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"carillon/transport/wire"
)

// player is a user with one device who plays at random, and whom nothing discourages: when his connection breaks he
// connects again, names the calls he knows, and repeats what was not answered under the same command ID. What he sees
// against the contract he writes down.
type player struct {
	user    string
	others  []string
	addr    string
	doors   chan struct{} // places for those who connect at one time
	chance  *rand.Rand
	conn    *rawClient // nil: none
	request uint64
	calls   map[uint64]*outlook
	deeds   []deed
	faults  []string
}

// outlook is what a player knows of a call by now.
type outlook struct {
	version uint64
	mine    wire.UserState
	ended   bool
	caller  bool
	common  bool
	rang    bool // it has rung on this device
	acted   bool // he has answered or cancelled it
}

// live says whether the call is worth naming at a login.
func (o *outlook) live() bool {
	return !o.ended && (pending(o.mine) || o.mine == wire.UserState_USER_STATE_ACCEPTED)
}

// deed is an operation with its answer.
type deed struct {
	frame    *wire.ClientFrame
	answer   *wire.Response
	attempts int
}

func pending(s wire.UserState) bool {
	return s == wire.UserState_USER_STATE_INVITING || s == wire.UserState_USER_STATE_RECEIVED || s == wire.UserState_USER_STATE_NOT_YET_RECEIVED
}

// Limits of a player's patience.
const (
	playerDials   = 200 // attempts to connect
	playerWait    = 2 * time.Second
	playerRetries = 50 // of one operation
)

var errGaveUp = errors.New("gave up")

func (p *player) fault(format string, args ...any) {
	p.faults = append(p.faults, p.user+": "+fmt.Sprintf(format, args...))
}

// play does one thing after another until ctx is over.
func (p *player) play(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.listen(time.Duration(1+p.chance.IntN(40)) * time.Millisecond); err != nil {
			return err
		}
		f := p.choose()
		if f == nil {
			continue
		}
		if err := p.do(f); err != nil {
			return err
		}
	}
	return nil
}

// choose picks what to do next: answer what rings, now and then cancel or leave, else invite.
func (p *player) choose() *wire.ClientFrame {
	for _, id := range slices.Sorted(maps.Keys(p.calls)) {
		o := p.calls[id]
		if o.acted || !o.live() || p.chance.IntN(3) > 0 {
			continue
		}
		roll := p.chance.IntN(10)
		switch {
		case pending(o.mine) && roll < 4:
			o.acted = true
			return frameOf(&wire.CallAccept{CallId: id, ExtendedData: p.user})
		case pending(o.mine) && roll < 8:
			o.acted = true
			return frameOf(&wire.CallReject{CallId: id, ExtendedData: p.user})
		case o.caller && roll < 2:
			o.acted = true
			return frameOf(&wire.CallCancel{CallId: id, ExtendedData: p.user})
		case !o.caller && !o.common && o.mine == wire.UserState_USER_STATE_ACCEPTED:
			return frameOf(&wire.CallQuit{CallId: id, ExtendedData: p.user})
		}
	}
	if p.chance.IntN(4) > 0 {
		return nil
	}
	invite := &wire.CallInvite{TimeoutS: uint32(1 + p.chance.IntN(4)), Mode: common}
	if p.chance.IntN(3) == 0 {
		invite.Mode = advanced
	}
	for range 1 + p.chance.IntN(3) {
		invite.Invitees = append(invite.Invitees, p.others[p.chance.IntN(len(p.others))])
	}
	return frameOf(invite)
}

// do repeats an operation until it is answered.
func (p *player) do(f *wire.ClientFrame) error {
	for attempt := 1; attempt <= playerRetries; attempt++ {
		if err := p.connect(); err != nil {
			return err
		}
		r := p.try(f)
		switch r.GetCode() {
		case 6000005, 6000007, 6000105:
			if err := p.listen(50 * time.Millisecond); err != nil {
				return err
			}
			continue
		}
		if r != nil {
			p.deeds = append(p.deeds, deed{f, r, attempt})
			return nil
		}
	}
	return fmt.Errorf("%s: %w on %v", p.user, errGaveUp, f)
}

// try sends a request once and gives its answer, or nil when the connection is lost before.
func (p *player) try(f *wire.ClientFrame) *wire.Response {
	p.request++
	f.RequestId = p.request
	if p.conn.write(f) != nil {
		p.leave()
		return nil
	}
	timer := time.NewTimer(playerWait)
	defer timer.Stop()
	for {
		select {
		case in, ok := <-p.conn.inbox:
			if !ok {
				p.leave()
				return nil
			}
			p.hear(in)
			if r := in.GetResponse(); r != nil && r.GetRequestId() == p.request {
				return r
			}
		case <-timer.C:
			p.leave()
			return nil
		}
	}
}

// listen hears what comes for a while.
func (p *player) listen(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		if err := p.connect(); err != nil {
			return err
		}
		select {
		case in, ok := <-p.conn.inbox:
			if !ok {
				p.leave()
				continue
			}
			p.hear(in)
		case <-timer.C:
			return nil
		}
	}
}

func (p *player) leave() {
	p.conn.vanish()
	p.conn = nil
}

// connect brings the player in, in step with his calls.
func (p *player) connect() error {
	for range playerDials {
		if p.conn != nil {
			return nil
		}
		p.doors <- struct{}{}
		c, err := connectRaw(p.addr)
		<-p.doors
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		p.conn = c
		login := &wire.Login{UserId: p.user, DeviceId: "d", Platform: wire.Platform_PLATFORM_LINUX}
		for id, o := range p.calls {
			if o.live() {
				login.KnownCalls = append(login.KnownCalls, &wire.KnownCall{CallId: id, Version: o.version})
			}
		}
		r := p.try(frameOf(login))
		if r == nil {
			continue
		}
		if r.GetCode() != 0 {
			p.leave()
			continue
		}
		for _, s := range r.GetLogin().GetSync() {
			p.see(s)
		}
		c.beat(time.Duration(r.GetLogin().GetHeartbeatIntervalMs()) * time.Millisecond)
	}
	if p.conn == nil {
		return fmt.Errorf("%s: %w connecting to %s", p.user, errGaveUp, p.addr)
	}
	return nil
}

func (p *player) outlook(id uint64) *outlook {
	o := p.calls[id]
	if o == nil {
		o = &outlook{}
		p.calls[id] = o
	}
	return o
}

// see takes a snapshot in, unless something newer is known.
func (p *player) see(s *wire.CallSnapshot) {
	o := p.outlook(s.GetCallId())
	if s.GetVersion() < o.version {
		p.fault("call %d: a snapshot of version %d after version %d", s.GetCallId(), s.GetVersion(), o.version)
		return
	}
	o.version, o.ended = s.GetVersion(), s.GetState() == wire.CallState_CALL_STATE_ENDED
	o.caller, o.common = s.GetCaller() == p.user, s.GetMode() == common
	for _, u := range s.GetUsers() {
		if u.GetUserId() == p.user {
			o.mine = u.GetState()
		}
	}
}

// hear takes in what a frame says of a call. An event older than what is known is dropped (SPEC 3).
func (p *player) hear(f *wire.ServerFrame) {
	if s := f.GetResponse().GetCall(); s != nil {
		p.see(s)
	}
	e := f.GetEvent()
	if e.GetCallId() == 0 || e.GetVersion() < p.outlook(e.GetCallId()).version {
		return
	}
	o := p.outlook(e.GetCallId())
	o.version = e.GetVersion()
	switch k := e.GetKind().(type) {
	case *wire.Event_CallInvitationReceived:
		p.see(k.CallInvitationReceived)
		o.rang = true
		if p.conn != nil {
			_ = p.conn.write(frameOf(&wire.InvitationReceipt{CallId: e.GetCallId()})) // lost with its connection, like any frame
		}
	case *wire.Event_CallInvitationCreated:
		p.see(k.CallInvitationCreated)
	case *wire.Event_CallInvitationCancelled:
		o.mine = wire.UserState_USER_STATE_BE_CANCELLED
	case *wire.Event_CallInvitationTimeout:
		o.mine = wire.UserState_USER_STATE_TIMEOUT
	case *wire.Event_CallInvitationEnded:
		o.ended = true
	case *wire.Event_CallUserStateChanged:
		o.ended = k.CallUserStateChanged.GetCallState() == wire.CallState_CALL_STATE_ENDED
		for _, u := range k.CallUserStateChanged.GetUsers() {
			if u.GetUserId() == p.user {
				o.mine = u.GetState()
			}
		}
	}
}

// ringing says which calls still ring on this device.
func (p *player) ringing() []uint64 {
	var out []uint64
	for id, o := range p.calls {
		if o.rang && pending(o.mine) && !o.ended {
			out = append(out, id)
		}
	}
	return out
}

// list reads all his calls.
func (p *player) list() (map[uint64]*wire.CallSnapshot, error) {
	out := map[uint64]*wire.CallSnapshot{}
	for next, more := uint64(0), true; more; more = next != 0 {
		f := frameOf(&wire.QueryCallInvitationList{Count: 100, NextFlag: next})
		if err := p.do(f); err != nil {
			return nil, err
		}
		page := p.deeds[len(p.deeds)-1].answer.GetList()
		p.deeds = p.deeds[:len(p.deeds)-1]
		if page == nil {
			return nil, fmt.Errorf("%s: %w: the list was refused", p.user, errGaveUp)
		}
		for _, s := range page.GetCalls() {
			out[s.GetCallId()] = s
		}
		next = page.GetNextFlag()
	}
	return out, nil
}
