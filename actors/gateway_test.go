package actors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/actors/call"
	"carillon/actors/session"
	"carillon/transport/wire"
)

// view is a Placement by hand: who owns every shard, and the lives of the members.
type view struct {
	owner Owner
	boots map[string]uint64
}

func (v view) Owner(uint16) Owner      { return v.owner }
func (v view) Boot(node string) uint64 { return v.boots[node] }

// owned is a view in which a node owns all, in its first life; so are a, b and c alive.
func owned(by string) view {
	return view{Owner{Node: by, Boot: 1, Client: by + ".example:1"}, map[string]uint64{"a": 1, "b": 1, "c": 1}}
}

// booth is one gateway of node a, with a connection and peers that write down what they get.
type booth struct {
	*Gateway
	place Placement
	notes []string
}

func newBooth(t *testing.T, p Placement) *booth {
	cfg := testConfig(nil)
	cfg.Node, cfg.Spread, cfg.Now = "a", 10*time.Second, func() time.Time { return simStart }
	b := &booth{place: p}
	cfg.Watch.Repaired = func(how string) { b.note("repaired: %s", how) }
	sys := &System{cfg: cfg, gateways: map[uint64]*Gateway{}}
	sys.gate.open(&sys.cfg)
	b.Gateway = sys.Open(b)
	b.peers = b
	b.Gateway.place = func() Placement { return b.place }
	b.Login(&wire.ClientFrame{RequestId: 1, Body: &wire.ClientFrame_Login{Login: &wire.Login{UserId: "u", DeviceId: "u1"}}})
	b.hears(t, "login")
	return b
}

func (b *booth) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

func (b *booth) ID() uint64                     { return 1 }
func (b *booth) Send(frames []byte)             { b.note("sends %s", frames) }
func (b *booth) Close(code uint64, _ string)    { b.note("closes with %d", code) }
func (b *booth) LoggedIn()                      { b.note("logged in") }
func (b *booth) ToCall(call.ID, any)            {}
func (b *booth) ToGateway(session.Conn, any)    {}
func (b *booth) ToSession(_ call.UserID, m any) { b.toSession(m) }

func (b *booth) Slow(int) {}

func (b *booth) GoAway(after time.Duration, to string) {
	when := "now"
	if after > 0 && after < b.cfg.Spread {
		when = "soon"
	}
	b.note("goes to %s %s", to, when)
}

func (b *booth) toSession(m any) {
	switch m := m.(type) {
	case *attach:
		b.note("login")
	case session.Seen:
		b.note("seen, %d heard%s", m.Heard, map[bool]string{true: ", silent"}[m.Silent])
	case session.Broken:
		b.note("broken")
	}
}

// hears takes what was written down.
func (b *booth) hears(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.notes, want) {
		t.Errorf("got %q, want %q", strings.Join(b.notes, "; "), strings.Join(want, "; "))
	}
	b.notes = nil
}

// online lets the session answer the login.
func (b *booth) online(t *testing.T) *booth {
	t.Helper()
	b.deliver(output{Number: 1, Frames: []byte("W"), Answers: 1, LoggedIn: true})
	b.hears(t, "logged in", "sends W")
	return b
}

func (b *booth) gets(number uint64, frames string) {
	b.deliver(output{Number: number, Frames: []byte(frames)})
}

// TestNumberedOutputs: each is handed on once and in order; one that is missing ends the connection.
func TestNumberedOutputs(t *testing.T) {
	b := newBooth(t, nil).online(t)
	b.gets(2, "x")
	b.gets(2, "x")
	b.gets(1, "W")
	b.gets(0, "list")
	b.gets(3, "y")
	b.hears(t, "sends x", "sends list", "sends y")
	b.seen()
	b.hears(t, "seen, 3 heard")
	b.gets(5, "z")
	b.hears(t, "repaired: gap", fmt.Sprintf("closes with %d", wire.CloseGoingAway))
	b.seen()
	b.hears(t, "seen, 3 heard")
	b.Closed()
	b.gets(4, "y")
	b.hears(t, "broken")
}

// TestAnswersOfDoubles: an answer that comes twice frees one place.
func TestAnswersOfDoubles(t *testing.T) {
	b := newBooth(t, nil).online(t)
	for range 2 {
		if r, _ := b.admit(1, 0, nil); r != nil {
			t.Fatal(r)
		}
	}
	for range 3 {
		b.deliver(output{Number: 2, Frames: []byte("x"), Answers: 1})
	}
	if n := len(b.requests); n != 1 || b.load.count.Load() != 1 {
		t.Errorf("%d requests are under way, %d are counted", n, b.load.count.Load())
	}
}

