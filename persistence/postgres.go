package persistence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"carillon/actors/call"
)

// Postgres is the store that nodes share: a database of PostgreSQL, or one that speaks its protocol. Any number of stores
// may be open on it; who writes from a stale copy loses.
type Postgres struct {
	config      Config
	pool        *pgxpool.Pool // reads and deletions
	lone        *pgx.ConnConfig
	partitioned bool // the history is, which only PostgreSQL itself can do
	gate        gate // readers, so that Close can wait for them
	pulse       *pulse

	front
	users
	life    context.Context // ends when the committer must give up
	kill    context.CancelFunc
	running sync.WaitGroup // the committer
	sweeper *sweeper
}

// OpenPostgres opens the store in the database that c.DSN names, bringing its schema up to date first (Migrate). A server
// that is starting up is waited for, up to ten seconds. Errors name persistence.dsn: not understood, not reachable, not let
// in, written by a newer carillon (call.ErrNewer).
func OpenPostgres(c Config) (*Postgres, error) {
	c = c.withDefaults()
	p := &Postgres{config: c, pulse: newPulse(c.Logger)}
	if err := p.open(); err != nil {
		if p.pool != nil {
			p.pool.Close()
		}
		return nil, fmt.Errorf("persistence.dsn: %w", err)
	}
	p.err = func() error { return nil }
	p.users = users{front: &p.front, lookup: p.lookupUsers}
	p.life, p.kill = context.WithCancel(context.Background())
	p.queue = newQueue(maxSharedBytes, pace{sharedPace, maxPace, busyFlow, fullFlow})
	p.running.Go(newScribe(p, p.queue).run)
	p.sweeper = startSweeper(c, nil, p.sweep)
	p.pulse.start(func(ctx context.Context) error { return p.pool.Ping(ctx) })
	return p, nil
}

// Shared tells how many nodes, this one included, commit to the database: the more they are, the longer each looks for company,
// since a commit costs the database the same whatever is in it.
func (p *Postgres) Shared(nodes int) { p.queue.nodes.Store(int64(nodes)) }

func (p *Postgres) open() error {
	if p.config.DSN == "" {
		return errors.New("it is empty: a connection string is needed")
	}
	pool, err := pgxpool.ParseConfig(p.config.DSN)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	tune(pool.ConnConfig)
	pool.AfterConnect = steady
	p.lone = pool.ConnConfig.Copy()
	if err := p.reach(ctx); err != nil {
		return err
	}
	if err := p.config.migrate(ctx); err != nil {
		return err
	}
	if p.pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return err
	}
	const probe = "select relkind = 'p' from pg_class where oid = 'history'::regclass"
	if err := p.pool.QueryRow(ctx, probe).Scan(&p.partitioned); err != nil {
		return err
	}
	return p.prepareDays(ctx)
}

// reach waits for a server that is on its way up.
func (p *Postgres) reach(ctx context.Context) error {
	until := time.Now().Add(reachTimeout)
	for {
		conn, err := pgx.ConnectConfig(ctx, p.lone)
		if err == nil {
			return conn.Close(ctx)
		}
		var said *pgconn.PgError
		if refusal := errors.As(err, &said) && !transient(said.Code); refusal || time.Now().After(until) {
			return err
		}
		if err := pause(ctx, retryPause); err != nil {
			return err
		}
	}
}

// tune bounds what a connection may wait for.
func tune(c *pgx.ConnConfig) {
	if c.ConnectTimeout <= 0 || c.ConnectTimeout > dialTimeout {
		c.ConnectTimeout = dialTimeout
	}
	if c.ValidateConnect == nil { // after a failover the old address may lead to a standby
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "carillon"
	}
}

func millis(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// steady bounds what the server does for a new connection, and has the planner of PostgreSQL keep to the indexes, whatever it
// thinks of a table that has just been made, and compile nothing. Other servers don't know its settings, and need them less.
func steady(ctx context.Context, conn *pgx.Conn) error {
	bound := millis(statementTimeout)
	_, err := conn.Exec(ctx, "set statement_timeout = "+bound+"; set idle_in_transaction_session_timeout = "+bound)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off")
	var said *pgconn.PgError
	if errors.As(err, &said) && !transient(said.Code) {
		return nil
	}
	return err
}

// Health is nil when the database answered within the last seconds; else it says, for people, why it can't be used.
func (p *Postgres) Health() error { return errors.Join(p.gate.err(), p.pulse.err()) }

// Close refuses what comes, commits what waits if the database lets it within five seconds, waits for readers and
// disconnects. A second Close does nothing. It must not be called from within a visit of OpenCalls.
func (p *Postgres) Close() error {
	p.sweeper.stop()
	if !p.gate.close() {
		return nil
	}
	p.queue.stop()
	late := time.AfterFunc(closeTimeout, p.kill)
	p.running.Wait()
	late.Stop()
	p.kill()
	p.pulse.stop()
	p.pool.Close()
	return nil
}

// unreachable is the error for people about a database that doesn't answer.
func unreachable(err error) error {
	return fmt.Errorf("%w: the database doesn't answer: %w", call.ErrUnavailable, err)
}
