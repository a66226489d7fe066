package persistence

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"carillon/actors/call"
)

// Incidents counts what went wrong since the store was opened.
type Incidents struct {
	SlowDisk         uint64 // operations of the file system that took longer than 5 s
	WriteStalls      uint64 // times that Pebble held writes back
	BackgroundErrors uint64 // failed flushes and compactions; they are tried again
	Corruptions      uint64 // damaged blocks and records that were met
}

// alarm hears what Pebble reports. It is Pebble's Logger and the keeper of the store's one fatal error.
type alarm struct {
	logger *slog.Logger
	fatal  func(error)

	armed atomic.Bool // the store is open: fatal is told
	once  sync.Once
	ended chan struct{} // closed when the store has failed
	cause error         // why; read it only after ended is closed

	slow, stalls, background, corrupt atomic.Uint64
}

func newAlarm(c Config) *alarm {
	return &alarm{logger: c.Logger.With("dir", c.Dir), fatal: c.Fatal, ended: make(chan struct{})}
}

// storeEnded is what Fatalf panics with inside our own calls; attempt recovers it.
type storeEnded struct{ err error }

// end marks the store as failed, once. From here on nothing is acknowledged.
func (a *alarm) end(err error) {
	a.once.Do(func() {
		a.cause = err
		close(a.ended)
		a.logger.Error("the store has failed; nothing more is written or read", "error", err)
		if a.armed.Load() {
			a.fatal(err)
		}
	})
}

// arm makes fatal the one to be told; until then an error is Open's to return.
func (a *alarm) arm() error {
	a.armed.Store(true)
	return a.err()
}

// err is nil while the store lives, then wraps call.ErrUnavailable and the cause.
func (a *alarm) err() error {
	select {
	case <-a.ended:
		return fmt.Errorf("%w: the store has failed: %w", call.ErrUnavailable, a.cause)
	default:
		return nil
	}
}

// attempt runs f, which calls Pebble. A fatal report or a panic out of Pebble's commit ends the store and becomes an error.
func (a *alarm) attempt(f func() error) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case storeEnded:
			err = fmt.Errorf("%w: %w", call.ErrUnavailable, v.err)
		default:
			err = fmt.Errorf("%w: panic in the store: %v", call.ErrUnavailable, v)
			a.end(err)
		}
	}()
	return f()
}

// Infof drops Pebble's narration unless the log wants it.
func (a *alarm) Infof(format string, args ...any) {
	if a.logger.Enabled(context.Background(), slog.LevelDebug) {
		a.logger.Debug("pebble", "said", fmt.Sprintf(format, args...))
	}
}

// Errorf logs what Pebble calls an error.
func (a *alarm) Errorf(format string, args ...any) {
	a.logger.Error("pebble", "said", fmt.Sprintf(format, args...))
}

// Fatalf never returns, so that what failed can't go on to acknowledge: under a call of this package it panics up to attempt;
// in a goroutine of Pebble's own it ends that goroutine, whose deferred calls let go of Pebble's locks.
func (a *alarm) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	a.end(err)
	if calledByUs() {
		panic(storeEnded{err})
	}
	runtime.Goexit()
}

// calledByUs reports whether this goroutine came through a function of this package to get here.
func calledByUs() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	first, more := frames.Next() // Fatalf
	ours, _, _ := strings.Cut(first.Function, ".(")
	for more {
		var f runtime.Frame
		f, more = frames.Next()
		if strings.HasPrefix(f.Function, ours+".") {
			return true
		}
	}
	return false
}

// listener reports Pebble's events to the log and the counters.
func (a *alarm) listener() *pebble.EventListener {
	return &pebble.EventListener{
		DiskSlow: func(i pebble.DiskSlowInfo) {
			a.slow.Add(1)
			a.logger.Warn("slow disk", "path", i.Path, "operation", i.OpType.String(), "bytes", i.WriteSize, "for", i.Duration.Round(time.Millisecond))
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			a.stalls.Add(1)
			a.logger.Warn("writes are held back", "why", i.Reason)
		},
		BackgroundError: func(err error) {
			a.background.Add(1)
			a.logger.Error("background work of the store failed", "error", err)
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			a.corrupt.Add(1)
			a.logger.Error("damaged data", "path", i.Path, "error", i.Details.Error())
		},
	}
}

func (a *alarm) incidents() Incidents {
	return Incidents{a.slow.Load(), a.stalls.Load(), a.background.Load(), a.corrupt.Load()}
}
