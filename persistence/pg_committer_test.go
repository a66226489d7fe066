package persistence

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"carillon/actors/call"
)

// holding opens a store whose commits wait for a lock that the test has; release lets them go on.
func holding(t *testing.T) (p *Postgres, g *groups, release func()) {
	t.Helper()
	dsn := database(t, false)
	g = new(groups)
	p = closing(t, mustOpenPostgres(t, Config{DSN: dsn, Observe: g.observe}))
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "begin; lock table calls in exclusive mode"); err != nil {
		t.Fatal(err)
	}
	return p, g, func() {
		if _, err := conn.Exec(context.Background(), "rollback"); err != nil {
			t.Error(err)
		}
	}
}

// stuck gives the server's process numbers of the commits that wait for a lock.
func stuck(t *testing.T, p *Postgres) (pids []int) {
	t.Helper()
	rows, err := p.pool.Query(t.Context(), "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
	if err == nil {
		pids, err = pgx.CollectRows(rows, pgx.RowTo[int])
	}
	if err != nil {
		t.Fatal(err)
	}
	return pids
}

// TestSharedGroups: what comes during a commit is the next group, bounded by entries and bytes.
func TestSharedGroups(t *testing.T) {
	p, g, release := holding(t)
	first := background(t.Context(), p, create(ringing(2, 0, "ann", "bob")))
	until(t, func() bool { return len(stuck(t, p)) == 1 })
	var batch []call.Transition
	for id := call.ID(4); len(batch) < maxGroup+10; id += 2 {
		batch = append(batch, create(ringing(id, 0, "ann", "bob")))
	}
	for range 3 {
		a := ringing(call.ID(4+2*len(batch)), 0, "ann", "bob")
		a.ExtendedData = string(make([]byte, maxSharedBytes/2))
		batch = append(batch, create(a))
	}
	rest := make(chan []error, 1)
	go func() { rest <- p.Save(context.Background(), batch) }()
	until(t, func() bool { return p.Queued() == 1+len(batch) })
	release()
	if err := errors.Join(append(<-rest, <-first)...); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(g.seen()) == 5 })
	same(t, "groups", g.seen(), []int{1, maxGroup, 11, 1, 1})
}

func background(ctx context.Context, s store, tr call.Transition) <-chan error {
	verdict := make(chan error, 1)
	go func() { verdict <- s.Save(ctx, []call.Transition{tr})[0] }()
	return verdict
}

// TestSharedCancel: what waits is taken back, what is under way is unknown, and a Load after that knows it.
func TestSharedCancel(t *testing.T) {
	p, _, release := holding(t)
	ctx, cancel := context.WithCancel(t.Context())
	flying := background(ctx, p, create(ringing(2, 0, "ann", "bob")))
	until(t, func() bool { return len(stuck(t, p)) == 1 })
	waiting := background(ctx, p, create(ringing(4, 0, "ann", "bob")))
	until(t, func() bool { return p.Queued() == 2 })
	cancel()
	if err := <-waiting; !errors.Is(err, call.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("waiting: %v", err)
	}
	if err := <-flying; !errors.Is(err, call.ErrUnknown) || errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("under way: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := p.Load(context.Background(), 2)
		got <- err
	}()
	release()
	if err := <-got; err != nil {
		t.Fatalf("a Load that waits for it: %v", err)
	}
	if _, err := p.Load(t.Context(), 4); !errors.Is(err, call.ErrNotFound) {
		t.Fatalf("it was taken back: %v", err)
	}
}

// TestSharedInterrupted: a commit that the server cancels, or whose connection it ends, is settled.
func TestSharedInterrupted(t *testing.T) {
	for _, how := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		t.Run(how, func(t *testing.T) {
			p, _, release := holding(t)
			a := ringing(2, 0, "ann", "bob")
			verdict := background(t.Context(), p, create(a))
			for range 3 {
				var pids []int
				until(t, func() bool { pids = stuck(t, p); return len(pids) == 1 })
				if _, err := p.pool.Exec(t.Context(), "select "+how+"($1)", pids[0]); err != nil {
					t.Fatal(err)
				}
			}
			release()
			if err := <-verdict; err != nil {
				t.Fatal(err)
			}
			same(t, "stored", load(t, p, 2), stored(a))
		})
	}
}

// TestSharedRefusal: what the server refuses is surely not written, Health tells, and the next commit is tried all the same.
func TestSharedRefusal(t *testing.T) {
	p := closing(t, mustOpenPostgres(t, Config{DSN: database(t, false)}))
	a := ringing(2, 0, "ann", "bob")
	save(t, p, create(a))
	execute(t, p, "alter table live add constraint full_disk check (revision < 2) not valid")
	if err := p.Save(t.Context(), []call.Transition{with(a, became(1, call.Accepted))})[0]; !errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if err := p.Health(); !errors.Is(err, call.ErrUnavailable) {
		t.Fatalf("Health: %v", err)
	}
	same(t, "unchanged", load(t, p, 2), stored(a))
	execute(t, p, "alter table live drop constraint full_disk")
	save(t, p, with(a, became(1, call.Accepted)))
}

func execute(t testing.TB, p *Postgres, sql string, args ...any) {
	t.Helper()
	if _, err := p.pool.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// TestSharedClose: Close commits what waits.
func TestSharedClose(t *testing.T) {
	dsn := database(t, false)
	p := mustOpenPostgres(t, Config{DSN: dsn})
	var batch []call.Transition
	for id := call.ID(1); id <= 1000; id++ {
		batch = append(batch, create(ringing(id, 0, "ann", "bob")))
	}
	verdicts := make(chan []error, 1)
	go func() { verdicts <- p.Save(context.Background(), batch) }()
	until(t, func() bool { return p.Queued() > 0 })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	written := 0
	for _, err := range <-verdicts {
		switch {
		case err == nil:
			written++
		case !errors.Is(err, call.ErrUnavailable):
			t.Fatal(err)
		}
	}
	again := closing(t, mustOpenPostgres(t, Config{DSN: dsn}))
	same(t, "written", len(openCalls(t, again)), written)
}
