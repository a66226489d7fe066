package client

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"carillon/transport/wire"
)

// The hosts of the nodes beside serverAddress.
const (
	nodeB = "1.0.0.2:7443"
	nodeC = "1.0.0.3:7443"
)

// script is how a node plays; the zero script takes every login and answers every operation.
type script struct {
	redirect string
	sync     []*wire.CallSnapshot
	refusal  Code // of logins
	mute     bool // nothing is answered
}

// node is a server that plays by itself.
type node struct {
	*server
	mu     sync.Mutex
	script script
	seen   []*wire.ClientFrame
	last   *peer // that has logged in
}

func (w *world) node(address string, s script) *node {
	w.t.Helper()
	n := &node{script: s}
	n.server = serve(w.t, simnetSocket(w.net, net.UDPAddrFromAddrPort(mustAddrPort(address))), n.play)
	w.nodes = append(w.nodes, n)
	return n
}

func (n *node) play(p *peer, f *wire.ClientFrame) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, f)
	r := &wire.Response{}
	if f.GetLogin() != nil {
		n.last = p
		r.Code = uint32(n.script.refusal)
		r.Result = &wire.Response_Login{Login: &wire.LoginResult{
			ServerTimeMs: time.Now().UnixMilli(), HeartbeatIntervalMs: 10000, Redirect: n.script.redirect, Sync: n.script.sync,
		}}
	}
	if !n.script.mute && f.RequestId != 0 {
		p.answer(f, r)
	}
}

func (n *node) plays(s script) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.script = s
}

// logins counts them.
func (n *node) logins() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, f := range n.seen {
		if f.GetLogin() != nil {
			count++
		}
	}
	return count
}

// operations gives the command IDs that came.
func (n *node) operations() [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list [][]byte
	for _, f := range n.seen {
		if len(f.CommandId) > 0 {
			list = append(list, f.CommandId)
		}
	}
	return list
}

// peer is the last connection that has logged in.
func (n *node) peer() *peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// trio is nodes A, B and C, where A is at serverAddress.
func (w *world) trio(a, b, c script) (nodes [3]*node) {
	w.server.close() // the place is for A
	return [3]*node{w.node(serverAddress, a), w.node(nodeB, b), w.node(nodeC, c)}
}

// enter dials the addresses in turn.
func (w *world) enter(addresses ...string) *Client {
	w.t.Helper()
	cfg := w.config()
	cfg.Addresses = addresses
	c, err := w.dial(cfg)()
	if err != nil {
		w.t.Fatal(err)
	}
	w.became(Connected)
	return c
}

// moves waits for the next connection, wants it at address within limit, and gives the end of the last one.
func (w *world) moves(address string, limit time.Duration) ConnectionStateChanged {
	w.t.Helper()
	lost := w.became(Reconnecting)
	start := time.Now()
	e := wait(w.t, w.changes)
	if took := time.Since(start); e.State != Connected || e.Address != address || took > limit {
		w.t.Errorf("%v at %q %v after the loss, want %q within %v", e.State, e.Address, took, address, limit)
	}
	return lost
}

// elapse lets d pass in the bubble's time.
func elapse(d time.Duration) { <-time.After(d) }

// Two nodes that take each other for the owner: each login follows one redirect, the first and any later one.
func TestRedirectsInACircle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		nodes := w.trio(script{redirect: nodeB}, script{redirect: serverAddress}, script{})
		c := w.enter(serverAddress)
		for logins := 1; logins <= 3; logins++ {
			if a := c.Session().Address; a != nodeB {
				t.Fatalf("at %s after login %d", a, logins)
			}
			elapse(20 * time.Second)
			if a, b := nodes[0].logins(), nodes[1].logins(); a != logins || b != logins {
				t.Errorf("%d logins at A and %d at B, want %d at each", a, b, logins)
			}
			nodes[1].peer().hangUp(wire.CloseGoingAway)
			w.moves(nodeB, firstBackoff)
		}
	})
}

// A redirect that cannot be followed leaves the client where it is, soon, and tells the app nothing twice.
func TestRedirectNotFollowed(t *testing.T) {
	for name, b := range map[string]script{"refused": {refusal: Internal}, "unanswered": {mute: true}, "unreachable": {}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				nodes := w.trio(script{}, b, script{})
				if name == "unreachable" {
					w.net.kill(nodeB)
				}
				c := w.enter(serverAddress)
				nodes[0].peer().tell(receivedEvent(ringing(7, 1, time.Minute)))
				event[CallInvitationReceived](w)
				more := ringing(7, 3, time.Minute)
				more.Users = append(more.Users, user("carol", inviting))
				nodes[0].plays(script{redirect: nodeB, sync: snapshots(more)})
				nodes[0].peer().hangUp(wire.CloseGoingAway)
				w.moves(serverAddress, hintPatience+firstBackoff)
				if e := event[CallUserStateChanged](w); e.Version != 3 {
					t.Errorf("event %+v", e)
				}
				elapse(time.Second)
				w.silent()
				if n := nodes[0].logins(); n != 2 || c.State() != Connected {
					t.Errorf("%d logins, %v", n, c.State())
				}
				if _, err := invite(context.Background(), c)(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Each node that dies is left for the next one in the list, and the dead one is not waited for.
func TestNodesDieInTurn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.trio(script{}, script{}, script{})
		w.enter(serverAddress, nodeB, nodeC)
		at := []string{serverAddress, nodeB, nodeC, serverAddress}
		for i, address := range at[:3] {
			w.net.kill(address)
			if lost := w.moves(at[i+1], firstBackoff); !errors.Is(lost.Reason, errNoEcho) {
				t.Errorf("%s left because of %v", address, lost.Reason)
			}
			w.net.revive(address)
		}
	})
}

