package persistence

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// outcome is what an error of the database tells about the transaction that met it.
type outcome uint8

const (
	untried   outcome = iota // nothing was sent
	refused                  // surely not committed, and trying again at once won't help
	unsettled                // committed or not; trying again may help
)

// judge tells the outcome of a transaction that ended in err.
func judge(err error) outcome {
	var said *pgconn.PgError
	switch {
	case pgconn.SafeToRetry(err):
		return untried
	case !errors.As(err, &said), transient(said.Code):
		return unsettled
	}
	return refused
}

// transient reports whether an error code is about the moment, the connection or the server's state, not about the request.
func transient(code string) bool {
	switch code[:min(2, len(code))] {
	case "08", // the connection
		"40", // serialization failures and deadlocks, 40003: completion unknown
		"57", // cancelled by statement_timeout, shut down, starting up
		"XX":
		return true
	}
	return code == "25006" || code == "55P03" // a standby; a lock not had in time
}

// broken reports whether the connection that met err should be given up: it is closed, or its server can't write any more.
func broken(err error) bool {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return true
	}
	class := said.Code[:min(2, len(said.Code))]
	return transient(said.Code) && class != "40" && class != "55" && said.Code != "57014"
}

// passing reports whether a read that failed is worth repeating.
func passing(err error) bool {
	var said *pgconn.PgError
	return !errors.As(err, &said) || transient(said.Code)
}

// collided reports whether two nodes created the same thing at once.
func collided(err error) bool {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return false
	}
	switch said.Code {
	case "23505", "42P07", "42710", "40001", "40P01":
		return true
	}
	return false
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
