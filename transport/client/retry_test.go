package client

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"carillon/transport/wire"
)

func invite(ctx context.Context, c *Client) func() (CallInviteResult, error) {
	return func() (CallInviteResult, error) { return c.CallInvite(ctx, []string{"bob"}, CallInviteConfig{}) }
}

// The answer is lost with its connection: the same command goes out on the next one and gets the first outcome.
func TestLostAnswerIsFetchedOnTheNextConnection(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		done := later(t, invite(context.Background(), c))
		first := wait(t, p.frames)
		p.hangUp(wire.CloseOverloaded)
		next, _ := w.login(nil)
		second := wait(t, next.frames)
		if !bytes.Equal(first.CommandId, second.CommandId) {
			t.Errorf("command ID %x, then %x", first.CommandId, second.CommandId)
		}
		next.answer(second, &wire.Response{Call: snapshot(7, 1, user("alice", accepted))})
		if r, err := done(); err != nil || r.CallID != 7 {
			t.Errorf("%+v, %v", r, err)
		}
		if e := w.became(Reconnecting); e.Reason == nil {
			t.Error("Reconnecting without a reason")
		}
		w.became(Connected)
	})
}

// A server that is only slow is asked again after RequestTimeout; the answer to any attempt counts.
func TestUnansweredIsRepeatedOnTheSameConnection(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		done := later(t, invite(context.Background(), c))
		first, second := wait(t, p.frames), wait(t, p.frames)
		if !bytes.Equal(first.CommandId, second.CommandId) || first.RequestId == second.RequestId {
			t.Errorf("first %v, second %v", first, second)
		}
		p.answer(first, &wire.Response{Call: snapshot(7, 1, user("alice", accepted))})
		p.answer(second, &wire.Response{Call: snapshot(7, 1, user("alice", accepted))})
		if r, err := done(); err != nil || r.CallID != 7 {
			t.Errorf("%+v, %v", r, err)
		}
		fresh := later(t, invite(context.Background(), c))
		third := wait(t, p.frames)
		if bytes.Equal(third.CommandId, first.CommandId) {
			t.Error("another intent under the same command ID")
		}
		p.answer(third, &wire.Response{})
		if _, err := fresh(); err != nil {
			t.Error(err)
		}
	})
}

// Repetitions thin out: a server that is behind is asked four times in all.
func TestRepetitionsThinOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		start := time.Now()
		done := later(t, invite(context.Background(), c))
		for _, at := range []time.Duration{0, 2 * time.Second, 6 * time.Second, 14 * time.Second} {
			wait(t, p.frames)
			if d := time.Since(start); d != at {
				t.Errorf("sent after %v, want %v", d, at)
			}
		}
		if _, err := done(); !errors.Is(err, TimedOut) || time.Since(start) != defaultRequestBudget || len(p.frames) > 0 {
			t.Errorf("err = %v after %v, %d more sent", err, time.Since(start), len(p.frames))
		}
	})
}

func TestInternalErrorIsRepeated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		done := later(t, invite(context.Background(), c))
		f := wait(t, p.frames)
		p.answer(f, &wire.Response{Code: uint32(Internal)})
		again := wait(t, p.frames)
		if !bytes.Equal(f.CommandId, again.CommandId) {
			t.Error("another command ID")
		}
		p.answer(again, &wire.Response{})
		if _, err := done(); err != nil {
			t.Error(err)
		}
	})
}

func TestInternalErrorIsReturnedWhenTheBudgetIsOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		done := later(t, invite(context.Background(), c))
		go func() {
			for {
				select {
				case f := <-p.frames:
					p.answer(f, &wire.Response{Code: uint32(Internal), Message: "store"})
				case <-p.gone:
					return
				}
			}
		}()
		if _, err := done(); !errors.Is(err, Internal) {
			t.Errorf("err = %v, want Internal", err)
		}
	})
}

func TestTimedOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		_, err := later(t, invite(context.Background(), c))()
		var e *Error
		if !errors.As(err, &e) || e.Code != TimedOut || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("err = %v", err)
		}
		sent := wait(t, p.frames)
		synctest.Wait()
		for len(p.frames) > 0 { // the later attempts
			wait(t, p.frames)
		}
		done := later(t, func() (CallInviteResult, error) {
			return c.CallInvite(context.Background(), []string{"bob"}, CallInviteConfig{Command: e.Command})
		})
		again := wait(t, p.frames)
		if !bytes.Equal(again.CommandId, sent.CommandId) {
			t.Errorf("repeated with %x, want %x", again.CommandId, sent.CommandId)
		}
		p.answer(again, &wire.Response{})
		if _, err := done(); err != nil {
			t.Error(err)
		}
	})
}

func TestConnectionLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done := later(t, invite(ctx, c))
		wait(t, p.frames)
		p.hangUp(wire.CloseGoingAway)
		w.net.setCut(true)
		_, err := done()
		if !errors.Is(err, ConnectionLost) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("sent: err = %v", err)
		}
		short, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_, err = invite(short, c)()
		if e := (*Error)(nil); !errors.As(err, &e) || e.Code != ConnectionLost || e.Message != "no connection; nothing was sent" {
			t.Errorf("not sent: err = %v", err)
		}
		w.net.setCut(false)
		w.login(nil)
		w.became(Reconnecting)
		w.became(Connected)
	})
}

// More operations than fit wait for a place, and are all answered.
func TestManyOperationsAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		const n = 3 * maxOutstanding
		outcomes := make(chan error, n)
		for range n {
			go func() {
				_, err := c.CallReject(context.Background(), 7, CallRejectConfig{})
				outcomes <- err
			}()
		}
		most := 0
		for range n {
			f := wait(t, p.frames)
			most = max(most, len(p.frames)+1)
			p.answer(f, &wire.Response{})
		}
		for range n {
			if err := wait(t, outcomes); err != nil {
				t.Error(err)
			}
		}
		if most > maxOutstanding {
			t.Errorf("%d under way at once, limit %d", most, maxOutstanding)
		}
	})
}

func TestAfterTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		under := later(t, invite(context.Background(), c))
		wait(t, p.frames)
		_ = c.Close()
		if _, err := under(); !errors.Is(err, NotLoggedIn) || !errors.Is(err, ErrClosed) {
			t.Errorf("under way at Close: err = %v", err)
		}
		if _, err := invite(context.Background(), c)(); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: err = %v", err)
		}
		if code := p.closeCode(t); code != wire.CloseGoingAway {
			t.Errorf("closed with %d", code)
		}
		if e := w.became(Disconnected); !errors.Is(e.Reason, ErrClosed) || !errors.Is(c.Err(), ErrClosed) {
			t.Errorf("reason %v, err %v", e.Reason, c.Err())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestLogout(t *testing.T) {
	for name, end := range map[string]func(*peer, *wire.ClientFrame){
		"answered":     func(p *peer, f *wire.ClientFrame) { p.answer(f, &wire.Response{}) },
		"closed first": func(p *peer, _ *wire.ClientFrame) { p.hangUp(wire.CloseLoggedOut) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, p := w.connect(w.config())
				done := later(t, func() (any, error) { return nil, c.Logout(context.Background()) })
				f := wait(t, p.frames)
				if f.GetLogout() == nil {
					t.Errorf("sent %v", f)
				}
				end(p, f)
				if _, err := done(); err != nil {
					t.Error(err)
				}
				if !errors.Is(c.Err(), ErrLoggedOut) || c.State() != Disconnected {
					t.Errorf("err %v, state %v", c.Err(), c.State())
				}
			})
		})
	}
}
