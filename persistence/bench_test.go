package persistence

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"carillon/actors/call"
)

// BenchmarkSave plays calls on a Pebble in a real directory.
func BenchmarkSave(b *testing.B) {
	benchmarkSave(b, func(c Config) store {
		c.Dir = b.TempDir()
		return mustOpen(b, c)
	})
}

// BenchmarkSharedSave plays calls on a PostgreSQL that syncs its log, over loopback. Its processes' CPU isn't counted.
func BenchmarkSharedSave(b *testing.B) {
	sharedServer(b)
	s, err := newServer("shared_buffers=512MB", "max_wal_size=4GB")
	if err != nil {
		b.Fatal(err)
	}
	defer s.remove()
	benchmarkSave(b, func(c Config) store {
		c.DSN = s.dsn("postgres")
		return mustOpenPostgres(b, c)
	})
}

// calls numbers the calls of all benchmarks: a database is used again.
var calls atomic.Uint64

// benchmarkSave plays whole calls (create, two updates, close), so many at a time, and prints
// transitions per second, their mean group and the CPU time of the whole process per transition.
func benchmarkSave(b *testing.B, open func(Config) store) {
	for _, concurrent := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(concurrent), func(b *testing.B) {
			var groups, grouped atomic.Int64
			p := open(Config{Observe: func(n int, _ time.Duration) {
				groups.Add(1)
				grouped.Add(int64(n))
			}})
			var next atomic.Uint64
			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime()
			var wg sync.WaitGroup
			for range concurrent {
				wg.Go(func() {
					for {
						n := next.Add(1)
						if n > uint64(b.N) {
							return
						}
						if err := playCall(p, call.ID(calls.Add(1)*0x9e3779b97f4a7c15)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			writes := float64(4 * b.N)
			b.ReportMetric(writes/b.Elapsed().Seconds(), "tx/s")
			b.ReportMetric(float64(grouped.Load())/float64(groups.Load()), "tx/group")
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/writes, "cpu-ns/tx")
			if err := p.Close(); err != nil {
				b.Error(err)
			}
			runtime.GC()
		})
	}
}

func playCall(s store, id call.ID) error {
	a := ringing(id, int(id%100000), call.UserID(fmt.Sprint("ann", id%10000)), call.UserID(fmt.Sprint("bob", id%10007)))
	steps := [4]call.Transition{create(a)}
	for i, edit := range []func(*call.State){became(1, call.Received), became(1, call.Accepted), closed} {
		steps[i+1] = with(steps[i].Next, edit)
	}
	for i := range steps {
		if err := s.Save(context.Background(), steps[i:i+1])[0]; err != nil {
			return err
		}
	}
	return nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
