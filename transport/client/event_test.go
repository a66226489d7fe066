package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"carillon/transport/wire"
)

func ringing(id, version uint64, remaining time.Duration) *wire.CallSnapshot {
	s := snapshot(id, version, user("bob", accepted), user("alice", inviting))
	s.Caller, s.Inviter, s.RemainingMs = "bob", "bob", uint32(remaining.Milliseconds())
	return s
}

func receivedEvent(s *wire.CallSnapshot) *wire.Event {
	return &wire.Event{
		CallId: s.CallId, Version: s.Version, ActingUser: s.Inviter, ActingDevice: "tablet", TimeMs: 1000,
		Kind: &wire.Event_CallInvitationReceived{CallInvitationReceived: s},
	}
}

func changedEvent(id, version uint64, reason wire.Reason, users ...*wire.CallUser) *wire.Event {
	return &wire.Event{
		CallId: id, Version: version, Reason: reason, ActingUser: users[0].UserId,
		Kind: &wire.Event_CallUserStateChanged{CallUserStateChanged: &wire.CallUserStateChanged{Users: users, CallState: wire.CallState_CALL_STATE_STARTED}},
	}
}

func cancelledEvent(id, version uint64) *wire.Event {
	return &wire.Event{
		CallId: id, Version: version, Reason: wire.Reason_REASON_CANCELLED, ActingUser: "bob",
		Kind: &wire.Event_CallInvitationCancelled{CallInvitationCancelled: &wire.CallInvitationCancelled{Inviter: "bob", Mode: wire.CallMode_CALL_MODE_COMMON, ExtendedData: "sorry"}},
	}
}

func timeoutEvent(id, version uint64) *wire.Event {
	return &wire.Event{CallId: id, Version: version, Kind: &wire.Event_CallInvitationTimeout{CallInvitationTimeout: &wire.CallInvitationTimeout{Mode: wire.CallMode_CALL_MODE_COMMON}}}
}

func endedEvent(id, version uint64) *wire.Event {
	return &wire.Event{
		CallId: id, Version: version, Reason: wire.Reason_REASON_ENDED_BY_USER,
		Kind: &wire.Event_CallInvitationEnded{CallInvitationEnded: &wire.CallInvitationEnded{Caller: "bob", OperatedUserId: "bob", EndTimeMs: 9000}},
	}
}

// The life of an invitation: it rings, is acknowledged, changes, and is over.
func TestInvitation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, time.Minute)))
		e := event[CallInvitationReceived](w)
		if e.CallID != 7 || e.Version != 1 || e.ActingUser != "bob" || e.ActingDevice != "tablet" || !e.Time.Equal(time.UnixMilli(1000)) || e.Local {
			t.Errorf("event %+v", e.EventInfo)
		}
		if e.Call.Inviter != "bob" || e.Call.Remaining != time.Minute || !e.Call.RingUntil.Equal(time.Now().Add(time.Minute)) || len(e.Call.Users) != 2 {
			t.Errorf("call %+v", e.Call)
		}
		if f := wait(t, p.frames); f.GetInvitationReceipt().GetCallId() != 7 || f.RequestId != 0 {
			t.Errorf("receipt %v", f)
		}
		p.tell(changedEvent(7, 1, 0, user("alice", received)))
		if e := event[CallUserStateChanged](w); e.Users[0].State != Received || e.CallState != Started {
			t.Errorf("event %+v", e)
		}
		if calls := c.Calls(); len(calls) != 1 || calls[0].Users[1].State != Received {
			t.Errorf("calls %+v", calls)
		}
		p.tell(cancelledEvent(7, 2))
		if e := event[CallInvitationCancelled](w); e.Reason != ReasonCancelled || e.Inviter != "bob" || e.Mode != Common || e.ExtendedData != "sorry" {
			t.Errorf("event %+v", e)
		}
		if calls := c.Calls(); len(calls) != 0 {
			t.Errorf("calls %+v", calls)
		}
	})
}

func TestOldVersionsAreDropped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 3, time.Minute)))
		event[CallInvitationReceived](w)
		p.tell(changedEvent(7, 2, 0, user("carol", rejected)), cancelledEvent(7, 2), endedEvent(7, 1), timeoutEvent(7, 1))
		w.silent()
		p.tell(changedEvent(7, 3, 0, user("carol", accepted)))
		event[CallUserStateChanged](w)
		p.tell(endedEvent(7, 5))
		if e := event[CallInvitationEnded](w); e.OperatedUserID != "bob" || !e.EndTime.Equal(time.UnixMilli(9000)) || e.Reason != ReasonEndedByUser {
			t.Errorf("event %+v", e)
		}
		p.tell(receivedEvent(ringing(7, 3, time.Minute)), changedEvent(7, 4, 0, user("carol", quit)))
		w.silent()
	})
}

