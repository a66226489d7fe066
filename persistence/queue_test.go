package persistence

import (
	"testing"
	"testing/synctest"
	"time"

	"carillon/actors/call"
)

// inQueue runs a test with a queue in a time of its own. taken gives the next groups' sizes, each with the instant it was
// taken at; every commit takes no time.
func inQueue(t *testing.T, pace pace, f func(q *queue, taken <-chan group)) {
	synctest.Test(t, func(t *testing.T) {
		q, taken, start := newQueue(maxGroupBytes, pace), make(chan group, 2*maxGroup), time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				entries, more := q.take(nil, func(*entry) { t.Error("dropped") })
				if !more {
					return
				}
				taken <- group{len(entries), time.Since(start)}
				q.land()
			}
		}()
		f(q, taken)
		q.stop()
		<-done
		same(t, "groups left", len(taken), 0)
	})
}

type group struct {
	size int
	at   time.Duration
}

func urgent() *entry  { return &entry{} }
func patient() *entry { return &entry{change: change{patient: true}} }

// TestPace: a lone transition goes at once, the next not before the pace allows, and then with all that has come.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	inQueue(t, pace{least: 2 * ms, most: 2 * ms}, func(q *queue, taken <-chan group) {
		time.Sleep(5 * ms)
		q.push(urgent())
		same(t, "alone", <-taken, group{1, 5 * ms})
		for range 3 {
			time.Sleep(ms / 2)
			q.push(urgent())
		}
		same(t, "the others", <-taken, group{3, 7 * ms})
		time.Sleep(2 * ms)
		q.push(urgent())
		same(t, "alone again", <-taken, group{1, 9 * ms})
	})
}

// TestPaceGrows: the more comes, the longer a group looks for company; when little comes it goes at once, also after much came.
func TestPaceGrows(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		gap, least, most time.Duration // between two entries; between two groups, at last
	}{
		{ms * 3 / 2, ms * 3 / 2, ms * 3 / 2},
		{ms * 2 / 3, ms * 4 / 3, ms * 2}, // half-way
		{ms / 8, 3 * ms, 3 * ms},
	} {
		inQueue(t, pace{0, 3 * ms, 1000, 2000}, func(q *queue, taken <-chan group) {
			var began []time.Duration
			for range 1000 {
				q.push(urgent())
				time.Sleep(tc.gap)
				synctest.Wait()
				for len(taken) > 0 {
					began = append(began, (<-taken).at)
				}
			}
			last := len(began) - 1
			if got := began[last] - began[last-1]; got < tc.least || got > tc.most {
				t.Errorf("one each %v: %v between two groups, not %v to %v", tc.gap, got, tc.least, tc.most)
			}
			time.Sleep(time.Second)
			for len(taken) > 0 {
				<-taken
			}
			for range 10 {
				at := time.Now()
				q.push(urgent())
				<-taken
				same(t, "a lone one waits", time.Since(at), time.Duration(0))
				time.Sleep(2 * ms)
			}
		})
	}
}

// TestPaceAt: between its two rates a pace is on the line between its two waits, outside on these.
func TestPaceAt(t *testing.T) {
	p := pace{time.Millisecond, 3 * time.Millisecond, 1000, 3000}
	for rate, want := range map[float64]time.Duration{
		0: time.Millisecond, 1000: time.Millisecond, 1500: 1500 * time.Microsecond, 3000: 3 * time.Millisecond, 1e9: 3 * time.Millisecond,
	} {
		same(t, "wait", p.at(rate), want)
	}
	same(t, "a fixed one", pace{least: time.Second, most: time.Second}.at(5), time.Second)
}

// TestPauseOfMany: nodes on one database begin their groups less often, within bounds.
func TestPauseOfMany(t *testing.T) {
	const ms = time.Millisecond
	q := newQueue(maxGroupBytes, pace{least: 2 * ms, most: 2 * ms})
	for nodes, want := range map[int64]time.Duration{0: 2 * ms, 1: 2 * ms, 2: 3 * ms, 3: 4 * ms, 5: 6 * ms, 100: 6 * ms} {
		q.nodes.Store(nodes)
		same(t, "pause", q.pause(), want)
	}
}

// TestFullGroupDoesNotWait: the pace doesn't bound how much is written.
func TestFullGroupDoesNotWait(t *testing.T) {
	inQueue(t, pace{least: time.Hour, most: time.Hour}, func(q *queue, taken <-chan group) {
		q.push(urgent())
		same(t, "alone", <-taken, group{1, 0})
		time.Sleep(time.Minute)
		for range maxGroup + 1 {
			q.push(patient())
		}
		same(t, "a full group", <-taken, group{maxGroup, time.Minute})
		q.stop()
		same(t, "the rest, when the queue stops", <-taken, group{1, time.Minute})
	})
}

// TestPatience: who is patient goes with the first who isn't, and after patientWait alone.
func TestPatience(t *testing.T) {
	const ms = time.Millisecond
	inQueue(t, pace{least: 2 * ms, most: 2 * ms}, func(q *queue, taken <-chan group) {
		time.Sleep(5 * ms)
		q.push(patient())
		time.Sleep(ms)
		q.push(patient())
		time.Sleep(ms)
		synctest.Wait()
		same(t, "nobody went", len(taken), 0)
		q.push(urgent())
		same(t, "together", <-taken, group{3, 7 * ms})
		q.push(patient())
		time.Sleep(3 * ms)
		q.push(patient())
		same(t, "without company", <-taken, group{2, 7*ms + patientWait})
	})
}

// TestWhoIsPatient: only a closing that nobody waits for is.
func TestWhoIsPatient(t *testing.T) {
	open := ringing(2, 0, "ann", "bob")
	over := with(open, ended)
	for what, tc := range map[string]struct {
		tr   call.Transition
		want bool
	}{
		"an end":                             {over, false},
		"the closing of an ended call":       {with(over.Next, closed), true},
		"a closing that ends it too":         {with(open, closed), false},
		"a write to a closed call":           {with(with(open, closed).Next, func(*call.State) {}), false},
		"the creation of a call that closed": {create(with(open, closed).Next), false},
	} {
		var c change
		if err := c.prepare(&tc.tr); err != nil {
			t.Fatal(err)
		}
		same(t, what, c.patient, tc.want)
	}
}
