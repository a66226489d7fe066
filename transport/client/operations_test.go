package client

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

func snapshot(id, version uint64, users ...*wire.CallUser) *wire.CallSnapshot {
	return &wire.CallSnapshot{
		CallId: id, Version: version, State: wire.CallState_CALL_STATE_STARTED, ViewState: wire.CallState_CALL_STATE_STARTED,
		Mode: wire.CallMode_CALL_MODE_ADVANCED, Caller: "alice", CreateTimeMs: 1000, TimeoutS: 90, ExtendedData: "x", Users: users,
	}
}

func user(id string, s wire.UserState) *wire.CallUser { return &wire.CallUser{UserId: id, State: s} }

const (
	inviting    = wire.UserState_USER_STATE_INVITING
	received    = wire.UserState_USER_STATE_RECEIVED
	accepted    = wire.UserState_USER_STATE_ACCEPTED
	rejected    = wire.UserState_USER_STATE_REJECTED
	cancelled   = wire.UserState_USER_STATE_CANCELLED
	beCancelled = wire.UserState_USER_STATE_BE_CANCELLED
	timedOut    = wire.UserState_USER_STATE_TIMEOUT
	quit        = wire.UserState_USER_STATE_QUIT
)

// What the operations of TestOperations are given and answered.
var (
	background = context.Background()
	push       = &PushConfig{Title: "t", Content: "c", Payload: "p", ResourcesID: "r", VoIP: true}
	pushed     = &wire.PushConfig{Title: "t", Content: "c", Payload: "p", ResourcesId: "r", Voip: true}
	theCall    = func() *wire.CallSnapshot {
		s := snapshot(7, 3, user("alice", accepted), user("bob", inviting))
		s.IsMainDevice = true
		return s
	}()
	theInfo   = callOf(theCall)
	theAnswer = &wire.Response{
		Call: theCall, ErrorUsers: []*wire.UserError{{UserId: "eve", Code: 6000281}},
		Result: &wire.Response_Times{Times: &wire.CallTimes{CreateTimeMs: 1, AcceptTimeMs: 2, JoinTimeMs: 3, QuitTimeMs: 4, EndTimeMs: 5, TimeoutS: 60}},
	}
	eve = []ErrorUser{{"eve", NoUser}}
)

type operationTest struct {
	run    func(*Client) (any, error)
	want   *wire.ClientFrame
	answer *wire.Response
	result any
}

var operationTests = map[string]operationTest{
	"callInvite": {
		func(c *Client) (any, error) {
			return c.CallInvite(background, []string{"bob", "eve"}, CallInviteConfig{Timeout: 59500 * time.Millisecond, Mode: Advanced, ExtendedData: "x", PushConfig: push, EnableNotReceivedCheck: true, AloneTimeout: time.Minute})
		},
		&wire.ClientFrame{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{Invitees: []string{"bob", "eve"}, TimeoutS: 60, Mode: wire.CallMode_CALL_MODE_ADVANCED, ExtendedData: "x", Push: pushed, EnableNotReceivedCheck: true, AloneTimeoutS: 60}}},
		theAnswer,
		CallInviteResult{CallID: 7, CreateTime: time.UnixMilli(1), Timeout: time.Minute, ErrorUsers: eve, Call: theInfo},
	},
	"callCancel": {
		func(c *Client) (any, error) {
			return c.CallCancel(background, 7, []string{"bob"}, CallCancelConfig{ExtendedData: "x", PushConfig: push})
		},
		&wire.ClientFrame{Body: &wire.ClientFrame_CallCancel{CallCancel: &wire.CallCancel{CallId: 7, Invitees: []string{"bob"}, ExtendedData: "x", Push: pushed}}},
		theAnswer,
		CallCancelResult{ErrorUsers: eve, Call: theInfo},
	},
	"callAccept": {
		func(c *Client) (any, error) { return c.CallAccept(background, 7, CallAcceptConfig{ExtendedData: "x"}) },
		&wire.ClientFrame{Body: &wire.ClientFrame_CallAccept{CallAccept: &wire.CallAccept{CallId: 7, ExtendedData: "x"}}},
		theAnswer,
		CallAcceptResult{AcceptTime: time.UnixMilli(2), Call: theInfo},
	},
	"callReject": {
		func(c *Client) (any, error) { return c.CallReject(background, 7, CallRejectConfig{ExtendedData: "x"}) },
		&wire.ClientFrame{Body: &wire.ClientFrame_CallReject{CallReject: &wire.CallReject{CallId: 7, ExtendedData: "x"}}},
		theAnswer,
		CallRejectResult{Call: theInfo},
	},
	"callingInvite": {
		func(c *Client) (any, error) {
			return c.CallingInvite(background, 7, []string{"eve"}, CallingInviteConfig{PushConfig: push, Timeout: time.Second, ExtendedData: "x"})
		},
		&wire.ClientFrame{Body: &wire.ClientFrame_CallingInvite{CallingInvite: &wire.CallingInvite{CallId: 7, Invitees: []string{"eve"}, Push: pushed, TimeoutS: 1, ExtendedData: "x"}}},
		theAnswer,
		CallingInviteResult{ErrorUsers: eve, Call: theInfo},
	},
	"callJoin": {
		func(c *Client) (any, error) { return c.CallJoin(background, 7, CallJoinConfig{ExtendedData: "x"}) },
		&wire.ClientFrame{Body: &wire.ClientFrame_CallJoin{CallJoin: &wire.CallJoin{CallId: 7, ExtendedData: "x"}}},
		theAnswer,
		CallJoinResult{CreateTime: time.UnixMilli(1), JoinTime: time.UnixMilli(3), ExtendedData: "x", Users: theInfo.Users, Call: theInfo},
	},
	"callQuit": {
		func(c *Client) (any, error) {
			return c.CallQuit(background, 7, CallQuitConfig{ExtendedData: "x", PushConfig: push})
		},
		&wire.ClientFrame{Body: &wire.ClientFrame_CallQuit{CallQuit: &wire.CallQuit{CallId: 7, ExtendedData: "x", Push: pushed}}},
		theAnswer,
		CallQuitResult{CreateTime: time.UnixMilli(1), AcceptTime: time.UnixMilli(2), QuitTime: time.UnixMilli(4), Call: theInfo},
	},
	"callEnd": {
		func(c *Client) (any, error) {
			return c.CallEnd(background, 7, CallEndConfig{ExtendedData: "x", PushConfig: push})
		},
		&wire.ClientFrame{Body: &wire.ClientFrame_CallEnd{CallEnd: &wire.CallEnd{CallId: 7, ExtendedData: "x", Push: pushed}}},
		theAnswer,
		CallEndResult{CreateTime: time.UnixMilli(1), AcceptTime: time.UnixMilli(2), EndTime: time.UnixMilli(5), Call: theInfo},
	},
	"queryCallInvitationList": {
		func(c *Client) (any, error) { return c.QueryCallInvitationList(background, 500, 9) },
		&wire.ClientFrame{Body: &wire.ClientFrame_QueryCallInvitationList{QueryCallInvitationList: &wire.QueryCallInvitationList{Count: 100, NextFlag: 9}}},
		&wire.Response{Result: &wire.Response_List{List: &wire.CallList{Calls: []*wire.CallSnapshot{theCall}, NextFlag: 8}}},
		CallInvitationList{Calls: []CallInfo{theInfo}, NextFlag: 8},
	},
	"renewToken": {
		func(c *Client) (any, error) { return nil, c.RenewToken(background, "fresh") },
		&wire.ClientFrame{Body: &wire.ClientFrame_RenewToken{RenewToken: &wire.RenewToken{Token: "fresh"}}},
		&wire.Response{}, nil,
	},
}

