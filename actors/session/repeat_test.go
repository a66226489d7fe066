package session

import "testing"

// What calls tell again, because an acknowledgement was lost or their owner is another.
var repetitions = []script{
	{"a tell whose acknowledgement was lost is acknowledged again, and not handed on", `
> login d1 c1
  c1 is welcome
> tell 1 0..2 v=1 all:x
  c1 hears x;
  call 1: ack 0..2
> tell 1 0..2 v=1 all:x
  call 1: ack 0..2
> tell 1 1..2 v=1 all:y
  call 1: ack 1..2
> tell 1 0..2 v=1 all:x answer-c1:w
  c1 hears w; answered
  call 1: ack 0..2
> tell 2 0..2 v=1 all:z
  c1 hears z;
  call 2: ack 0..2
`},
	{"what goes beyond it is handed on, and nobody rings twice for one invitation", `
> login d1 c1
  c1 is welcome
> tell 1 0..2 v=1 ring-2:R
  c1 hears R;
  call 1: ack 0..2
> tell 1 0..3 v=1 ring-2:R all:x
  c1 hears x;
  call 1: ack 0..3
> tell 1 3..4 v=2 all:y
  c1 hears y;
  call 1: ack 3..4
> tell 1 2..4 v=2 all:z
  call 1: ack 2..4
> tell 1 4..7 v=5 ring-7:R
  c1 hears R;
  call 1: ack 4..7
`},
	{"changes that were told in two parts are known as one", `
> login d1 c1
  c1 is welcome
> tell 1 0..2 v=1 all:x
  c1 hears x;
  call 1: ack 0..2
> tell 1 2..4 v=2 all:y
  c1 hears y;
  call 1: ack 2..4
> tell 1 0..4 v=2 all:z
  call 1: ack 0..4
`},
	{"behind a gap nothing is known of what is in it", `
> login d1 c1
  c1 is welcome
> tell 1 0..2 v=1 all:x
  c1 hears x;
  call 1: ack 0..2
> tell 1 3..5 v=2 all:y
  c1 hears y;
  call 1: ack 3..5
> tell 1 2..5 v=2 all:z
  c1 hears z;
  call 1: ack 2..5
`},
	{"another life of the call's owner counts anew, but rings nobody again", `
> login d1 c1
  c1 is welcome
> tell 1 0..2 v=1 ring-2:R all:x
  c1 hears R;x;
  call 1: ack 0..2
> tell 1 0..2 v=1 e=6 ring-2:R all:x
  c1 hears x;
  call 1: ack 0..2
> tell 1 0..2 v=1 e=6 ring-2:R all:x
  call 1: ack 0..2
`},
	{"the next owner of the session knows what was handed on, and who rang", `
> login d1 c1
  c1 is welcome
> tell 1 0..2 v=1 ring-2:R all:x
  c1 hears R;x;
  call 1: ack 0..2
> leave m
> tell 1 0..2 v=1 ring-2:R all:x
  call 1: ack 0..2
> tell 1 0..2 v=1 e=6 ring-2:R all:y
  c1 hears y;
  call 1: ack 0..2
> leave n
> tell 1 0..2 v=1 e=6 ring-2:R all:y
  call 1: ack 0..2
> seen c1 4
`},
}

func TestRepetitions(t *testing.T) { playAll(t, repetitions) }
