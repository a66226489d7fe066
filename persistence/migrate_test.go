package persistence

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"carillon/actors/call"
)

// TestMigrate: into an empty database, again, and by several nodes at once.
func TestMigrate(t *testing.T) {
	dsn := emptyDatabase(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			p, err := OpenPostgres(Config{DSN: dsn, Logger: quiet})
			if err != nil {
				t.Error(err)
				return
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	p := closing(t, mustOpenPostgres(t, Config{DSN: dsn, Plain: true})) // too late: the history is there
	if !p.partitioned {
		t.Fatal("PostgreSQL's history has no partitions")
	}
	if err := playCall(p, 7); err != nil {
		t.Fatal(err)
	}
}

// TestMigrateStepByStep: a database of the first release gets what came later and keeps what it holds; the latest step can
// be taken back, and taken again.
func TestMigrateStepByStep(t *testing.T) {
	for _, plain := range []bool{false, true} {
		dsn := emptyDatabase(t)
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		db := stdlib.OpenDB(*config)
		t.Cleanup(func() { db.Close() })
		steps, err := migrationsFor(db, plain, quiet)
		if err != nil {
			t.Fatal(err)
		}
		version := func(want int64) {
			t.Helper()
			if have, err := steps.GetDBVersion(t.Context()); err != nil || have != want {
				t.Fatalf("version %d, %v; want %d", have, err, want)
			}
		}
		if _, err := steps.UpTo(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		version(2)
		if _, err := db.ExecContext(t.Context(), "insert into users (usr) values ('ann')"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			p := mustOpenPostgres(t, Config{DSN: dsn, Plain: plain})
			version(3)
			if known, err := p.Known(t.Context(), []call.UserID{"ann"}); err != nil || !known[0] {
				t.Fatalf("ann is known: %v, %v", known, err)
			}
			same(t, "a secret", secret(t, p, "server", "one"), "one")
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := steps.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			version(2)
			if _, err := db.ExecContext(t.Context(), "select 1 from secrets"); err == nil {
				t.Fatal("the secrets are still there")
			}
		}
	}
}

// TestMigrateNewer: what a newer carillon has made isn't touched.
func TestMigrateNewer(t *testing.T) {
	dsn := database(t, false)
	p := mustOpenPostgres(t, Config{DSN: dsn})
	execute(t, p, "insert into "+versionTable+" (version_id, is_applied) values (99, true)")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), dsn); !errors.Is(err, call.ErrNewer) {
		t.Fatalf("Migrate: %v", err)
	}
	if _, err := OpenPostgres(Config{DSN: dsn, Logger: quiet}); !errors.Is(err, call.ErrNewer) || !strings.Contains(err.Error(), "version 99") {
		t.Fatalf("OpenPostgres: %v", err)
	}
}

// TestOpenPostgresSaysWhatIsWrong, and keeps the password to itself.
func TestOpenPostgresSaysWhatIsWrong(t *testing.T) {
	s := sharedServer(t)
	for dsn, want := range map[string]string{
		"": "a connection string is needed",
		strings.Replace(s.dsn("nonesuch"), "carillon@", "carillon:pass42word@", 1): "nonesuch",
		"postgres://carillon:pass42word@127.0.0.1/calls?sslmode=sometimes":         "sslmode",
		s.dsn("postgres") + "&nosuchsetting=y":                                     "nosuchsetting",
	} {
		p, err := OpenPostgres(Config{DSN: dsn, Logger: quiet})
		if err == nil {
			_ = p.Close()
			t.Fatalf("%s opens", dsn)
		}
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "persistence.dsn: ") || strings.Contains(err.Error(), "pass42word") {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}
