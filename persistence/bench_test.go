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

// BenchmarkSave plays whole calls (create, two updates, close) on a real directory, so many at a time, and prints
// transitions per second, their mean group and the CPU time of the whole process per transition.
func BenchmarkSave(b *testing.B) {
	for _, concurrent := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(concurrent), func(b *testing.B) {
			var groups, grouped atomic.Int64
			p := mustOpen(b, Config{Dir: b.TempDir(), Observe: func(n int, _ time.Duration) {
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
						if err := playCall(p, call.ID(n*0x9e3779b97f4a7c15)); err != nil {
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
