package actors

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carillon/actors/call"
)

var (
	simSeeds = flag.Int("sim.seeds", 60, "how many worlds TestSimulator plays")
	simSeed  = flag.Uint64("sim.seed", 0, "play this world only, and print what happens in it")
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }

// TestSimulator plays many worlds; none may break a promise.
func TestSimulator(t *testing.T) {
	if *simSeed != 0 {
		w := newWorld(*simSeed, nil)
		w.trace = &strings.Builder{}
		w.play()
		t.Logf("world %d, %d steps, %d calls\n%s", w.seed, w.steps, len(w.store.order), w.trace)
		if w.failed != "" {
			t.Fatal(w.failed)
		}
		return
	}
	began := time.Now()
	var next, steps, calls atomic.Uint64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for !t.Failed() {
				seed := next.Add(1)
				if seed > uint64(*simSeeds) {
					return
				}
				w := newWorld(seed, nil)
				w.play()
				steps.Add(uint64(w.steps))
				calls.Add(uint64(len(w.store.order)))
				if w.failed != "" {
					t.Error(report(seed, nil))
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d worlds, %d calls, %d steps in %v", *simSeeds, calls.Load(), steps.Load(), time.Since(began).Round(time.Millisecond))
}

// report plays a failed world again, with its trace.
func report(seed uint64, bug *plant) string {
	w := newWorld(seed, bug)
	w.trace = &strings.Builder{}
	w.play()
	lines := strings.Split(w.trace.String(), "\n")
	if len(lines) > traceLines {
		lines = append([]string{fmt.Sprintf("... %d lines before", len(lines)-traceLines)}, lines[len(lines)-traceLines:]...)
	}
	return fmt.Sprintf("%s\n%s\nreplay: go test ./actors -run 'TestSimulator$' -v -sim.seed=%d", w.failed, strings.Join(lines, "\n"), seed)
}

const traceLines = 120

// plant is a bug put into the code on purpose: the simulator must find it.
type plant struct {
	name   string
	within uint64 // worlds in which it must be found
	kind   plantKind
	apply  func(call.State, call.Command, time.Time) (call.State, []call.Event, error)
}

type plantKind uint8

const (
	early    plantKind = iota + 1 // the store acknowledges before it is durable
	unfenced                      // the store does not compare revisions
	amnesia                       // nobody takes up open calls
	unowned                       // whatever arrives is activated, whoever owns it
	handless                      // shards change hands without a word
	skipping                      // taking up open calls leaves out a shard
)

func (p *plant) is(k plantKind) bool { return p != nil && p.kind == k }

var plants = []plant{
	{name: "told before it is durable", within: 5, kind: early},
	{name: "a stale owner is not fenced", within: 40, kind: unfenced},
	{name: "a restarted node forgets open calls", within: 300, kind: amnesia},
	{name: "no command window", within: 20, apply: forgetCommands},
	{name: "a deadline is not applied first", within: 100, apply: commandBeforeDeadline},
	{name: "a lost tell is not repaired", within: 100, apply: tellOnce},
	{name: "a switch of the main device is told to others", within: 40, apply: tellMoves},
	{name: "an answered call is told to every device", within: 20, apply: tellAllDevices},
	{name: "a caller who vanished goes unnoticed", within: 600, apply: ignoreAbsence},
	{name: "an ended call is let go before everybody knows", within: 150, apply: closeEarly},
	{name: "no owner check at activation", within: 100, kind: unowned},
	{name: "hand-off is forgotten", within: 100, kind: handless},
	{name: "the watch is not renewed", within: 400, apply: watchOnce},
	{name: "the take-over scan skips a shard", within: 300, kind: skipping},
}

func TestSimulatorFindsPlantedBugs(t *testing.T) {
	for i := range plants {
		bug := &plants[i]
		t.Run(bug.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= bug.within; seed++ {
				w := newWorld(seed, bug)
				w.play()
				if w.failed != "" {
					t.Logf("found in world %d of %d: %s", seed, bug.within, w.failed)
					return
				}
			}
			t.Errorf("not found in %d worlds", bug.within)
		})
	}
}

// TestSimulatorRepeats: one seed is one run, or no failure could be replayed.
func TestSimulatorRepeats(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		var traces [2]string
		for i := range traces {
			w := newWorld(seed, nil)
			w.trace = &strings.Builder{}
			w.play()
			traces[i] = w.trace.String()
		}
		if traces[0] != traces[1] {
			a, b := strings.Split(traces[0], "\n"), strings.Split(traces[1], "\n")
			for i := range min(len(a), len(b)) {
				if a[i] != b[i] {
					t.Fatalf("world %d differs at line %d:\n%s\n%s", seed, i, a[i], b[i])
				}
			}
			t.Fatalf("world %d: one trace is longer", seed)
		}
	}
}

func forgetCommands(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	bare := s
	bare.Outcomes = nil
	next, events, err := call.Step(bare, c, now)
	next.Outcomes = append(append([]call.Outcome(nil), s.Outcomes...), next.Outcomes...)
	return next, events, err
}

func commandBeforeDeadline(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	if c.Op == call.OpAccept || c.Op == call.OpReject {
		for i := range s.Users {
			if d := s.Users[i].Deadline; d != 0 && !d.Time().After(now) {
				now = d.Time().Add(-time.Millisecond)
			}
		}
	}
	return call.Step(s, c, now)
}

func tellOnce(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	next, events, err := call.Step(s, c, now)
	for i := range next.Users {
		next.Users[i].Told = next.Users[i].Sent
	}
	return next, events, err
}

func tellMoves(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	next, events, err := call.Step(s, c, now)
	for _, e := range events {
		if e.Reason != call.ReasonMovedToOtherDevice {
			continue
		}
		for i := range next.Users {
			if p := &next.Users[i]; p.State == call.Accepted && p.User != e.To {
				e.To, e.Devices = p.User, call.AllDevices
				events = append(events, e)
			}
		}
	}
	return next, events, err
}

func tellAllDevices(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	next, events, err := call.Step(s, c, now)
	for i := range events {
		if events[i].Kind == call.EventUserState && events[i].Devices == call.OnlyDevice {
			events[i].Devices = call.AllDevices
		}
	}
	return next, events, err
}

func ignoreAbsence(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	if c.Op == call.OpOffline {
		c = call.Command{Op: call.OpTick}
	}
	return call.Step(s, c, now)
}

// watchOnce asks for the caller's presence when the call is made, and never again.
func watchOnce(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	next, events, err := call.Step(s, c, now)
	if s.Version > 0 {
		events = slices.DeleteFunc(events, func(e call.Event) bool { return e.Kind == call.EventWatch })
	}
	return next, events, err
}

func closeEarly(s call.State, c call.Command, now time.Time) (call.State, []call.Event, error) {
	next, events, err := call.Step(s, c, now)
	if next.Ended != 0 && !next.Closed {
		next.Closed = true
		if next.Revision == s.Revision {
			next.Revision++
		}
	}
	return next, events, err
}
