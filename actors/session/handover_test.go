package session

import (
	"slices"
	"testing"
)

// A session that changes its owner, and what may be lost on its way to other nodes.
var handovers = []script{
	{"a session that is handed over goes on where it was: nobody notices", `
> login d1 c1
  c1 is welcome
> login d2 x2
  x2 is welcome
> tell 1 0..1 v=2 all:a
  c1 hears a;
  x2 hears a;
  call 1: ack 0..1
> watch 1 online
> seen x2 2
> wait 10s
> seen c1
> broken x2
> leave m
> state
  online, 1 connected, next in 1s
> tell 1 1..2 v=3 all:b
  c1 hears b;
  call 1: ack 1..2
> seen c1 3
> wait 25s
> watch 1 online
> wait 10s
  +10s c1 hung up, silent
  +10s call 1: offline
`},
	{"what a call told the last owner is not told again in its older words", `
> login d1 c1
  c1 is welcome
> tell 1 0..2 v=7 all:new
  c1 hears new;
  call 1: ack 0..2
> leave m
> tell 1 1..2 v=6 all:old
> seen c1 2
`},
	{"a call that was told offline, and has not heard it, is told again by the next owner", `
> login d1 c1
  c1 is welcome
> watch 1 online
> logout c1
  c1 logged out
  call 1: offline
> wait 400ms
> leave m
> wait 2s
  +600ms call 1: offline
  +1.6s call 1: offline
> heard 1 offline
> leave n
> wait 5s
`},
	{"the fresh grace of a session goes with it", `
> watch 1 online
> wait 20s
> leave m
> watch 1 online
> wait 15s
  +15s call 1: offline
`},
	{"what fell due on its way is applied on arrival", `
> login d1 c1
  c1 is welcome
> login d2 c2
  c2 is welcome
> watch 1 online
> wait 30s
> seen c2
> sleep 10s
> leave m
  c1 hung up, silent
> state
  online, 1 connected, next in 1s
`},
	{"a login under way begins anew; what was told meanwhile is in the calls' words", `
> login d1 c1 1 2
  call 1: word for c1?
  call 2: word for c1?
> word 1 c1 seq=3 S -
> tell 3 0..1 all:x
  call 3: ack 0..1
> wait 1900ms
  +500ms call 2: word for c1?
  +1s call 2: word for c1?
  +1.5s call 2: word for c1?
> leave m
  call 1: word for c1?
  call 2: word for c1?
> wait 300ms
> word 1 c1 seq=3 S -
> word 2 c1 seq=1 T R
  c1 is welcome, 1[S;], 2[T;R;]
> tell 3 1..2 all:y
  c1 hears y;
  call 3: ack 1..2
`},
	{"a session that has been at work before had a twin: everybody logs in again, and stays in grace", `
> login d1 c1
  c1 is welcome
> watch 1 online
> handover d1=x7,1s,2/2 d2=x8,5s,1/1 d3=-,10s w1=online w2=online v1=9
  x7 recalled
  c1 recalled
  x8 recalled
> state
  online, 0 connected, next in 25s
> seen x8
  x8 recalled
> tell 1 0..1 v=8 all:x
  call 1: ack 0..1
> wait 30s
`},
	{"a session that has only been looked at was at work, too: it may have acknowledged", `
> tell 1 0..1 all:x
  call 1: ack 0..1
> handover d1=c1,1s,2/2
  c1 recalled
`},
	{"of two connections of one device the one that was heard last stays", `
> handover d1=x1,5s,2/1 d1=c2,1s,7/7
  x1 recalled
> tell 1 0..1 all:x
  c2 hears x;
  call 1: ack 0..1
> handover
  c2 recalled
`},
	{"of two connections of one device the one that was heard last stays, also when it comes first", `
> handover d1=c2,1s,7/7 d1=x1,5s,2/1
  x1 recalled
> tell 1 0..1 all:x
  c2 hears x;
  call 1: ack 0..1
`},
	{"no more devices are taken over than a session remembers", `
> handover d1=c1,1s,1/1 d2=c2,1s,1/1 d3=-,1s d4=-,1s d5=-,1s d6=c6,1s,1/1
  c6 recalled
> state
  online, 2 connected, next in 34s
> wait 34s
  +34s c1 hung up, silent
  +34s c2 hung up, silent
`},
	{"a clock that is ahead keeps nobody online for longer", `
> handover d1=c1,-100s,1/1 w1=online fresh=100s
> wait 20s
> watch 1 online
> wait 15s
  +15s c1 hung up, silent
  +15s call 1: offline
`},
	{"in doubt everybody logs in again, and stays in grace; presence goes on", `
> login d1 c1
  c1 is welcome
> login d2 x2 1
  call 1: word for x2?
> watch 1 online
> doubt
  c1 recalled
  x2 recalled
> word 1 x2 seq=1 S -
> seen c1
  c1 recalled
> wait 20s
> watch 1 online
> wait 14s
> login d1 c3
  c3 is welcome
> wait 10s
`},
	{"a delivery to another node is asked for after a second, and each second, until it has arrived", `
> login d1 x1
  x1 is welcome
> seen x1 1
> wait 5s
> tell 1 0..1 all:x
  x1 hears x;
  call 1: ack 0..1
> wait 500ms
> tell 1 1..2 all:y
  x1 hears y;
  call 1: ack 1..2
> wait 2s
  +500ms x1 asked whether it has got 3
  +1.5s x1 asked whether it has got 3
> seen x1 2
> wait 1s
  +500ms x1 asked whether it has got 3
> seen x1 3
> wait 5s
`},
	{"a welcome is a delivery", `
> login d1 x1 1
  call 1: word for x1?
> wait 1s
  +500ms call 1: word for x1?
  +1s call 1: word for x1?
> word 1 x1 seq=3 S -
  x1 is welcome, 1[S;]
> wait 1s
  +1s x1 asked whether it has got 1
> silent x1 1
> wait 5s
`},
	{"what goes to the own node is not lost, and not asked for", `
> login d1 c1
  c1 is welcome
> tell 1 0..1 all:x
  c1 hears x;
  call 1: ack 0..1
> wait 5s
`},
	{"the next owner goes on asking, where the connection is on another node than his", `
> login d1 c1
  c1 is welcome
> login d2 x2
  x2 is welcome
> tell 1 0..1 all:x
  c1 hears x;
  x2 hears x;
  call 1: ack 0..1
> leave m
> wait 1s
  +1s c1 asked whether it has got 2
> silent c1 2
> wait 3s
`},
	{"an answer to an audit is no sign of life", `
> login d1 x1
  x1 is welcome
> sleep 30s
> silent x1 1
> wait 5s
  +5s x1 hung up, silent
`},
	{"a silent word of a connection that is not known is answered like any other", `
> silent x1 4
  x1 recalled
`},
	{"a connection that breaks is not asked any more", `
> login d1 x1
  x1 is welcome
> broken x1
> wait 5s
`},
	{"the device's next connection is counted anew", `
> login d1 x1
  x1 is welcome
> tell 1 0..1 all:x
  x1 hears x;
  call 1: ack 0..1
> login d1 x2
  x1 kicked out by d1
  x2 is welcome
> tell 1 1..2 all:y
  x2 hears y;
  call 1: ack 1..2
> silent x2 2
> wait 5s
`},
}

