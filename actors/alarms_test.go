package actors

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// clock is an alarms' clock and what rang on it.
type clock struct {
	*alarms[string]
	began time.Time
	shift atomic.Int64 // what the clock shows beside the bubble's
	mu    sync.Mutex
	rung  []string
}

func newClock() *clock {
	c := &clock{began: time.Now()}
	c.alarms = newAlarms(c.read, func(key string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.rung = append(c.rung, fmt.Sprintf("%s@%v", key, c.read().Sub(c.began)))
	})
	return c
}

func (c *clock) read() time.Time { return time.Now().Add(time.Duration(c.shift.Load())) }

func (c *clock) in(d time.Duration) time.Time { return c.began.Add(d) }

// after lets time go by and gives what rang.
func (c *clock) after(d time.Duration) string {
	time.Sleep(d) // virtual: this is the bubble's clock
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.rung
	c.rung = nil
	return fmt.Sprint(out)
}

func TestAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		defer c.close()
		expect := func(d time.Duration, want string) {
			t.Helper()
			if got := c.after(d); got != want {
				t.Errorf("rang %s, want %s", got, want)
			}
		}
		c.set("a", c.in(3*time.Second))
		c.set("b", c.in(2*time.Second))
		c.set("c", c.in(time.Second))
		c.set("c", time.Time{})
		c.set("nobody", time.Time{})
		expect(2*time.Second-1, "[]")
		expect(1, "[b@2s]")
		c.set("a", c.in(10*time.Second)) // later
		expect(2*time.Second, "[]")
		c.set("a", c.in(4500*time.Millisecond)) // earlier
		c.set("a", c.in(4500*time.Millisecond))
		if c.count() != 1 {
			t.Errorf("%d are set", c.count())
		}
		expect(time.Second, "[a@4.5s]")
		c.set("a", c.in(0)) // long due
		expect(0, "[a@5s]")
		expect(time.Hour, "[]")
		if c.count() != 0 {
			t.Errorf("%d are set", c.count())
		}
	})
}

// TestAlarmsOnAClockThatJumps: forward, what is due rings within a second; back, nothing rings early.
func TestAlarmsOnAClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		defer c.close()
		c.set("a", c.in(time.Hour))
		c.set("b", c.in(2*time.Hour))
		c.after(0)
		c.shift.Store(int64(time.Hour))
		if got := c.after(longestNap); got != "[a@1h0m1s]" {
			t.Errorf("after a jump forward rang %s", got)
		}
		c.shift.Store(0)
		if got := c.after(time.Hour + time.Minute); got != "[]" {
			t.Errorf("after a jump back rang %s", got)
		}
		if got := c.after(time.Hour); got != "[b@2h0m0s]" {
			t.Errorf("rang %s", got)
		}
	})
}

// TestAlarmsMaySetAlarms: an actor that is rung sets its next alarm from there.
func TestAlarmsMaySetAlarms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := 0
		var a *alarms[int]
		a = newAlarms(time.Now, func(key int) {
			if n++; n < 5 {
				a.set(key, time.Now().Add(time.Second))
			}
		})
		a.set(1, began.Add(time.Second))
		time.Sleep(10 * time.Second) // virtual
		synctest.Wait()
		a.close()
		if n != 5 || a.count() != 0 {
			t.Errorf("rang %d times, %d left", n, a.count())
		}
	})
}

// TestAlarmsLikeAMap holds the heap against a map from key to instant.
func TestAlarmsLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := simStart
		a := &alarms[int]{now: func() time.Time { return now }, byID: map[int]*alarm[int]{}, kick: make(chan struct{}, 1)}
		twin := map[int]time.Time{}
		for range rapid.IntRange(1, 80).Draw(t, "moves") {
			key := rapid.IntRange(1, 12).Draw(t, "key")
			if _, set := twin[key]; a.has(key) != set {
				t.Fatalf("key %d has an alarm: %t, want %t", key, a.has(key), set)
			}
			switch rapid.IntRange(0, 4).Draw(t, "move") {
			case 0:
				a.set(key, time.Time{})
				delete(twin, key)
			case 1, 2:
				at := now.Add(time.Duration(rapid.IntRange(-5, 50).Draw(t, "ms")) * time.Millisecond)
				a.set(key, at)
				twin[key] = at
			case 3:
				lost := rapid.SliceOf(rapid.IntRange(1, 12)).Draw(t, "lost")
				a.drop(func(k int) bool { return slices.Contains(lost, k) })
				for _, k := range lost {
					delete(twin, k)
				}
			default:
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "pass")) * time.Millisecond)
				ring, nap := a.due()
				var want []int
				next := longestNap
				for k, at := range twin {
					if !at.After(now) {
						want = append(want, k)
						delete(twin, k)
					} else {
						next = min(next, at.Sub(now))
					}
				}
				slices.Sort(ring)
				slices.Sort(want)
				if !slices.Equal(ring, want) || nap != next || a.count() != len(twin) {
					t.Fatalf("rang %v, want %v; nap %v, want %v; %d left, want %d", ring, want, nap, next, a.count(), len(twin))
				}
			}
		}
	})
}