// The server may ring again for want of a receipt: the app hears it once, the server gets its receipt each time.
func TestARingIsShownOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, p := w.connect(w.config())
		for range 2 {
			p.tell(receivedEvent(ringing(7, 1, time.Minute)))
			if f := wait(t, p.frames); f.GetInvitationReceipt() == nil {
				t.Errorf("frame %v, want a receipt", f)
			}
		}
		event[CallInvitationReceived](w)
		w.silent()
		p.tell(cancelledEvent(7, 2), receivedEvent(ringing(7, 3, time.Minute)))
		event[CallInvitationCancelled](w)
		event[CallInvitationReceived](w)
	})
}

// Word of the same invitation may come again long after the first, by whatever way: it rings once. Another invitation rings anew.
func TestALateRingIsTheSame(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		_, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, time.Minute)))
		event[CallInvitationReceived](w)
		elapse(5 * time.Second)
		p.tell(receivedEvent(ringing(7, 1, time.Minute))) // written 5 s ago
		w.silent()
		p.hangUp(wire.CloseGoingAway)
		p, _ = w.login(&wire.LoginResult{Sync: snapshots(ringing(7, 1, time.Minute+10*time.Second))})
		p.tell(receivedEvent(ringing(7, 1, time.Minute+20*time.Second)))
		w.silent()
		p.tell(changedEvent(7, 2, 0, user("carol", inviting)), receivedEvent(ringing(7, 2, time.Minute+30*time.Second)))
		event[CallUserStateChanged](w)
		p.tell(receivedEvent(ringing(7, 3, time.Minute+40*time.Second))) // another change came on the way
		w.silent()
		p.tell(receivedEvent(ringing(7, 5, 3*time.Minute))) // the end of the first one was lost
		event[CallInvitationReceived](w)
	})
}

func TestAnsweredElsewhereIsForgotten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, time.Minute)), changedEvent(7, 2, wire.Reason_REASON_ANSWERED_ELSEWHERE, user("alice", accepted)))
		event[CallInvitationReceived](w)
		if e := event[CallUserStateChanged](w); e.Reason != ReasonAnsweredElsewhere {
			t.Errorf("event %+v", e)
		}
		if calls := c.Calls(); len(calls) != 0 {
			t.Errorf("calls %+v", calls)
		}
	})
}

// callJoin brings a call here; it goes when another device takes it.
func TestDeviceSwitch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		done := later(t, func() (CallJoinResult, error) { return c.CallJoin(context.Background(), 7, CallJoinConfig{}) })
		p.answer(wait(t, p.frames), &wire.Response{Call: snapshot(7, 2, user("alice", accepted), user("bob", accepted))})
		if _, err := done(); err != nil {
			t.Fatal(err)
		}
		if calls := c.Calls(); len(calls) != 1 || !calls[0].IsMainDevice {
			t.Errorf("after callJoin: %+v", calls)
		}
		p.tell(changedEvent(7, 3, wire.Reason_REASON_MOVED_TO_OTHER_DEVICE, user("alice", accepted)))
		event[CallUserStateChanged](w)
		if calls := c.Calls(); len(calls) != 0 {
			t.Errorf("after the move: %+v", calls)
		}
	})
}

// The server has gone: the device stops ringing by itself, once, and tells no second timeout afterwards.
func TestRingStopsWithoutTheServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, 30*time.Second)))
		until := event[CallInvitationReceived](w).Call.RingUntil
		p.hangUp(wire.CloseGoingAway)
		w.net.setCut(true)
		e := event[CallInvitationTimeout](w)
		if e.CallID != 7 || !e.Local || !e.Time.Equal(until) || len(c.Calls()) != 0 {
			t.Errorf("event %+v, ring until %v, calls %+v", e, until, c.Calls())
		}
		w.net.setCut(false)
		next, login := w.login(nil)
		if len(login.KnownCalls) != 0 {
			t.Errorf("known calls %v", login.KnownCalls)
		}
		next.tell(timeoutEvent(7, 2))
		w.silent()
	})
}

// An invitation that comes when its time is over does not ring for its whole time-out.
func TestAnInvitationWithoutTimeLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, 0)))
		if until := event[CallInvitationReceived](w).Call.RingUntil; until.IsZero() || until.After(time.Now()) {
			t.Errorf("rings until %v", until)
		}
		if e := event[CallInvitationTimeout](w); !e.Local || len(c.Calls()) != 0 {
			t.Errorf("event %+v, calls %+v", e, c.Calls())
		}
	})
}

