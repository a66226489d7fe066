package persistence

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"carillon/actors/call"
)

//go:embed schema
var schema embed.FS

const (
	versionTable   = "carillon_versions"
	lockTable      = "carillon_lock"
	migrateRetries = 5 // two nodes that create the same table at once: one of them begins again
)

// Migrate brings the database that dsn names to this carillon's schema, one step after another, each once, whoever else
// tries at the same time. It waits up to a minute for another node's migration. Errors: call.ErrNewer when a newer carillon
// has been here; what the database says.
func Migrate(ctx context.Context, dsn string) error {
	return Config{DSN: dsn}.withDefaults().migrate(ctx)
}

func (c Config) migrate(ctx context.Context) error {
	config, err := pgx.ParseConfig(c.DSN)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*config)
	for try := 1; ; try++ {
		err = c.migrateOnce(ctx, db)
		if err == nil || try == migrateRetries || errors.Is(err, call.ErrNewer) || !collided(err) {
			return errors.Join(err, db.Close())
		}
		if err := pause(ctx, time.Duration(try)*retryPause); err != nil {
			return errors.Join(err, db.Close())
		}
	}
}

func (c Config) migrateOnce(ctx context.Context, db *sql.DB) error {
	plain, err := c.unpartitioned(ctx, db)
	if err != nil {
		return err
	}
	steps, err := migrationsFor(db, plain, c.Logger)
	if err != nil {
		return err
	}
	switch have, want, err := steps.GetVersions(ctx); {
	case err != nil:
		return err
	case have > want:
		return fmt.Errorf("its schema has version %d, this carillon knows up to %d: %w", have, want, call.ErrNewer)
	case have == want:
		return nil
	}
	_, err = steps.Up(ctx)
	return err
}

// unpartitioned reports whether the history is to be one plain table: by choice, or because the server isn't PostgreSQL, but
// only speaks its protocol.
func (c Config) unpartitioned(ctx context.Context, db *sql.DB) (bool, error) {
	var version string
	if err := db.QueryRowContext(ctx, "select version()").Scan(&version); err != nil {
		return false, err
	}
	return c.Plain || !strings.HasPrefix(version, "PostgreSQL") || strings.Contains(version, "-YB-"), nil
}

func migrationsFor(db *sql.DB, plain bool, log *slog.Logger) (*goose.Provider, error) {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresTableLocker(lock.WithTableName(lockTable), lock.WithTableLogger(log),
		lock.WithTableLockTimeout(250*time.Millisecond, 240), lock.WithTableUnlockTimeout(250*time.Millisecond, 40))
	if err != nil {
		return nil, err
	}
	history := "history/partitioned.sql"
	if plain {
		history = "history/plain.sql"
	}
	script, err := fs.ReadFile(files, history)
	if err != nil {
		return nil, err
	}
	run := func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, string(script))
		return err
	}
	return goose.NewProvider(goose.DialectPostgres, db, files, goose.WithLocker(locker), goose.WithTableName(versionTable), goose.WithSlog(log),
		goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(goose.NewGoMigration(2, &goose.GoFunc{RunTx: run}, nil)))
}
