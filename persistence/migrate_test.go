package persistence

import (
	"errors"
	"strings"
	"sync"
	"testing"

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
