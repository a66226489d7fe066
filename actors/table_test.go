package actors

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// district is a town of which a part is elsewhere: keys of 100 and more are owned here or not, ready or not.
type district struct {
	*town
	inside        atomic.Int64
	owned, ready  atomic.Bool
	mu            sync.Mutex
	heard, routed []string
	let           chan struct{} // what "stop" waits for
}

// testDistrict makes one whose actors write down what they hear; "stop" holds them up and "break" breaks them.
func testDistrict(t *testing.T) *district {
	t.Helper()
	d := &district{let: make(chan struct{})}
	d.town = testTown(t, func(key int, h host) receiver {
		return receiverFunc(func(msg any) {
			switch msg {
			case "stop":
				<-d.let
			case "break":
				panic("broken")
			case leave{}:
				h.Retire()
			}
			d.note(&d.heard, key, msg)
		})
	})
	d.owned.Store(true)
	d.ready.Store(true)
	d.enter = func(key int) (*atomic.Int64, bool) {
		if key < 100 || d.ready.Load() {
			d.inside.Add(1)
			return &d.inside, true
		}
		return nil, false
	}
	d.table.owned = func(key int) bool { return key < 100 || d.owned.Load() }
	d.route = func(key int, msg any) { d.note(&d.routed, key, msg) }
	return d
}

func (d *district) note(where *[]string, key int, msg any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*where = append(*where, fmt.Sprintf("%d:%v", key, msg))
}

// expect compares what was heard and routed since the last time, when all is quiet.
func (d *district) expect(t *testing.T, heard, routed []string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.heard, heard) || !slices.Equal(d.routed, routed) {
		t.Errorf("heard %v, routed %v; want %v, %v", d.heard, d.routed, heard, routed)
	}
	d.heard, d.routed = nil, nil
	if n := d.inside.Load(); n != 0 {
		t.Errorf("%d are inside", n)
	}
}

// lose says that the keys from 100 on are elsewhere.
func (d *district) lose() {
	d.owned.Store(false)
	d.ready.Store(false)
}

func elsewhere(key int) bool { return key >= 100 }

// TestRelease: actors leave behind what waited for them; what came behind that goes on its way, and no alarm stays.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDistrict(t)
		defer d.end()
		for _, key := range []int{1, 100, 101} {
			d.send(key, "stop")
			d.send(key, "before")
			d.alarms.set(key, time.Now().Add(time.Hour))
		}
		d.alarms.set(102, time.Now().Add(time.Hour)) // an actor that is not in memory
		synctest.Wait()
		d.lose()
		released := make(chan struct{})
		go func() {
			d.release(elsewhere, leave{})
			close(released)
		}()
		synctest.Wait()
		d.send(100, "behind")
		d.send(100, wake{})
		d.send(100, "behind too")
		select {
		case <-released:
			t.Fatal("released while actors work")
		default:
		}
		if !d.has(101) || !d.has(102) {
			t.Error("the alarms are gone before the actors are")
		}
		d.let <- struct{}{}
		d.let <- struct{}{}
		d.let <- struct{}{}
		<-released
		synctest.Wait()
		slices.Sort(d.heard)
		d.expect(t, []string{"100:before", "100:stop", "100:{false}", "101:before", "101:stop", "101:{false}", "1:before", "1:stop"},
			[]string{"100:behind", "100:behind too"})
		if d.has(100) || d.has(101) || d.has(102) || !d.has(1) || d.count() != 1 || d.alarms.count() != 1 {
			t.Errorf("%d actors and %d alarms are left", d.count(), d.alarms.count())
		}
	})
}

// TestReleaseOfTheBroken: an actor that breaks down on its way out is waited for, too, and has no successor here.
func TestReleaseOfTheBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDistrict(t)
		defer d.end()
		d.send(100, "stop")
		d.send(100, "break")
		d.send(100, "rest")
		synctest.Wait()
		d.lose()
		released := make(chan struct{})
		go func() {
			d.release(elsewhere, leave{})
			close(released)
		}()
		synctest.Wait()
		d.let <- struct{}{}
		<-released
		d.expect(t, []string{"100:stop"}, []string{"100:rest", "100:{false}"})
		if d.lives.Load() != 1 || d.count() != 0 || d.has(100) {
			t.Errorf("%d lives, %d actors, an alarm: %t", d.lives.Load(), d.count(), d.alarms.has(100))
		}
	})
}

// TestTheRestOfTheBroken: what a broken actor leaves goes to its successor, or to where its key is now.
func TestTheRestOfTheBroken(t *testing.T) {
	for _, here := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := testDistrict(t)
			defer d.end()
			for _, msg := range []any{"stop", "break", "one", wake{}, "two"} {
				d.send(100, msg)
			}
			synctest.Wait()
			if !here {
				d.lose()
			}
			d.let <- struct{}{}
			if here {
				d.expect(t, []string{"100:stop", "100:one", "100:{}", "100:two"}, nil)
				time.Sleep(time.Second) // virtual
				d.expect(t, []string{"100:{}"}, nil)
				return
			}
			d.expect(t, []string{"100:stop"}, []string{"100:one", "100:two"})
			time.Sleep(time.Minute) // virtual
			d.expect(t, nil, nil)
			if d.count() != 0 || d.alarms.count() != 0 {
				t.Errorf("%d actors, %d alarms", d.count(), d.alarms.count())
			}
		})
	}
}

// TestAlarmsOfOthers: one that rings for a key which is being handed over rings again later, a foreign one never.
func TestAlarmsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDistrict(t)
		defer d.end()
		d.ready.Store(false)
		d.alarms.set(100, time.Now().Add(time.Second))
		d.alarms.set(1, time.Now().Add(time.Second))
		time.Sleep(time.Second + 3*heldAgain/2) // virtual
		d.expect(t, []string{"1:{}"}, nil)
		d.ready.Store(true)
		time.Sleep(heldAgain) // virtual
		d.expect(t, []string{"100:{}"}, nil)
		d.alarms.set(100, time.Now().Add(time.Second))
		d.lose()
		time.Sleep(time.Minute) // virtual
		d.expect(t, nil, nil)
		if d.alarms.count() != 0 {
			t.Errorf("%d alarms", d.alarms.count())
		}
	})
}

// TestEach: only actors in memory, and only those that the filter lets pass.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDistrict(t)
		defer d.end()
		d.send(1, "a")
		d.expect(t, []string{"1:a"}, nil)
		d.send(100, "b")
		d.expect(t, []string{"100:b"}, nil)
		d.alarms.set(101, time.Now().Add(time.Hour))
		d.each(elsewhere, "c")
		d.expect(t, []string{"100:c"}, nil)
	})
}
