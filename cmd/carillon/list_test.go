package main

import (
	"slices"
	"testing"

	"carillon/transport/wire"
)

func TestListInPages(t *testing.T) {
	t.Parallel()
	for engine, tune := range map[string]func(*Config){"memory": nil, "pebble": pebble} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			k := newCast(t, newNode(t, tune))
			a, b, e := k.join("a", "a1"), k.join("b", "b1"), k.join("e", "e1")
			var made []uint64
			for range 105 {
				made = append(made, a.must(&wire.CallInvite{Invitees: k.names("b")}).GetCall().GetCallId())
			}
			list := b.pages(100)
			if !slices.IsSortedFunc(list, func(x, y *wire.CallSnapshot) int { return int(y.GetCreateTimeMs() - x.GetCreateTimeMs()) }) {
				t.Errorf("the newest call is not the first: %v", list)
			}
			newest := ids(list)
			slices.Sort(made)
			if got := slices.Sorted(slices.Values(newest)); !slices.Equal(got, made) {
				t.Fatalf("the list has %d calls, not the %d that were made", len(got), len(made))
			}
			for count, want := range map[uint32]int{0: 20, 1: 1, 100: 100, 101: 100, 1 << 31: 100} {
				page := b.must(&wire.QueryCallInvitationList{Count: count}).GetList()
				if got := ids(page.GetCalls()); !slices.Equal(got, newest[:want]) || page.GetNextFlag() == 0 {
					t.Errorf("count %d gives %d calls and next_flag %d, want the newest %d and more", count, len(got), page.GetNextFlag(), want)
				}
			}
			for _, size := range []uint32{1, 7} {
				if got := ids(a.pages(size)); !slices.Equal(got, newest) {
					t.Errorf("pages of %d give %d calls, want the same %d in the same order", size, len(got), len(newest))
				}
			}
			if page := e.must(&wire.QueryCallInvitationList{Count: 5}).GetList(); len(page.GetCalls()) != 0 || page.GetNextFlag() != 0 {
				t.Errorf("a user without calls has %v", page)
			}
			// The call that a page ended with may be gone by now, and every older one with it.
			if page := a.must(&wire.QueryCallInvitationList{NextFlag: 4711}).GetList(); len(page.GetCalls()) != 0 || page.GetNextFlag() != 0 {
				t.Errorf("an unknown next_flag gives %d calls and next_flag %d, want the end", len(page.GetCalls()), page.GetNextFlag())
			}
			if r := e.do(&wire.QueryCallInvitationList{NextFlag: made[0]}); r.GetCode() != 6000001 {
				t.Errorf("another user's next_flag: %d, want 6000001", r.GetCode())
			}
		})
	}
}

// pages is the whole list, read in pages of the size.
func (c *rawClient) pages(size uint32) []*wire.CallSnapshot {
	c.t.Helper()
	var out []*wire.CallSnapshot
	for next, more := uint64(0), true; more; more = next != 0 {
		page := c.must(&wire.QueryCallInvitationList{Count: size, NextFlag: next}).GetList()
		if len(page.GetCalls()) > int(size) || (len(page.GetCalls()) == 0 && next != 0) {
			c.t.Fatalf("a page of %d has %d calls", size, len(page.GetCalls()))
		}
		out, next = append(out, page.GetCalls()...), page.GetNextFlag()
	}
	return out
}

func ids(calls []*wire.CallSnapshot) []uint64 {
	var out []uint64
	for _, c := range calls {
		out = append(out, c.GetCallId())
	}
	return out
}

// TestListPerViewer: a call that is over for a user reads ended, although it goes on for others (SPEC 7).
func TestListPerViewer(t *testing.T) {
	t.Parallel()
	for engine, tune := range map[string]func(*Config){"memory": nil, "pebble": pebble} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			k := newCast(t, newNode(t, tune))
			a, b, c, d, e, f := k.join("a", "a1"), k.join("b", "b1"), k.join("c", "c1"), k.join("d", "d1"), k.join("e", "e1"), k.join("f", "f1")
			id := a.must(&wire.CallInvite{Invitees: k.names("b", "c", "d", "e", "f"), Mode: advanced, TimeoutS: 4}).GetCall().GetCallId()
			b.must(&wire.CallReject{CallId: id})
			a.must(&wire.CallCancel{CallId: id, Invitees: k.names("c")})
			d.must(&wire.CallAccept{CallId: id})
			d.must(&wire.CallQuit{CallId: id})
			e.must(&wire.CallAccept{CallId: id})
			for f.next().GetEvent().GetCallInvitationTimeout() == nil {
				continue
			}
			want := `advanced a v7 4s "" [a ACCEPTED, b REJECTED rejected, c BE_CANCELLED cancelled, d QUIT, e ACCEPTED, f TIMEOUT no_answer] started/`
			for viewer, rest := range map[*rawClient]string{
				a: "started main", b: "ended inviter a", c: "ended inviter a", d: "ended inviter a", e: "started inviter a main", f: "ended inviter a",
			} {
				page := viewer.must(&wire.QueryCallInvitationList{}).GetList()
				if len(page.GetCalls()) != 1 || viewer.unmask(printSnapshot(page.GetCalls()[0])) != want+rest {
					t.Errorf("%s reads\n\t%s\nwant\n\t%s", viewer.user, viewer.unmask(printSnapshot(page.GetCalls()[0])), want+rest)
				}
			}
			other := k.join("a", "a2").must(&wire.QueryCallInvitationList{}).GetList()
			if got := a.unmask(printSnapshot(other.GetCalls()[0])); got != want+"started" {
				t.Errorf("a on another device reads\n\t%s\nwant\n\t%s", got, want+"started")
			}
		})
	}
}
