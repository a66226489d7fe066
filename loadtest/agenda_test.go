package main

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAgenda(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgenda()
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.run(ctx)
		}()
		start := time.Now()
		var done []int
		enter := func(n int, after time.Duration) {
			a.at(start.Add(after), func(now time.Time) {
				if now.Sub(start) != max(after, 0) {
					t.Errorf("%d was done after %v, not %v", n, now.Sub(start), after)
				}
				done = append(done, n)
			})
		}
		enter(4, 3*time.Second)
		enter(2, time.Second)
		enter(3, time.Second)
		synctest.Wait()
		enter(1, time.Millisecond)
		enter(0, -time.Second)
		time.Sleep(10 * time.Second)
		cancel()
		<-ended
		if !slices.Equal(done, []int{0, 1, 2, 3, 4}) {
			t.Errorf("done %v", done)
		}
	})
}
