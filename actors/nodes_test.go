package actors

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carillon/actors/call"
	"carillon/actors/session"
)

// traveller is a message that nodes send each other, as whoever receives it gets it.
type traveller struct {
	to  target
	msg any
}

var travellers = []traveller{
	{toCall, &command{}},
	{toCall, told{}},
	{toCall, presence{}},
	{toCall, ask{}},
	{toSession, &attach{}},
	{toSession, &list{}},
	{toSession, session.Seen{}},
	{toSession, session.Broken{}},
	{toSession, session.Logout{}},
	{toSession, session.Tell{}},
	{toSession, session.Watch{}},
	{toSession, session.Heard{}},
	{toSession, session.Synced{}},
	{toSession, session.Handover{}},
	{toGateway, output{}},
	{toGateway, recall{}},
	{toGateway, audit{}},
}

// stays are the messages that never leave their node, and what is only a part of others.
var stays = map[string]string{
	"leave": "from the node's own system", "doubt": "from the node's own system", "moved": "from the node's own system",
	"known": "part of attach", "closing": "part of output",
	"session.Login": "a session makes it of attach", "session.Doubt": "a session makes it of doubt", "session.Tick": "its own alarm",
	"session.Handed": "part of Handover", "session.Watching": "part of Handover", "session.Version": "part of Handover",
	"session.Item": "part of Tell",
}

// untold are the fields that do not travel, because the receiver knows them or they mean nothing there.
var untold = map[string]string{
	"command.ctx":  "spans end at the node's border",
	"Command.From": "OpTold only, which is told", "Command.Seq": "OpTold only, which is told",
	"Invite.ID": "the call knows its own",
}

// here is the receiver's clock.
var here = simStart.Add(time.Hour)

// populate draws a value for every field, whatever it is called: one that is added and not encoded is found.
func populate(t *rapid.T, v reflect.Value, path string) {
	if !v.CanSet() {
		return
	}
	switch v.Interface().(type) {
	case time.Time: // not after here: a clock that is ahead is put right
		v.Set(reflect.ValueOf(here.Add(-time.Duration(rapid.Int64Range(0, 1e12).Draw(t, path)) * time.Microsecond)))
		return
	case time.Duration:
		v.SetInt(rapid.Int64Range(0, 1e12).Draw(t, path) * int64(time.Millisecond))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, path))
	case reflect.String:
		v.SetString(rapid.String().Draw(t, path))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64Max(1<<v.Type().Bits()-1).Draw(t, path))
	case reflect.Int:
		v.SetInt(rapid.Int64Range(0, maxPage).Draw(t, path))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, path))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, path+" there") {
			v.Set(reflect.New(v.Type().Elem()))
			populate(t, v.Elem(), path)
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 3).Draw(t, path+" n"); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			populate(t, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if _, not := untold[v.Type().Name()+"."+f.Name]; !not {
				populate(t, v.Field(i), path+"."+f.Name)
			}
		}
	default:
		t.Fatalf("%s: what is a %s?", path, v.Type())
	}
}

// draw makes a message of the same type.
func (m traveller) draw(t *rapid.T) any {
	typ := reflect.TypeOf(m.msg)
	pointer := typ.Kind() == reflect.Pointer
	if pointer {
		typ = typ.Elem()
	}
	v := reflect.New(typ)
	populate(t, v.Elem(), typ.Name())
	if c, ok := v.Interface().(*command); ok {
		if c.User += "u"; (c.Op == call.OpInvite) != (c.Invite != nil) {
			c.Op, c.Invite = call.OpInvite, &call.Invite{Mode: call.Common}
		}
		c.ctx = context.Background()
	}
	if u := v.Elem().FieldByName("User"); u.IsValid() {
		u.SetString(u.String() + "u")
	}
	if pointer {
		return v.Interface()
	}
	return v.Elem().Interface()
}

// encode is a message on its way to call 7, user "u" or connection 7.
func (m traveller) encode(msg any) (kind uint8, body []byte, ok bool) {
	switch m.to {
	case toCall:
		return encodeForCall(7, msg)
	case toSession:
		return encodeForSession("u", msg)
	}
	return encodeForGateway(7, msg)
}

func (m traveller) addressed(a arrival) bool {
	switch m.to {
	case toCall:
		return a == arrival{to: toCall, call: 7, msg: a.msg}
	case toSession:
		return a == arrival{to: toSession, user: "u", msg: a.msg}
	}
	return a == arrival{to: toGateway, conn: 7, msg: a.msg}
}

