package persistence

import (
	"testing"

	"carillon/actors/call"
)

// TestUpdatesStayInTheirPage: nothing that changes is indexed, so updates of open calls leave the indexes alone.
func TestUpdatesStayInTheirPage(t *testing.T) {
	dsn := database(t, false)
	p := mustOpenPostgres(t, Config{DSN: dsn})
	var batch []call.Transition
	for id := call.ID(1); id <= 100; id++ {
		s := ringing(id, 0, "ann", "bob")
		batch = append(batch, create(s))
		for range 5 {
			next := with(s, became(1, call.Received))
			batch = append(batch, next)
			s = next.Next
		}
	}
	save(t, p, batch...)
	if err := p.Close(); err != nil { // a connection tells its numbers at its end
		t.Fatal(err)
	}
	p = closing(t, mustOpenPostgres(t, Config{DSN: dsn}))
	var updates, hot int
	until(t, func() bool { // the others have ended a moment after
		row := p.pool.QueryRow(t.Context(), "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'live'")
		if err := row.Scan(&updates, &hot); err != nil {
			t.Fatal(err)
		}
		return updates == 500
	})
	if hot < 350 {
		t.Fatalf("%d of %d updates are HOT", hot, updates)
	}
	t.Logf("%d of %d updates are HOT", hot, updates)
}
