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
	inQueue(t, pace{2 * ms, 0, 2 * ms}, func(q *queue, taken <-chan group) {
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

// TestPaceGrows: the more a group held, the longer the next one looks for company. At a rate below one entry per each there is
// none to be had, above it groups settle at the longest pace.
func TestPaceGrows(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		gap, want time.Duration // between two entries; between two groups, at last
	}{
		{ms * 3 / 2, ms * 3 / 2},
		{ms / 2, 3 * ms},
		{ms / 8, 3 * ms},
	} {
		inQueue(t, pace{each: ms, most: 3 * ms}, func(q *queue, taken <-chan group) {
			var began []time.Duration
			for range 80 {
				q.push(urgent())
				time.Sleep(tc.gap)
				synctest.Wait()
				for len(taken) > 0 {
					began = append(began, (<-taken).at)
				}
			}
			last := len(began) - 1
			same(t, "between two groups", began[last]-began[last-1], tc.want)
			time.Sleep(10 * ms)
			for len(taken) > 0 {
				<-taken
			}
			at := time.Now()
			q.push(urgent())
			<-taken
			same(t, "a lone one waits", time.Since(at), time.Duration(0))
		})
	}
}

// TestFullGroupDoesNotWait: the pace doesn't bound how much is written.
func TestFullGroupDoesNotWait(t *testing.T) {
	inQueue(t, pace{time.Hour, 0, time.Hour}, func(q *queue, taken <-chan group) {
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
	inQueue(t, pace{2 * ms, 0, 2 * ms}, func(q *queue, taken <-chan group) {
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
