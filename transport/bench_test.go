package transport

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

// BenchmarkEcho sends heartbeats over 1,000 connections on loopback and waits for their echoes, 1 or 8 in flight on each.
// Both sides run in this process, so cpu-µs/frame is for client and server together.
func BenchmarkEcho(b *testing.B) {
	for _, inFlight := range []int{1, 8} {
		b.Run(fmt.Sprintf("inFlight=%d", inFlight), func(b *testing.B) { benchmarkEcho(b, 1000, inFlight) })
	}
}

func benchmarkEcho(b *testing.B, conns, inFlight int) {
	r := &rig{gateways: make(chan *gateway, conns)}
	s, err := Listen(r.config(func(cfg *Config) {
		cfg.Listen = "127.0.0.1:0"
		cfg.Limits.FramesPerSecond = 1 << 30
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	streams := dialMany(b, s, conns)
	runtime.GC()
	runtime.ReadMemStats(&after)
	kB := float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse) / float64(conns) / 1000

	beats := bytes.Repeat(encode(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{
		Heartbeat: &wire.Heartbeat{Padding: make([]byte, 100)},
	}}), inFlight)
	rounds := max(1, b.N/(conns*inFlight))
	cpu := cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, stream := range streams {
		wg.Go(func() {
			frames := wire.NewReader(stream, wire.MaxServerFrame)
			for range rounds {
				if _, err := stream.Write(beats); err != nil {
					b.Error(err)
					return
				}
				for range inFlight {
					if _, err := frames.Next(); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	total := float64(rounds * conns * inFlight)
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/total, "cpu-µs/frame")
	b.ReportMetric(total/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64(s.Stats().FramesOut.Load())/float64(s.Stats().Writes.Load()), "frames/write")
	b.ReportMetric(kB, "kB/conn-both-sides")
}

// dialMany connects from a few sockets, 16 at a time: a server refuses what its accept queue does not hold.
func dialMany(b *testing.B, s *Server, n int) []*quic.Stream {
	b.Helper()
	streams := make([]*quic.Stream, n)
	turns := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range turns {
				conn, err := quic.DialAddr(b.Context(), s.Addr().String(), clientTLS(), &quic.Config{MaxIdleTimeout: time.Minute, DisablePathMTUDiscovery: true})
				if err != nil {
					b.Error(err)
					continue
				}
				if streams[i], err = conn.OpenStream(); err != nil {
					b.Error(err)
				}
				c := &client{stream: streams[i], frames: wire.NewReader(streams[i], wire.MaxServerFrame)}
				_, _ = streams[i].Write(encode(loginFrame("alice", "")))
				if _, err := c.next(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range n {
		turns <- i
	}
	close(turns)
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return streams
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSend is the cost of queueing a frame while a write is under way.
func BenchmarkSend(b *testing.B) {
	cfg := Config{Limits: Limits{QueueBytes: 1 << 40}.withDefaults(), Stats: new(Stats)}
	c := newConn(1, &cfg, nil)
	c.writing = true
	frame := responseFrame(1, nil)
	b.ReportAllocs()
	for b.Loop() {
		c.Send(frame)
		if len(*c.queue.buf) > 8<<10 {
			c.queue.drop()
		}
	}
}
