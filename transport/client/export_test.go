package client

import (
	"net"
	"sync"

	"carillon/transport/wire"
)

// Exchange is a little call service for the examples: one call at a time, everybody is in it.
type Exchange struct {
	*server
	mu      sync.Mutex
	devices map[string]*peer
	names   map[*peer]string
}

// NewExchange listens on a free port of the loopback interface.
func NewExchange() (x *Exchange, address string, err error) {
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, "", err
	}
	x = &Exchange{devices: make(map[string]*peer), names: make(map[*peer]string)}
	if x.server, err = startServer(packets, x.handle); err != nil {
		return nil, "", err
	}
	return x, packets.LocalAddr().String(), nil
}

// Stop ends it.
func (x *Exchange) Stop() { x.close() }

// Ring makes alice call the user.
func (x *Exchange) Ring(name string) {
	call := exampleCall("alice", name, inviting, 30)
	x.tell(name, &wire.Event{CallId: 7, Version: 1, Kind: &wire.Event_CallInvitationReceived{CallInvitationReceived: call}})
}

// Cancel takes the call back.
func (x *Exchange) Cancel(name string) { x.tell(name, cancelledEvent(7, 2)) }

func exampleCall(caller, callee string, s wire.UserState, timeout uint32) *wire.CallSnapshot {
	return &wire.CallSnapshot{
		CallId: 7, Version: 1, State: wire.CallState_CALL_STATE_STARTED, Mode: wire.CallMode_CALL_MODE_COMMON, Caller: caller, Inviter: caller,
		TimeoutS: timeout, RemainingMs: timeout * 1000, ExtendedData: "video", IsMainDevice: s == accepted,
		Users: []*wire.CallUser{user(caller, accepted), user(callee, s)},
	}
}

func (x *Exchange) tell(name string, e *wire.Event) {
	x.mu.Lock()
	p := x.devices[name]
	x.mu.Unlock()
	p.tell(e)
}

func (x *Exchange) handle(p *peer, f *wire.ClientFrame) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch body := f.Body.(type) {
	case *wire.ClientFrame_Login:
		x.devices[body.Login.UserId], x.names[p] = p, body.Login.UserId
		p.answer(f, &wire.Response{Result: &wire.Response_Login{Login: &wire.LoginResult{HeartbeatIntervalMs: 10000}}})
	case *wire.ClientFrame_CallInvite:
		callee := body.CallInvite.Invitees[0]
		call := exampleCall(x.names[p], callee, inviting, body.CallInvite.TimeoutS)
		x.devices[callee].tell(&wire.Event{CallId: 7, Version: 1, Kind: &wire.Event_CallInvitationReceived{CallInvitationReceived: call}})
		p.answer(f, &wire.Response{Call: call, Result: &wire.Response_Times{Times: &wire.CallTimes{TimeoutS: body.CallInvite.TimeoutS}}})
	case *wire.ClientFrame_CallAccept:
		if body.CallAccept.CallId != 7 {
			p.answer(f, &wire.Response{Code: uint32(NoSuchCall), Message: "call " + CallID(body.CallAccept.CallId).String()})
			return
		}
		call := exampleCall("alice", x.names[p], accepted, 30)
		call.Version, call.RemainingMs = 2, 0
		p.answer(f, &wire.Response{Call: call})
	}
}