// The node that a redirect led to dies: the client goes on with Addresses, and believes nobody who still sends it there; once
// the others have had time to notice, redirects count again.
func TestRedirectTargetDies(t *testing.T) {
	for name, addresses := range map[string][]string{"not in the list": {serverAddress}, "in the list": {serverAddress, nodeB}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(_ *testing.T, w *world) {
				nodes := w.trio(script{redirect: nodeB}, script{}, script{})
				w.enter(addresses...)
				w.net.kill(nodeB)
				w.moves(serverAddress, firstBackoff)
				w.net.revive(nodeB)
				elapse(shunFor)
				nodes[0].peer().hangUp(wire.CloseGoingAway)
				w.moves(nodeB, firstBackoff)
			})
		})
	}
}

// A GoAway to where nobody answers costs little, also when the other nodes repeat it.
func TestGoAwayToADeadNode(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		nodes := w.trio(script{}, script{}, script{redirect: nodeB})
		w.enter(serverAddress, nodeC)
		w.net.kill(nodeB)
		nodes[0].peer().tell(&wire.Event{Kind: &wire.Event_GoAway{GoAway: &wire.GoAway{ReconnectTo: nodeB}}})
		w.moves(nodeC, hintPatience)
	})
}

// A node that sends the client anywhere is the last one that the client goes to.
func TestGoAwayAnywhere(t *testing.T) {
	for name, test := range map[string]struct {
		addresses []string
		want      string
	}{
		"several":       {[]string{serverAddress, nodeB}, nodeB},
		"one":           {[]string{serverAddress}, serverAddress},
		"from a detour": {[]string{nodeC, serverAddress}, nodeC}, // C redirects to A
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(_ *testing.T, w *world) {
				nodes := w.trio(script{}, script{}, script{redirect: serverAddress})
				w.enter(test.addresses...)
				nodes[2].plays(script{})
				nodes[0].peer().tell(&wire.Event{Kind: &wire.Event_GoAway{GoAway: &wire.GoAway{ReconnectAfterMs: 500}}})
				w.moves(test.want, 0)
			})
		})
	}
}

// A server that calls a device back finds it there again at once, however often, with the operation that was under way.
func TestRecall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		nodes := w.trio(script{}, script{}, script{})
		c := w.enter(serverAddress)
		for range 6 {
			elapse(1500 * time.Millisecond)
			nodes[0].plays(script{mute: true})
			done := later(t, invite(context.Background(), c))
			elapse(time.Millisecond)
			nodes[0].plays(script{})
			nodes[0].peer().hangUp(wire.CloseGoingAway)
			w.moves(serverAddress, firstBackoff)
			if _, err := done(); err != nil {
				t.Error(err)
			}
		}
		list := nodes[0].operations()
		if len(list) != 12 {
			t.Fatalf("%d operations came, want 6 of them twice", len(list))
		}
		for i := 0; i < len(list); i += 2 {
			if !bytes.Equal(list[i], list[i+1]) {
				t.Errorf("command ID %x, then %x", list[i], list[i+1])
			}
		}
	})
}

// A node dies with an operation under way, whose outcome the next node gives: one retry, within the time of a few heartbeats.
func TestOperationOutlivesItsNode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		nodes := w.trio(script{}, script{}, script{})
		c := w.enter(serverAddress, nodeB)
		nodes[0].plays(script{mute: true})
		start := time.Now()
		done := later(t, invite(context.Background(), c))
		elapse(time.Millisecond)
		w.net.kill(serverAddress)
		if _, err := done(); err != nil {
			t.Error(err)
		}
		if took, limit := time.Since(start), defaultRequestTimeout+echoMargin+firstBackoff; took > limit {
			t.Errorf("it took %v, want at most %v", took, limit)
		}
		first, then := nodes[0].operations(), nodes[1].operations()
		if len(first) != 1 || len(then) != 1 || !bytes.Equal(first[0], then[0]) {
			t.Errorf("commands %x, then %x", first, then)
		}
	})
}
