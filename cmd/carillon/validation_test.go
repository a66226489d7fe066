package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// text2049 is one byte more than extendedData may have.
var text2049 = strings.Repeat("x", 2049)

func letters(n int) string { return strings.Repeat("x", n) }

// edge is a parameter at its limit, which is accepted, and beyond, which is refused in the name of its field.
type edge struct {
	name        string
	field       string
	within, out func(*scene) proto.Message
	who         string
	moment      moment
}

// longest makes an edge of a text: op puts it into its message.
func longest(name, field, who string, at moment, limit int, op func(s *scene, text string) proto.Message) edge {
	return edge{
		name: name, field: field, who: who, moment: at,
		within: func(s *scene) proto.Message { return op(s, letters(limit)) },
		out:    func(s *scene) proto.Message { return op(s, letters(limit+1)) },
	}
}

// pushEdges are the three texts of a push.
func pushEdges(name, who string, at moment, op func(*scene, *wire.PushConfig) proto.Message) []edge {
	return []edge{
		longest(name, "push.title", who, at, 256, func(s *scene, x string) proto.Message { return op(s, &wire.PushConfig{Title: x}) }),
		longest(name, "push.content", who, at, 1024, func(s *scene, x string) proto.Message { return op(s, &wire.PushConfig{Content: x}) }),
		longest(name, "push.payload", who, at, 4096, func(s *scene, x string) proto.Message { return op(s, &wire.PushConfig{Payload: x}) }),
	}
}

func edges() []edge {
	out := []edge{
		longest("invite", "extended_data", "a", ringing, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallInvite{Invitees: s.names("b"), ExtendedData: x}
		}),
		longest("callingInvite", "extended_data", "a", ringing, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallingInvite{CallId: s.id, Invitees: s.names("d"), ExtendedData: x}
		}),
		longest("cancel", "extended_data", "a", ringing, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallCancel{CallId: s.id, ExtendedData: x}
		}),
		longest("accept", "extended_data", "b", ringing, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallAccept{CallId: s.id, ExtendedData: x}
		}),
		longest("reject", "extended_data", "b", ringing, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallReject{CallId: s.id, ExtendedData: x}
		}),
		longest("join", "extended_data", "e", ringing, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallJoin{CallId: s.id, ExtendedData: x}
		}),
		longest("quit", "extended_data", "b", accepted, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallQuit{CallId: s.id, ExtendedData: x}
		}),
		longest("end", "extended_data", "b", accepted, 2048, func(s *scene, x string) proto.Message {
			return &wire.CallEnd{CallId: s.id, ExtendedData: x}
		}),
		{
			name: "invite", field: "timeout_s", who: "a", moment: ringing,
			within: func(s *scene) proto.Message { return &wire.CallInvite{Invitees: s.names("b"), TimeoutS: 600} },
			out:    func(s *scene) proto.Message { return &wire.CallInvite{Invitees: s.names("b"), TimeoutS: 601} },
		},
		{
			name: "callingInvite", field: "timeout_s", who: "a", moment: ringing,
			within: func(s *scene) proto.Message {
				return &wire.CallingInvite{CallId: s.id, Invitees: s.names("d"), TimeoutS: 600}
			},
			out: func(s *scene) proto.Message {
				return &wire.CallingInvite{CallId: s.id, Invitees: s.names("d"), TimeoutS: 601}
			},
		},
		{
			name: "invite", field: "mode", who: "a", moment: ringing,
			within: func(s *scene) proto.Message { return &wire.CallInvite{Invitees: s.names("b"), Mode: noMode} },
			out:    func(s *scene) proto.Message { return &wire.CallInvite{Invitees: s.names("b"), Mode: 3} },
		},
		{
			name: "invite", field: "invitees", who: "a", moment: ringing,
			within: func(s *scene) proto.Message { return &wire.CallInvite{Invitees: s.names("b")} },
			out:    func(*scene) proto.Message { return &wire.CallInvite{} },
		},
		{
			name: "callingInvite", field: "invitees", who: "a", moment: ringing,
			within: func(s *scene) proto.Message { return &wire.CallingInvite{CallId: s.id, Invitees: s.names("d")} },
			out:    func(s *scene) proto.Message { return &wire.CallingInvite{CallId: s.id} },
		},
	}
	out = append(out, pushEdges("invite", "a", ringing, func(s *scene, p *wire.PushConfig) proto.Message {
		return &wire.CallInvite{Invitees: s.names("b"), Push: p}
	})...)
	out = append(out, pushEdges("callingInvite", "a", ringing, func(s *scene, p *wire.PushConfig) proto.Message {
		return &wire.CallingInvite{CallId: s.id, Invitees: s.names("d"), Push: p}
	})...)
	out = append(out, pushEdges("cancel", "a", ringing, func(s *scene, p *wire.PushConfig) proto.Message {
		return &wire.CallCancel{CallId: s.id, Push: p}
	})...)
	out = append(out, pushEdges("quit", "b", accepted, func(s *scene, p *wire.PushConfig) proto.Message {
		return &wire.CallQuit{CallId: s.id, Push: p}
	})...)
	return append(out, pushEdges("end", "b", accepted, func(s *scene, p *wire.PushConfig) proto.Message {
		return &wire.CallEnd{CallId: s.id, Push: p}
	})...)
}