// TestAudits: a gateway says silently how much it was given, or ends a connection that lacks something.
func TestAudits(t *testing.T) {
	b := newBooth(t, nil)
	b.deliver(audit{Number: 1})
	gap := []string{"repaired: gap", fmt.Sprintf("closes with %d", wire.CloseGoingAway)}
	b.hears(t, gap...)

	b = newBooth(t, nil).online(t)
	b.gets(2, "x")
	b.deliver(audit{Number: 1})
	b.deliver(audit{Number: 2})
	b.hears(t, "sends x", "seen, 2 heard, silent", "seen, 2 heard, silent")
	b.deliver(audit{Number: 3})
	b.hears(t, gap...)
}

func TestRecalled(t *testing.T) {
	b := newBooth(t, nil).online(t)
	b.deliver(recall{})
	b.hears(t, fmt.Sprintf("closes with %d", wire.CloseGoingAway))
}

// TestFollow: what a gateway does when another node owns the session.
func TestFollow(t *testing.T) {
	recalled := fmt.Sprintf("closes with %d", wire.CloseGoingAway)
	gone, anew, nobody := owned("c"), owned("c"), owned("c")
	delete(gone.boots, "b")
	anew.boots["b"] = 2
	nobody.owner = Owner{}
	silent := owned("c")
	silent.owner.Client = ""
	reborn := owned("b")
	reborn.owner.Boot, reborn.boots["b"] = 2, 2
	for _, c := range []struct {
		what   string
		next   view
		online []string
		joins  []string // what it does while the login is not answered
	}{
		{"the owner stays", owned("b"), nil, nil},
		{"the owner hands over", owned("c"), []string{"seen, 1 heard", "goes to c.example:1 soon"}, nil},
		{"the owner hands over to this node", owned("a"), []string{"seen, 1 heard"}, nil},
		{"to one who does not say where clients reach him", silent, []string{"seen, 1 heard"}, nil},
		{"to nobody: all are leaving", nobody, []string{"seen, 1 heard"}, nil},
		{"the owner died", gone, []string{recalled}, []string{recalled}},
		{"the owner is in another life, and owns no more", anew, []string{recalled}, []string{recalled}},
		{"the owner is in another life, and owns again", reborn, []string{recalled}, []string{recalled}},
		{"this node is in no view", view{}, []string{recalled}, []string{recalled}},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := newBooth(t, owned("b"))
			b.place = c.next
			b.follow(b.place)
			b.hears(t, c.joins...)

			b = newBooth(t, owned("b")).online(t)
			b.place = c.next
			b.follow(b.place)
			b.hears(t, c.online...)
			b.follow(b.place)
			b.hears(t)

			b = newBooth(t, owned("b")).online(t)
			b.Closed()
			b.place = c.next
			b.follow(b.place)
			b.hears(t, "broken")
		})
	}
}

// TestFollowAfterTheLogin: an owner who has handed over while the login was under way has handed the login over, too; who
// dies afterwards is the next owner.
func TestFollowAfterTheLogin(t *testing.T) {
	b := newBooth(t, owned("b"))
	b.place = owned("c")
	b.follow(b.place)
	b.online(t)
	next := owned("c")
	delete(next.boots, "b")
	b.place = next
	b.follow(b.place)
	b.hears(t)
	next = owned("a")
	delete(next.boots, "c")
	b.place = next
	b.follow(b.place)
	b.hears(t, fmt.Sprintf("closes with %d", wire.CloseGoingAway))
}

// TestFollowWithoutAView: a node that is alone, and one whose first view comes after the login.
func TestFollowWithoutAView(t *testing.T) {
	b := newBooth(t, nil).online(t)
	b.place = owned("b")
	b.follow(b.place)
	b.hears(t)
	b.place = owned("c")
	b.follow(b.place)
	b.hears(t, "seen, 1 heard", "goes to c.example:1 soon")
}

// TestFollowAnOldView: who comes late with one acts by the present one.
func TestFollowAnOldView(t *testing.T) {
	b := newBooth(t, owned("b")).online(t)
	old := owned("b")
	delete(old.boots, "c")
	b.place = owned("c")
	b.follow(old)
	b.hears(t, "seen, 1 heard", "goes to c.example:1 soon")
	b.follow(old)
	b.hears(t)
}

// TestConnectionsOfTwoLives: what is on its way to a connection of the node's last life reaches nobody.
func TestConnectionsOfTwoLives(t *testing.T) {
	one, two := NewSystem(testConfig(nil)), NewSystem(testConfig(nil))
	defer one.Close()
	defer two.Close()
	d := &phone{id: 1}
	if a, b := one.Open(d).conn, two.Open(d).conn; a.Node != b.Node || a.ID == b.ID {
		t.Errorf("connection 1 is %v in one life, and %v in the next", a, b)
	}
	if a, b := one.Open(&phone{id: 2}).conn, one.Open(&phone{id: 3}).conn; b.ID != a.ID+1 {
		t.Errorf("two connections of one life: %v, %v", a, b)
	}
}