// Each operation sends what it was given, and gives back what was answered.
func TestOperations(t *testing.T) {
	for name, test := range operationTests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, p := w.connect(w.config())
				done := later(t, func() (any, error) { return test.run(c) })
				f := wait(t, p.frames)
				if f.RequestId == 0 {
					t.Error("no request ID")
				}
				if changes := name != "queryCallInvitationList" && name != "renewToken"; changes != (len(f.CommandId) == 16) {
					t.Errorf("command ID %x", f.CommandId)
				}
				p.answer(f, proto.Clone(test.answer).(*wire.Response))
				f.RequestId, f.CommandId = 0, nil
				if !proto.Equal(f, test.want) {
					t.Errorf("sent %v\nwant %v", f, test.want)
				}
				if got, err := done(); err != nil || !reflect.DeepEqual(got, test.result) {
					t.Errorf("got %+v, %v\nwant %+v", got, err, test.result)
				}
			})
		})
	}
}

func TestRefusalIsTyped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		done := later(t, func() (CallAcceptResult, error) { return c.CallAccept(context.Background(), 7, CallAcceptConfig{}) })
		p.answer(wait(t, p.frames), &wire.Response{Code: 6000274, Message: "bob is not pending", Call: snapshot(7, 4, user("alice", rejected))})
		_, err := done()
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, NotInvited) || errors.Is(err, NoSuchCall) {
			t.Fatalf("err = %v", err)
		}
		if e.Call == nil || e.Call.Version != 4 || e.Message != "bob is not pending" || e.Command == (CommandID{}) {
			t.Errorf("error %+v", e)
		}
	})
}

func TestTooFrequent(t *testing.T) {
	refusal := func() *wire.Response { return &wire.Response{Code: 6000005, RetryAfterMs: 700} }
	accept := func(c *Client) func() (CallAcceptResult, error) {
		return func() (CallAcceptResult, error) { return c.CallAccept(context.Background(), 7, CallAcceptConfig{}) }
	}
	t.Run("returned", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			c, p := w.connect(w.config())
			done := later(t, accept(c))
			p.answer(wait(t, p.frames), refusal())
			_, err := done()
			if e := (*Error)(nil); !errors.As(err, &e) || e.Code != TooFrequent || e.RetryAfter != 700*time.Millisecond {
				t.Errorf("err = %+v", err)
			}
		})
	})
	t.Run("repeated", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			cfg := w.config()
			cfg.RetryTooFrequent = true
			c, p := w.connect(cfg)
			done := later(t, accept(c))
			first := wait(t, p.frames)
			p.answer(first, refusal())
			second := wait(t, p.frames)
			if string(first.CommandId) != string(second.CommandId) {
				t.Error("another command ID")
			}
			p.answer(second, &wire.Response{})
			if _, err := done(); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestRequestThatCannotBeSent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, p := w.connect(w.config())
		for name, text := range map[string]string{"too long": string(make([]byte, wire.MaxClientFrame)), "not UTF-8": "\xff"} {
			if _, err := c.CallAccept(context.Background(), 7, CallAcceptConfig{ExtendedData: text}); !errors.Is(err, BadParameter) {
				t.Errorf("%s: err = %v, want BadParameter", name, err)
			}
		}
		if _, err := c.QueryCallInvitationList(context.Background(), -1, 0); !errors.Is(err, BadParameter) {
			t.Errorf("count -1: err = %v", err)
		}
		select {
		case f := <-p.frames:
			t.Errorf("sent %v", f)
		default:
		}
	})
}