func TestParametersAtTheirLimits(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	for _, e := range edges() {
		t.Run(e.name+" "+e.field, func(t *testing.T) {
			t.Parallel()
			s, c := e.moment.set(t, n, advanced, e.who)
			before := s.view()
			r := c.do(e.out(s))
			if r.GetCode() != 6000001 || !strings.Contains(r.GetMessage(), e.field) {
				t.Errorf("beyond the limit: %d %q, want 6000001 and the name %s", r.GetCode(), r.GetMessage(), e.field)
			}
			if after := s.view(); after != before {
				t.Errorf("a refusal changed\n\t%s\nto\n\t%s", before, after)
			}
			c.must(e.within(s))
		})
	}
}

func TestFramesThatNameNoOperation(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	s, a := ringing.set(t, n, common, "a")
	invite := func() *wire.ClientFrame { return frameOf(&wire.CallInvite{Invitees: s.names("b")}) }
	before := s.view()
	for name, tc := range map[string]struct {
		frame *wire.ClientFrame
		field string
	}{
		"no command ID":        {&wire.ClientFrame{Body: invite().Body}, "command_id"},
		"command ID too short": {&wire.ClientFrame{Body: invite().Body, CommandId: make([]byte, 15)}, "command_id"},
		"command ID too long":  {&wire.ClientFrame{Body: invite().Body, CommandId: make([]byte, 17)}, "command_id"},
		"no body":              {&wire.ClientFrame{CommandId: newCommandID()}, "body"},
		"no call ID":           {frameOf(&wire.CallAccept{}), "call_id"},
	} {
		if r := a.doFrame(tc.frame); r.GetCode() != 6000001 || !strings.Contains(r.GetMessage(), tc.field) {
			t.Errorf("%s: %d %q, want 6000001 and the name %s", name, r.GetCode(), r.GetMessage(), tc.field)
		}
	}
	unknown := &wire.ClientFrame{CommandId: newCommandID()}
	unknown.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("new")))
	if r := a.doFrame(unknown); r.GetCode() != 6000001 {
		t.Errorf("unknown operation: %d %q, want 6000001", r.GetCode(), r.GetMessage())
	}
	if err := a.write(invite()); err != nil { // request ID 0
		t.Fatal(err)
	}
	if r := a.next().GetResponse(); r.GetRequestId() != 0 || r.GetCode() != 6000001 || !strings.Contains(r.GetMessage(), "request_id") {
		t.Errorf("request ID 0: %v, want 6000001 and the name request_id", r)
	}
	if after := s.view(); after != before {
		t.Errorf("a refusal changed\n\t%s\nto\n\t%s", before, after)
	}
}

// alphabet32 are names that use the whole alphabet of SPEC 4, each of them allowed.
var alphabet32 = []string{
	"abcdefghijklmnopqrstuvwxyz012345", "ABCDEFGHIJKLMNOPQRSTUVWXYZ6789", "!#$%&()+-:;<=.>?@[]^_ {}|~", "x",
}

func TestUserIDs(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	a := newCast(t, n).join("a", "a1")
	r := a.must(&wire.CallInvite{Invitees: append([]string{"/", letters(33), "é", "", "x"}, alphabet32...)})
	got := printUsers(r.GetCall().GetUsers()[1:])
	for _, name := range alphabet32 {
		if !strings.Contains(got, name+" INVITING") {
			t.Errorf("%q is not invited: %s", name, got)
		}
	}
	if len(r.GetErrorUsers()) != 4 || len(r.GetCall().GetUsers()) != 1+len(alphabet32) {
		t.Errorf("users %s, error users %v", got, r.GetErrorUsers())
	}
	for _, e := range r.GetErrorUsers() {
		if e.GetCode() != 6000001 {
			t.Errorf("error user %v, want 6000001", e)
		}
	}
	if r := a.do(&wire.CallInvite{Invitees: []string{"/", a.user + a.mask}}); r.GetCode() != 6000001 || len(r.GetErrorUsers()) != 2 {
		t.Errorf("nobody to invite: %v", r)
	}
}

func TestHowManyUsers(t *testing.T) {
	t.Parallel()
	n := newNode(t, nil)
	k := newCast(t, n)
	a, e := k.join("a", "a1"), k.join("e", "e1")
	if r := a.do(&wire.CallInvite{Invitees: k.names(numbered("u", 10)...), Mode: advanced}); r.GetCode() != 6000272 || r.GetCall() != nil {
		t.Errorf("10 invitees: %v, want 6000272", r)
	}
	doubled := append(numbered("u", 9), numbered("u", 9)...)
	r := a.must(&wire.CallInvite{Invitees: k.names(doubled...), Mode: advanced})
	if len(r.GetErrorUsers()) != 0 || len(r.GetCall().GetUsers()) != 10 {
		t.Errorf("duplicate invitees: %v", r)
	}
	id := r.GetCall().GetCallId()
	for what, request := range map[string]proto.Message{
		"an eleventh by callingInvite": &wire.CallingInvite{CallId: id, Invitees: k.names("x")},
		"an eleventh by callJoin":      &wire.CallJoin{CallId: id},
	} {
		asker := a
		if _, joins := request.(*wire.CallJoin); joins {
			asker = e
		}
		if r := asker.do(request); r.GetCode() != 6000272 {
			t.Errorf("%s: %d %s, want 6000272", what, r.GetCode(), r.GetMessage())
		}
	}
	a.must(&wire.CallCancel{CallId: id, Invitees: k.names("u0")})
	e.must(&wire.CallJoin{CallId: id})
	if r := a.do(&wire.CallingInvite{CallId: id, Invitees: k.names("x")}); r.GetCode() != 6000272 {
		t.Errorf("the place is taken: %d %s, want 6000272", r.GetCode(), r.GetMessage())
	}
}
