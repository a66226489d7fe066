package persistence

import (
	"errors"
	"strings"
	"testing"
	"time"

	"carillon/actors/call"
)

// partitions gives the tables that hold records of closed calls.
func partitions(t *testing.T, p *Postgres) map[string]int {
	t.Helper()
	rows, err := p.pool.Query(t.Context(), "select tableoid::regclass::text, count(*) from history group by 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	counts := make(map[string]int)
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		counts[name] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

// TestDays: a closed call's record is in the partition of its day, and goes with it.
func TestDays(t *testing.T) {
	c := newClock()
	p := closing(t, mustOpenPostgres(t, Config{DSN: database(t, false), Now: c.now, Retention: 48 * time.Hour}))
	ringAndClose := func(id call.ID) call.State {
		a := ringing(id, 0, "ann", "bob")
		save(t, p, create(a), with(a, closed))
		return with(a, closed).Next
	}
	first := ringAndClose(1)
	c.add(24 * time.Hour)
	ringAndClose(2)
	c.add(40 * 24 * time.Hour) // no day was prepared so far ahead
	ringAndClose(3)
	same(t, "days", partitions(t, p), map[string]int{"history_d20260102": 1, "history_d20260103": 1, "history_default": 1})
	late := with(first, func(s *call.State) { s.Users[1].Told = 7 })
	save(t, p, late)
	same(t, "written after its closing", load(t, p, 1), stored(late.Next))

	sweep := func(now time.Time, want int) {
		t.Helper()
		if n, err := p.Sweep(now); err != nil || n != want {
			t.Fatalf("%d deleted, %v; want %d", n, err, want)
		}
	}
	sweep(epoch.Add(49*time.Hour), 1)
	same(t, "its record waits for the end of its day", partitions(t, p)["history_d20260102"], 1)
	sweep(epoch.Add(70*time.Hour), 0)
	same(t, "the day is over", partitions(t, p), map[string]int{"history_d20260103": 1, "history_default": 1})
	days, err := p.days(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	today := c.now().UTC().Truncate(dayLength)
	for day, want := range map[time.Time]bool{
		epoch.Truncate(dayLength): false, epoch.Truncate(dayLength).Add(dayLength): true, today: false, today.Add(dayLength): true, today.Add(14 * dayLength): true,
	} {
		if days[day] != want {
			t.Errorf("partition of %s: %v, want %v", day.Format(time.DateOnly), days[day], want)
		}
	}
	sweep(c.now().Add(49*time.Hour), 2)
	same(t, "nothing is left", partitions(t, p), map[string]int{})
}

// TestSharedSweepsByItself needs real time, a little.
func TestSharedSweepsByItself(t *testing.T) {
	p := closing(t, mustOpenPostgres(t, Config{DSN: database(t, true), Retention: time.Millisecond, SweepInterval: 5 * time.Millisecond}))
	a := ringing(7, 0, "ann", "bob")
	save(t, p, create(a), create(ringing(8, 0, "ann", "bob")), with(a, closed))
	until(t, func() bool { return len(allCalls(t, p, "bob", 5)) == 1 })
	load(t, p, 8)
}

// TestSharedDamage: a record that can't be read is an error that names the call; it isn't deleted, those around it are, and
// its day stays.
func TestSharedDamage(t *testing.T) {
	for name, damage := range map[string]struct {
		record []byte
		want   error
	}{
		"damaged": {[]byte{recordVersion, 1, 0xff}, errCorrupt},
		"newer":   {[]byte{recordVersion + 1, 1}, call.ErrNewer},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustOpenPostgres(t, Config{DSN: database(t, false), Now: newClock().now})
			t.Cleanup(func() { _ = p.Close() })
			for id := call.ID(1); id <= 3; id++ {
				a := ringing(id, 0, "ann", "bob")
				save(t, p, create(a), with(a, closed))
			}
			save(t, p, create(ringing(77, 0, "ann", "bob")))
			execute(t, p, "update history set record = $1 where id = $2", damage.record, column(2))
			execute(t, p, "update live set record = $1", damage.record)
			_, loadErr := p.Load(t.Context(), 77)
			_, _, listErr := p.UserCalls(t.Context(), "bob", 0, 5)
			_, pendingErr := p.PendingFor(t.Context(), "bob")
			scanErr := p.OpenCalls(t.Context(), nil, func(call.ID, time.Time) error { return nil })
			for what, err := range map[string]error{"Load": loadErr, "UserCalls": listErr, "PendingFor": pendingErr, "OpenCalls": scanErr} {
				if !errors.Is(err, damage.want) || !strings.Contains(err.Error(), "call 77") && !strings.Contains(err.Error(), "call 2") {
					t.Errorf("%s: %v", what, err)
				}
			}
			n, err := p.Sweep(epoch.Add(1000 * time.Hour))
			if n != 2 || !errors.Is(err, damage.want) {
				t.Fatalf("%d deleted, %v", n, err)
			}
			if partitions(t, p)["history_d20260102"] == 0 {
				t.Fatal("the damaged record has gone")
			}
		})
	}
}

// TestPendingPages: the calls that are live for a user are found among many open ones that aren't.
func TestPendingPages(t *testing.T) {
	onAll(t, func(t *testing.T, s store, _ *clock) {
		var batch []call.Transition
		var want []call.ID
		for id := call.ID(1); id <= 2*maxPending+50; id++ {
			a := ringing(id, int(id), "ann", "bob")
			batch = append(batch, create(a))
			if id <= 20 {
				want = append([]call.ID{id}, want...)
			} else {
				batch = append(batch, with(a, became(1, call.Rejected)))
			}
		}
		save(t, s, batch...)
		same(t, "live for bob", pendingFor(t, s, "bob"), want)
		if got := pendingFor(t, s, "ann"); len(got) != maxPending || got[0] != 2*maxPending+50 {
			t.Fatalf("%d calls are live for ann, the newest %v", len(got), got[0])
		}
	})
}