// TestMessagesTravel: what one node sends is what the other receives, in every field.
func TestMessagesTravel(t *testing.T) {
	for _, m := range travellers {
		t.Run(reflect.TypeOf(m.msg).String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				msg := m.draw(t)
				kind, body, ok := m.encode(msg)
				if !ok {
					t.Fatalf("%T is not encoded", msg)
				}
				a, ok := decode(kind, body, here)
				if c, is := msg.(*command); is {
					c.ctx = nil
				}
				if a.msg = local(a.msg); !ok || !reflect.DeepEqual(a.msg, local(msg)) {
					t.Fatalf("sent     %+v\nreceived %+v, %t", msg, a.msg, ok)
				}
				if a.msg = nil; !m.addressed(a) {
					t.Fatalf("arrives as %+v", a)
				}
				clear(body)
			})
		})
	}
}

// local names instants by the zone that the test has.
func local(msg any) any {
	switch m := msg.(type) {
	case *command:
		m.At = m.At.UTC()
	case *attach:
		m.At = m.At.UTC()
	case *list:
		m.At = m.At.UTC()
	}
	return msg
}

// TestNoMessageIsForgotten: every message of the two actors and the gateway travels, or is said to stay.
func TestNoMessageIsForgotten(t *testing.T) {
	var known []string
	for _, m := range travellers {
		known = append(known, strings.TrimPrefix(strings.TrimPrefix(reflect.TypeOf(m.msg).String(), "*"), "actors."))
	}
	declared := append(types(t, "messages.go", ""), types(t, "session/messages.go", "session.")...)
	for _, name := range declared {
		if _, here := stays[name]; here == slices.Contains(known, name) {
			t.Errorf("%s: must it travel between nodes?", name)
		}
	}
	for _, name := range append(known, slices.Collect(maps.Keys(stays))...) {
		if !slices.Contains(declared, name) {
			t.Errorf("%s is no message", name)
		}
	}
	kinds := map[uint8]string{}
	for i, m := range travellers {
		kind, _, _ := m.encode(m.msg)
		if kinds[kind] != "" || kind == 0 {
			t.Errorf("%s and %s have the kind %d", kinds[kind], known[i], kind)
		}
		kinds[kind] = known[i]
	}
	if got := constants(t, "kinds.go"); got != len(kinds) {
		t.Errorf("%d kinds are declared, %d are sent", got, len(kinds))
	}
	for _, m := range []any{leave{}, doubt{}, moved{}, wake{}} {
		_, _, call := encodeForCall(7, m)
		_, _, user := encodeForSession("u", m)
		_, _, gate := encodeForGateway(7, m)
		if call || user || gate {
			t.Errorf("%T travels", m)
		}
	}
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// types are the structs that a file declares, without effects: those are a session's word to its own actor.
func types(t *testing.T, file, prefix string) []string {
	t.Helper()
	var names, effects []string
	for _, d := range parse(t, file).Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			effects = append(effects, d.Recv.List[0].Type.(*ast.Ident).Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					if _, is := s.Type.(*ast.StructType); is {
						names = append(names, s.Name.Name)
					}
				}
			}
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(effects, n) })
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}

// constants counts those of a file whose names begin with kind.
func constants(t *testing.T, file string) int {
	t.Helper()
	n := 0
	for _, d := range parse(t, file).Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			if strings.HasPrefix(s.(*ast.ValueSpec).Names[0].Name, "kind") {
				n++
			}
		}
	}
	return n
}

// FuzzNode: whatever a node sends, it does not panic, names somebody, and what is understood can be passed on.
func FuzzNode(f *testing.F) {
	for _, m := range travellers {
		kind, body, _ := m.encode(m.msg)
		f.Add(kind, body)
		f.Add(kind, append(body, body...))
	}
	f.Add(kindCommand, marshal(nodeCommand(7, newDesk(f).invite(7, &command{Command: call.Command{
		User: "A", Users: []call.UserID{"B"}, Timeout: time.Second, Invite: &call.Invite{Mode: call.Common},
	}}))))
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		a, ok := decode(kind, body, here)
		if !ok {
			return
		}
		m := traveller{to: a.to, msg: a.msg}
		again, b, ok := func() (uint8, []byte, bool) {
			switch a.to {
			case toCall:
				return encodeForCall(a.call, a.msg)
			case toSession:
				if a.user == "" {
					t.Fatalf("%T for nobody", a.msg)
				}
				return encodeForSession(a.user, a.msg)
			}
			return encodeForGateway(a.conn, a.msg)
		}()
		if !ok || again != kind {
			t.Fatalf("%T came as kind %d, and would go on as %d, %t", a.msg, kind, again, ok)
		}
		if b, ok := decode(again, b, here); !ok || !reflect.DeepEqual(a, b) {
			t.Fatalf("received   %+v\npassed on  %+v, %t", a, b, ok)
		}
		m.hear(newDesk(t), a)
	})
}

// hear lets the receiver take it in.
func (m traveller) hear(d *desk, a arrival) {
	d.now = here
	switch m.to {
	case toCall:
		newCall(a.call, &d.cfg, d, d).Receive(a.msg)
	case toSession:
		newSession(a.user, &d.cfg, d, d).Receive(a.msg)
	}
}
