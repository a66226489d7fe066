package main

import (
	"runtime"
	"testing"
	"time"
)

// TestLag: goroutines that wait behind others that never pause show; those that only sleep do not count.
func TestLag(t *testing.T) {
	l := newLag()
	if got := l.read(); got != 0 {
		t.Errorf("the first read: %v", got)
	}
	stop := make(chan struct{})
	done := make(chan struct{})
	const busy = 64
	for range busy * runtime.GOMAXPROCS(0) {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
					for i := time.Now(); time.Since(i) < time.Millisecond; {
					}
					runtime.Gosched() // waits until 63 others have had their millisecond
				}
			}
		}()
	}
	var worst time.Duration
	for worst < 10*time.Millisecond { // the test's own deadline ends what never comes
		runtime.Gosched()
		worst = max(worst, l.read())
	}
	close(stop)
	for range busy * runtime.GOMAXPROCS(0) {
		<-done
	}
}