// While connected the server has the word, for a moment past the end.
func TestRingWaitsForTheServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, p := w.connect(w.config())
		p.tell(receivedEvent(ringing(7, 1, 3*time.Second)))
		until := event[CallInvitationReceived](w).Call.RingUntil
		later := time.NewTimer(time.Until(until) + ringGrace/2)
		<-later.C
		w.silent()
		p.tell(timeoutEvent(7, 2))
		if e := event[CallInvitationTimeout](w); e.Local {
			t.Errorf("event %+v", e)
		}
		p.tell(receivedEvent(ringing(8, 1, 3*time.Second)))
		event[CallInvitationReceived](w)
		if e := event[CallInvitationTimeout](w); !e.Local {
			t.Errorf("event %+v", e)
		}
	})
}

func TestEventsIterator(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.OnEvent = nil
		c, p := w.connect(cfg)
		p.tell(receivedEvent(ringing(7, 1, time.Minute)))
		var got []Event
		for e := range c.Events() {
			got = append(got, e)
			if _, ok := e.(CallInvitationReceived); ok {
				break
			}
		}
		if len(got) != 3 { // Connecting, Connected, Received
			t.Errorf("events %+v", got)
		}
		rest := make(chan []Event, 1)
		go func() {
			var all []Event
			for e := range c.Events() {
				all = append(all, e)
			}
			rest <- all
		}()
		synctest.Wait()
		_ = c.Close()
		if all := wait(t, rest); len(all) != 1 {
			t.Errorf("events after Close: %+v", all)
		}
	})
}

// An app that does not take its events loses its connection, not its events: once it has drained them it is told the rest
// by the sync.
func TestSlowApp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.OnEvent, cfg.EventQueue = nil, 8
		c, p := w.connect(cfg)
		p.tell(receivedEvent(ringing(7, 1, 10*time.Minute)))
		for v := range uint64(20) {
			p.tell(changedEvent(7, 2+v, 0, user("carol", accepted)))
		}
		if code := p.closeCode(t); code != wire.CloseSlowConsumer {
			t.Errorf("closed with %d", code)
		}
		synctest.Wait()
		select {
		case <-w.server.peers:
			t.Fatal("reconnected while the queue is full")
		default:
		}
		go func() {
			for e := range c.Events() {
				w.config().OnEvent(e)
			}
		}()
		gone := snapshot(7, 30, user("bob", accepted), user("alice", beCancelled), user("carol", accepted))
		_, login := w.login(&wire.LoginResult{Sync: []*wire.CallSnapshot{gone}})
		if len(login.KnownCalls) != 1 || login.KnownCalls[0].Version < 2 || login.KnownCalls[0].Version > 10 {
			t.Errorf("known calls %v", login.KnownCalls)
		}
		event[CallInvitationReceived](w)
		for range login.KnownCalls[0].Version - 1 {
			event[CallUserStateChanged](w)
		}
		if e := event[CallInvitationCancelled](w); e.Version != 30 || !e.Local {
			t.Errorf("event %+v", e)
		}
		if e := w.became(Reconnecting); !errors.Is(e.Reason, errSlowApp) {
			t.Errorf("reason %v", e.Reason)
		}
	})
}

// An OnEvent that blocks must not block the connection.
func TestHandlerBlocks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		release := make(chan struct{})
		handle := cfg.OnEvent
		cfg.OnEvent = func(e Event) {
			if _, ok := e.(CallInvitationReceived); ok {
				<-release
			}
			handle(e)
		}
		c, p := w.connect(cfg)
		p.tell(receivedEvent(ringing(7, 1, time.Minute)))
		wait(t, p.frames) // the receipt
		done := later(t, func() (any, error) { return c.CallReject(context.Background(), 7, CallRejectConfig{}) })
		p.answer(wait(t, p.frames), &wire.Response{})
		if _, err := done(); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		close(release)
		<-c.Done()
		event[CallInvitationReceived](w)
	})
}

// An app may close the client where it hears that it was kicked out.
func TestCloseWithinTheHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.config()
		var c *Client
		handle := cfg.OnEvent
		cfg.OnEvent = func(e Event) {
			if _, ok := e.(CallInvitationReceived); ok {
				_ = c.Close()
			}
			handle(e)
		}
		dialled := w.dial(cfg)
		p, _ := w.login(nil)
		c, _ = dialled()
		p.tell(receivedEvent(ringing(7, 1, time.Minute)))
		wait(t, c.Done())
		if e := w.became(Disconnected); !errors.Is(e.Reason, ErrClosed) {
			t.Errorf("reason %v", e.Reason)
		}
	})
}
