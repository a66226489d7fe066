package persistence

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Limits of the stores.
const (
	maxQueued     = 8192     // transitions and registrations waiting or under way, per store
	maxGroup      = 512      // of them in one commit
	maxGroupBytes = 4 << 20  // of records in one commit; the first record always fits
	maxRecord     = 4 << 20  // bytes of one record
	maxUserID     = 255      // bytes; one byte holds the length in a key
	maxPage       = 100      // calls in one page of UserCalls (SPEC 1)
	maxPending    = 256      // calls that PendingFor gives
	scanChunk     = 1024     // calls that OpenCalls holds at once
	sweepChunk    = 256      // calls that Sweep deletes at once
	minClosedBits = 1 << 25  // by which new calls are told from closed ones (4 MiB), at first
	maxClosedBits = 1 << 29  // and at most (64 MiB)
	maxKnownUsers = 65536    // registered users remembered in memory
	keptBuffer    = 64 << 10 // bytes; a larger encoding buffer isn't kept for reuse
	spaceInterval = time.Second
	patientWait   = 10 * time.Millisecond   // how long a transition that nobody waits for looks for company
	sharedPace    = 2500 * time.Microsecond // between the beginnings of two commits, with Postgres
	maxPace       = 3 * time.Millisecond    // and with much to do, with any store
	maxOthers     = 4                       // nodes on the same database that make it longer
	busyFlow      = 5000                    // entries per second up to which there is little to do
	fullFlow      = 10000                   // and from which there is much
	closeTimeout  = 5 * time.Second         // how long Close waits for a commit on a disk that has failed
	slowDisk      = 5 * time.Second         // an operation of the file system that takes longer is reported
)

// Limits of Postgres, besides.
const (
	maxSharedBytes   = 1 << 20                // of records in one commit; the first record always fits
	maxSecret        = 4096                   // bytes
	spanChunk        = 16                     // ranges of IDs that one page of OpenCalls may come from
	daysAhead        = 14                     // partitions that are prepared
	dialTimeout      = 3 * time.Second        // for one connection
	statementTimeout = 5 * time.Second        // the server ends what takes longer, and a transaction whose client is silent for longer
	answerTimeout    = 8 * time.Second        // a commit that isn't answered by then is asked about on another connection
	reachWait        = 4 * time.Second        // how long a transition waits for a database that can't be reached; below what an actor waits
	settleWait       = 20 * time.Second       // how long a commit of unknown outcome is asked about
	readWait         = 3 * time.Second        // how long a read is repeated
	retryPause       = 20 * time.Millisecond  // between two attempts, at first
	retryPauseMax    = 500 * time.Millisecond // and at most
	checkAfter       = time.Second            // a connection that wasn't used for so long is tried before it is relied on
	pulseInterval    = time.Second            // the database is asked whether it is there, when nobody has used it for so long
	refusalShown     = 10 * time.Second       // how long Health tells of a commit that the database has refused
	openTimeout      = 2 * time.Minute        // for connecting, migrating and the partitions
	reachTimeout     = 10 * time.Second       // of it for a server that is starting
	lockTimeout      = time.Second            // for making and dropping partitions, which stops everybody else
)

// Config is what a store needs to know. The zero value of each field but Dir (Pebble) and DSN (Postgres) is usable.
type Config struct {
	Dir string // the store's own directory; created with mode 0700 when missing. Pebble only
	FS  vfs.FS // nil = the operating system's. Pebble only

	Retention     time.Duration // how long a closed call is kept, counted from its closing; 0 = 720 h (SPEC 7)
	SweepInterval time.Duration // between two sweeps in the background; 0 = 10 min

	MinFreeBytes uint64                 // below it creations are refused, below a quarter of it updates too; 0 = 256 MiB. Pebble only
	FreeBytes    func() (uint64, error) // free space where Dir is; nil = ask FS. Asked at most once a second. Pebble only

	CacheBytes    int64  // block cache; 0 = 64 MiB. Pebble only
	MemTableBytes uint64 // one table of the newest writes, allocated as it fills; 0 = 32 MiB. Pebble only
	MemoryCalls   int    // calls that Memory keeps, the oldest closed ones go first; 0 = 1,048,576. Memory only

	DSN   string // the database: a URL or key=value pairs, as PostgreSQL's own tools take it. Postgres only
	Plain bool   // the history is one table even on PostgreSQL; matters when the schema is made. Postgres only

	Logger *slog.Logger // nil = slog.Default()

	// Fatal is told, once, why the store has ended. It is called from inside the write that failed: it must return at once
	// and must not call the store. The process should then stop and start again. nil = only the log says so.
	Fatal func(error)

	// Observe is told of every commit: how many transitions and registrations it held and how long it took. It is called
	// by the committer, so it must be quick. nil = nobody watches.
	Observe func(group int, took time.Duration)

	Now func() time.Time // nil = time.Now
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Retention <= 0 {
		c.Retention = 720 * time.Hour
	}
	if c.SweepInterval <= 0 {
		c.SweepInterval = 10 * time.Minute
	}
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = 256 << 20
	}
	if c.FreeBytes == nil {
		c.FreeBytes = diskSpace(c.FS, c.Dir)
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = 64 << 20
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = 32 << 20
	}
	if c.MemoryCalls <= 0 {
		c.MemoryCalls = 1 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Fatal == nil {
		c.Fatal = func(error) {}
	}
	if c.Observe == nil {
		c.Observe = func(int, time.Duration) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
