package persistence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carillon/actors/call"
)

func TestSaveAndLoad(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		a := ringing(7, 0, "ann", "bob")
		save(t, s, create(a))
		same(t, "created", load(t, s, 7), stored(a))

		b := with(a, became(1, call.Accepted))
		save(t, s, b)
		same(t, "accepted", load(t, s, 7), stored(b.Next))

		c := with(b.Next, closed)
		save(t, s, c)
		same(t, "closed", load(t, s, 7), stored(c.Next))

		d := with(c.Next, func(s *call.State) { s.Users[1].Told = 3 })
		save(t, s, d)
		same(t, "written after its closing", load(t, s, 7), stored(d.Next))

		if _, err := s.Load(context.Background(), 8); !errors.Is(err, call.ErrNotFound) || !strings.Contains(err.Error(), "8") {
			t.Fatalf("missing call: %v", err)
		}
	})
}

func TestCompareAndSet(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		a := ringing(7, 0, "ann", "bob")
		b := with(a, became(1, call.Accepted))
		c := with(b.Next, closed)
		steps := []struct {
			what string
			t    call.Transition
			want error
		}{
			{"update of nothing", b, call.ErrConflict},
			{"creation", create(a), nil},
			{"second creation", create(a), call.ErrConflict},
			{"update", b, nil},
			{"the same update again", b, call.ErrConflict},
			{"a stale owner's other update", with(a, became(1, call.Rejected)), call.ErrConflict},
			{"closing from a stale copy", with(a, closed), call.ErrConflict},
			{"closing", c, nil},
			{"creation over a closed call", create(a), call.ErrConflict},
			{"stale update of a closed call", with(b.Next, became(1, call.Quit)), call.ErrConflict},
			{"opening a closed call", with(c.Next, func(s *call.State) { s.Closed = false }), call.ErrUnavailable},
			{"a revision that doesn't rise", call.Transition{Prev: c.Next, Next: c.Next}, call.ErrUnavailable},
			{"call 0", create(ringing(0, 0, "ann", "bob")), call.ErrUnavailable},
			{"another call's state", call.Transition{Prev: c.Next, Next: with(ringing(9, 0, "ann"), closed).Next}, call.ErrUnavailable},
			{"a creation that moves", with(c.Next, func(s *call.State) { s.Created++ }), call.ErrUnavailable},
			{"a user ID of 256 bytes", create(ringing(10, 0, call.UserID(strings.Repeat("x", 256)))), call.ErrUnavailable},
		}
		for _, step := range steps {
			if err := s.Save(context.Background(), []call.Transition{step.t})[0]; !errors.Is(err, step.want) {
				t.Fatalf("%s: got %v, want %v", step.what, err, step.want)
			}
		}
		same(t, "in the end", load(t, s, 7), stored(c.Next))
		same(t, "open", openCalls(t, s), map[call.ID]time.Time{})
	})
}

// TestOneBatch: each transition has its own verdict, and the second of one call sees the first.
func TestOneBatch(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		a, z := ringing(7, 0, "ann", "bob"), ringing(8, 1, "zoe", "bob")
		b := with(a, became(1, call.Accepted))
		stale := with(a, became(1, call.Rejected))
		c := with(b.Next, closed)
		verdicts := s.Save(context.Background(), []call.Transition{create(a), create(z), b, stale, c, with(z, became(1, call.Rejected)), create(a)})
		for i, want := range []error{nil, nil, nil, call.ErrConflict, nil, nil, call.ErrConflict} {
			if !errors.Is(verdicts[i], want) {
				t.Fatalf("transition %d: got %v, want %v", i, verdicts[i], want)
			}
		}
		same(t, "bob's list", allCalls(t, s, "bob", 1), []call.ID{8, 7})
		same(t, "bob's pending", pendingFor(t, s, "bob"), []call.ID{})
		same(t, "zoe's pending", pendingFor(t, s, "zoe"), []call.ID{8})
	})
}

// TestLoserChangesNothing: the rows hang on the compare-and-set.
func TestLoserChangesNothing(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		a := ringing(7, 0, "ann", "bob")
		save(t, s, create(a))
		b := with(a, became(1, call.Accepted))
		save(t, s, b)
		stale := with(a, func(n *call.State) {
			became(1, call.Rejected)(n)
			n.Users = append(n.Users, call.Participant{User: "eve", State: call.Inviting})
		})
		if err := s.Save(context.Background(), []call.Transition{stale})[0]; !errors.Is(err, call.ErrConflict) {
			t.Fatal(err)
		}
		same(t, "bob's pending", pendingFor(t, s, "bob"), []call.ID{7})
		same(t, "eve's list", allCalls(t, s, "eve", 10), []call.ID{})
		same(t, "eve's pending", pendingFor(t, s, "eve"), []call.ID{})
	})
}

func TestOpenCalls(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		want := make(map[call.ID]time.Time)
		var batch []call.Transition
		for id := call.ID(1); id <= 2*scanChunk+3; id++ {
			a := ringing(id, int(id), "ann", "bob")
			batch = append(batch, create(a))
			if id%3 == 0 {
				batch = append(batch, with(a, closed))
				continue
			}
			read := stored(a)
			want[id] = read.Deadline()
		}
		save(t, s, batch...)
		same(t, "open", openCalls(t, s), want)

		stop := errors.New("enough")
		visits := 0
		err := s.OpenCalls(context.Background(), nil, func(call.ID, time.Time) error {
			if visits++; visits == 2 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || visits != 2 {
			t.Fatalf("got %v after %d visits", err, visits)
		}
		// A visit may use the store.
		seen := 0
		err = s.OpenCalls(context.Background(), nil, func(id call.ID, _ time.Time) error {
			seen++
			save(t, s, with(load(t, s, id), closed))
			return nil
		})
		if err != nil || seen != len(want) {
			t.Fatalf("%d of %d visited: %v", seen, len(want), err)
		}
		same(t, "all closed", openCalls(t, s), map[call.ID]time.Time{})
	})
}