func TestHandovers(t *testing.T) { playAll(t, handovers) }

// numbered: the deliveries to a connection are numbered from 1 on, without a gap.
func (w *twin) numbered(c *twinConn, number uint64) {
	if c.sent++; number != c.sent {
		w.t.Fatalf("delivery %d to %v is numbered %d", c.sent, c.conn, number)
	}
}

// audited: only connections of other nodes are asked, for all that was sent, and at most once a second.
func (w *twin) audited(e Audit) {
	c := w.reached(e.Conn, "an audit")
	if c.conn.Node == w.rules.Node || !c.welcome || e.Number != c.sent || e.Number <= c.heard || w.now.Sub(c.audited) < auditAfter {
		w.t.Fatalf("%+v of a connection that has got %d of %d, by node %s", e, c.heard, c.sent, w.rules.Node)
	}
	c.audited = w.now
}

// moveTo hands the session over. Only logins that are not answered notice: they begin anew.
func (w *twin) moveTo(node string) {
	handed, logins := w.s.Leave()
	w.rules.Node = node
	w.s = New(w.rules, w.now)
	for _, l := range logins {
		c := w.find(l.Conn)
		c.asked, c.since = slices.Clone(l.Calls), w.now
		clear(c.told)
		c.open = false // until the login is there
	}
	w.step(handed)
	for _, l := range logins {
		w.find(l.Conn).open = true
		w.step(l)
	}
}
