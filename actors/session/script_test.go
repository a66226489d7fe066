package session

import "testing"

// Each rule of SPEC 5 and 6 that is the session's, played. What stands below a command is all that happens.
var rules = []script{
	{"a login with nothing to ask is answered at once", `
> login d1 c1
  c1 is welcome
> state
  online, 1 connected, next in 35s
`},
	{"one device too many kicks out the one that has been silent for longest", `
> login d1 c1
  c1 is welcome
> wait 1s
> login d2 c2
  c2 is welcome
> wait 1s
> seen c1
> login d3 c3
  c2 kicked out by d3
  c3 is welcome
> seen c2
  c2 recalled
> state
  online, 2 connected, next in 35s
`},
	{"a device in grace does not count, and one more is kicked out when it comes back", `
> login d1 c1
  c1 is welcome
> wait 1s
> broken c1
> login d2 c2
  c2 is welcome
> wait 1s
> login d3 c3
  c3 is welcome
> wait 1s
> login d1 c4
  c2 kicked out by d1
  c4 is welcome
> state
  online, 2 connected, next in 34s
`},
	{"the same device replaces its older connection, whose end then means nothing", `
> login d1 c1
  c1 is welcome
> login d1 c2
  c1 kicked out by d1
  c2 is welcome
> broken c1
> seen c2
> tell 1 0..1 all:x
  c2 hears x;
  call 1: ack 0..1
> state
  online, 1 connected, next in 35s
`},
	{"a broken connection leaves its device in grace: coming back inside it changes nothing for anyone", `
> login d1 c1
  c1 is welcome
> watch 1 online
> broken c1
> wait 20s
> watch 1 online
> wait 14s
> login d1 c2
  c2 is welcome
> watch 1 online
> state
  online, 1 connected, next in 25s
`},
	{"the grace is over at the heartbeat timeout after the last frame, not after the break", `
> login d1 c1
  c1 is welcome
> wait 30s
> broken c1
> watch 1 online
> wait 4999ms
> state
  online, 0 connected, next in 1ms
> wait 1ms
  +1ms call 1: offline
`},
	{"silence hangs up, and is no grace", `
> login d1 c1
  c1 is welcome
> watch 1 online
> wait 20s
> seen c1
> watch 1 online
> wait 20s
> watch 1 online
> wait 15s
  +15s c1 hung up, silent
  +15s call 1: offline
`},
	{"a late timer hangs up before the next thing is heard, but a frame that came in ends the silence", `
> login d1 c1
  c1 is welcome
> login d2 c2
  c2 is welcome
> sleep 40s
> seen c1
  c2 hung up, silent
> state
  online, 1 connected, next in 35s
`},
	{"logout is answered, and offline at once", `
> login d1 c1
  c1 is welcome
> watch 1 online
> logout c1
  c1 logged out
  call 1: offline
`},
	{"the logout of one device leaves the user online with another", `
> login d1 c1
  c1 is welcome
> login d2 c2
  c2 is welcome
> watch 1 online
> logout c1
  c1 logged out
> state
  online, 1 connected, next in 25s
`},
	{"offline is said again every second until it is heard", `
> login d1 c1
  c1 is welcome
> watch 1 online
> logout c1
  c1 logged out
  call 1: offline
> wait 2500ms
  +1s call 1: offline
  +2s call 1: offline
> heard 1 offline
> wait 10s
`},
	{"back online is said as well, and a call that no longer cares is let go", `
> login d1 c1
  c1 is welcome
> watch 1 online
> logout c1
  c1 logged out
  call 1: offline
> heard 1 offline
> login d1 c2
  c2 is welcome
  call 1: online
> heard 1 online done
> logout c2
  c2 logged out
> state
  offline, 0 connected, nothing to come, idle
`},
	{"a call that believes wrongly is told at once when it asks", `
> login d1 c1
  c1 is welcome
> watch 1 offline
  call 1: online
> watch 1 online
> wait 10s
`},
	{"a call that has not asked for 25 s has lost interest", `
> login d1 c1
  c1 is welcome
> watch 1 online
> wait 25s
> logout c1
  c1 logged out
> state
  offline, 0 connected, nothing to come, idle
`},
	{"after a loss of memory a user that a call asks for has one fresh grace", `
> watch 1 online
> wait 20s
> watch 1 online
> wait 14s
> state
  online, 0 connected, next in 1s
> wait 1s
  +1s call 1: offline
> wait 1s
  +1s call 1: offline
> heard 1 offline
> state
  offline, 0 connected, next in 9s
`},
	{"who comes back inside the fresh grace is not missed", `
> watch 1 online
> wait 20s
> login d1 c1
  c1 is welcome
> watch 1 online
> wait 20s
> state
  online, 1 connected, next in 5s
`},
	{"a session that lost its memory waits for the devices that it has not seen yet", `
> watch 1 online
> login d2 c2
  c2 is welcome
> logout c2
  c2 logged out
> state
  online, 0 connected, next in 25s
`},
	{"without a call that asked there was nobody to wait for: no fresh grace", `
> login d1 c1
  c1 is welcome
> watch 1 online
> logout c1
  c1 logged out
  call 1: offline
`},
	{"frames go to their audience, all of a device's together, the answer last; then the acknowledgement", `
> login d1 c1
  c1 is welcome
> login d2 c2
  c2 is welcome
> tell 1 2..4 all:x only-d1:y not-d1:z answer-c1:w
  c1 hears x;y;w; answered
  c2 hears x;z;
  call 1: ack 2..4
`},
	{"an answer goes to the connection that asked, or nowhere", `
> login d1 c1
  c1 is welcome
> login d1 c2
  c1 kicked out by d1
  c2 is welcome
> tell 1 0..0 answer-c1:w
> tell 1 0..0 answer-c2:w
  c2 hears w; answered
`},
	{"a user without devices is told too: he learns it in his next sync", `
> tell 1 0..3 all:x
  call 1: ack 0..3
`},
	{"a login waits for its calls; a second word means nothing", `
> login d1 c1 1 2*7
  call 1: word for c1?
  call 2: word for c1?
> word 1 c1 seq=3 S -
> word 1 c1 seq=4 T -
> word 2 c9 seq=4 T -
> word 2 c1 seq=9 - -
  c1 is welcome, 1[S;], 2[]
> word 2 c1 seq=10 U -
`},
	{"what other calls tell meanwhile is held behind the answer", `
> login d1 c1 1
  call 1: word for c1?
> tell 2 0..1 all:x
  call 2: ack 0..1
> tell 2 1..2 only-d9:y
  call 2: ack 1..2
> tell 3 0..5 only-d1:z
  call 3: ack 0..5
> word 1 c1 seq=3 S R
  c1 is welcome, 1[S;R;], held x;, held z;
> tell 2 2..3 all:v
  c1 hears v;
  call 2: ack 2..3
`},
	{"what an asked call tells is in its word; a word that it has overtaken is not believed", `
> login d1 c1 1
  call 1: word for c1?
> tell 1 3..5 all:x
  call 1: ack 3..5
> word 1 c1 seq=4 old R
> wait 500ms
  +500ms call 1: word for c1?
> word 1 c1 seq=5 new R
  c1 is welcome, 1[new;R;]
`},
	{"after its word an asked call is held like any other", `
> login d1 c1 1 2
  call 1: word for c1?
  call 2: word for c1?
> word 1 c1 seq=4 S R
> tell 1 4..5 all:x
  call 1: ack 4..5
> word 2 c1 seq=1 T -
  c1 is welcome, 1[S;R;], 2[T;], held x;
`},
	{"calls that keep silent are asked again, and after 2 s missing", `
> login d1 c1 1 2
  call 1: word for c1?
  call 2: word for c1?
> wait 700ms
  +500ms call 1: word for c1?
  +500ms call 2: word for c1?
> word 2 c1 seq=4 S -
> wait 1300ms
  +300ms call 1: word for c1?
  +800ms call 1: word for c1?
  +1.3s c1 is welcome, 2[S;], 1 missing
> word 1 c1 seq=4 S -
`},
	{"a late timer welcomes at once and asks no more", `
> login d1 c1 1
  call 1: word for c1?
> late 3s
  c1 is welcome, 1 missing
`},
	{"more than 64 KiB held is too much; the device is in grace", `
> login d1 c1 1
  call 1: word for c1?
> tell 2 0..1 all:x*40000
  call 2: ack 0..1
> tell 2 1..2 all:x*40000
  c1 hung up, overflow
  call 2: ack 1..2
> word 1 c1 seq=4 S -
> state
  online, 0 connected, next in 35s
`},
	{"a connection that breaks while its login is under way takes it along", `
> login d1 c1 1
  call 1: word for c1?
> broken c1
> word 1 c1 seq=4 S -
> wait 3s
> state
  online, 0 connected, next in 32s
`},
	{"a device that is replaced while its login is under way: the new login is asked for anew", `
> login d1 c1 1
  call 1: word for c1?
> login d1 c2 1
  c1 kicked out by d1
  call 1: word for c2?
> word 1 c1 seq=4 S -
> word 1 c2 seq=4 T -
  c2 is welcome, 1[T;]
`},
	{"a sign of life that was not waited for counts from when it was given, and is never older than another", `
> login d1 c1
  c1 is welcome
> wait 30s
> seen c1 1 20s
> state
  online, 1 connected, next in 15s
> seen c1 1 25s
> state
  online, 1 connected, next in 15s
> late 20s
  c1 hung up, silent
`},
	{"a connection that the session does not know must log in again", `
> seen c7
  c7 recalled
> logout c7
  c7 logged out
> broken c7
> state
  online, 0 connected, nothing to come, idle
`},
}

type script struct{ rule, text string }

func TestRules(t *testing.T) { playAll(t, rules) }

func playAll(t *testing.T, scripts []script) {
	t.Helper()
	for _, sc := range scripts {
		t.Run(sc.rule, func(t *testing.T) {
			want := sc.text[1:]
			if got := replay(t, want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