// TestOpenCallsOfShards: those of the shards asked for, each once, whatever the order of asking.
func TestOpenCallsOfShards(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		var batch []call.Transition
		for _, shard := range []call.ID{0, 1, 2, 7, 8, 4095} {
			for _, low := range []call.ID{1, 5, 1<<52 - 1} {
				batch = append(batch, create(ringing(shard<<52|low, 1, "ann", "bob")))
			}
		}
		gone := ringing(7<<52|9, 1, "ann", "bob")
		save(t, s, append(batch, create(gone), with(gone, closed))...)
		for _, step := range []struct {
			shards []uint16
			want   []call.ID
		}{
			{nil, []call.ID{0, 1, 2, 7, 8, 4095}},
			{[]uint16{}, nil},
			{[]uint16{3}, nil},
			{[]uint16{8, 0, 8, 7}, []call.ID{0, 7, 8}},
			{[]uint16{4095, 4096, 9, 1}, []call.ID{1, 4095}},
		} {
			var want, got []call.ID
			for _, shard := range step.want {
				want = append(want, shard<<52|1, shard<<52|5, shard<<52|(1<<52-1))
			}
			err := s.OpenCalls(context.Background(), step.shards, func(id call.ID, deadline time.Time) error {
				if deadline.IsZero() {
					t.Errorf("call %s has no deadline", id)
				}
				got = append(got, id)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprint("shards ", step.shards), got, want)
		}
	})
}

func TestUserCalls(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		var want []call.ID
		for n := range 7 {
			id := call.ID(1000 - n*10) // IDs fall while times rise, and two calls share an instant
			a := ringing(id, n/2, "bob", "bo")
			save(t, s, create(a))
			if n%2 == 0 {
				save(t, s, with(a, closed))
			}
			want = append(want, id)
		}
		slices.SortFunc(want, func(a, b call.ID) int {
			na, nb := int(1000-a)/20, int(1000-b)/20
			if na != nb {
				return nb - na
			}
			return int(b) - int(a)
		})
		for _, limit := range []int{1, 2, 3, 7, 100} {
			same(t, fmt.Sprint("pages of ", limit), allCalls(t, s, "bob", limit), want)
			same(t, fmt.Sprint("the shorter name, pages of ", limit), allCalls(t, s, "bo", limit), want)
		}
		calls, next, err := s.UserCalls(context.Background(), "bob", 0, 0)
		if err != nil || len(calls) != 1 || next != calls[0].ID {
			t.Fatalf("limit 0 is 1: got %d calls, next %v, %v", len(calls), next, err)
		}
		same(t, "a whole record", calls[0], load(t, s, want[0]))

		if _, _, err := s.UserCalls(context.Background(), "b", 1000, 5); !errors.Is(err, call.ErrNotFound) {
			t.Fatalf("another user's cursor: %v", err)
		}
		calls, next, err = s.UserCalls(context.Background(), "bob", 4711, 5)
		if err != nil || len(calls) != 0 || next != 0 {
			t.Fatalf("a cursor that has gone: %v, %v, %v", calls, next, err)
		}
		same(t, "nobody", allCalls(t, s, "nobody", 5), []call.ID{})
	})
}

func TestPageLimit(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		var batch []call.Transition
		for id := call.ID(1); id <= maxPending+10; id++ {
			batch = append(batch, create(ringing(id, int(id), "ann", "bob")))
		}
		save(t, s, batch...)
		calls, next, err := s.UserCalls(context.Background(), "bob", 0, 5000)
		if err != nil || len(calls) != maxPage || next != calls[maxPage-1].ID {
			t.Fatalf("%d calls, next %v, %v", len(calls), next, err)
		}
		ids := pendingFor(t, s, "bob")
		if len(ids) != maxPending || ids[0] != maxPending+10 || ids[maxPending-1] != 11 {
			t.Fatalf("%d pending, from %v to %v", len(ids), ids[0], ids[len(ids)-1])
		}
	})
}

// TestPendingFollowsTheUser: pending, accepted, gone, invited again, ended; a user who joins later gets his rows then.
func TestPendingFollowsTheUser(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		steps := []struct {
			edit func(*call.State)
			bob  bool
			eve  bool
		}{
			{became(1, call.Received), true, false},
			{became(1, call.Accepted), true, false},
			{became(1, call.Quit), false, false},
			{became(1, call.Inviting), true, false},
			{func(s *call.State) {
				s.Users = append(s.Users, call.Participant{User: "eve", State: call.Accepted})
			}, true, true},
			{func(s *call.State) { // eve moves up, bob is forgotten
				s.Users = append(s.Users[:1:1], s.Users[2])
			}, false, true},
			{ended, false, false},
			{closed, false, false},
		}
		now := ringing(7, 0, "ann", "bob")
		save(t, s, create(now))
		for i, step := range steps {
			tr := with(now, step.edit)
			save(t, s, tr)
			now = tr.Next
			for u, want := range map[call.UserID]bool{"bob": step.bob, "eve": step.eve} {
				if got := slices.Contains(pendingFor(t, s, u), 7); got != want || got != now.LiveFor(u) {
					t.Fatalf("step %d: pending for %s is %v, want %v", i, u, got, want)
				}
				if got, want := slices.Contains(allCalls(t, s, u, 9), 7), now.Find(u) != nil; got != want {
					t.Fatalf("step %d: in the list of %s is %v, want %v", i, u, got, want)
				}
			}
		}
	})
}
