package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestServeSaysWhereAndStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out := &transcript{}
	served := make(chan error, 1)
	go func() { served <- serve(ctx, testConfig(t), slog.New(slog.DiscardHandler), out) }()
	for !strings.Contains(out.String(), "Control-C") {
		select {
		case err := <-served:
			t.Fatalf("stopped by itself: %v\n%s", err, out)
		default:
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	wantInOrder(t, "serve", out.String(), "is up", "clients", "127.0.0.1:", "development", "not checked", "memory only",
		"http://127.0.0.1:", "phone --user alice --addr 127.0.0.1:", "Stopped")
}

func TestServeNamesThePortInUse(t *testing.T) {
	for _, key := range []string{"transport.listen", "admin.listen"} {
		t.Run(key, func(t *testing.T) {
			cfg := testConfig(t)
			var address string
			if key == "transport.listen" {
				taken, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer taken.Close()
				address = taken.LocalAddr().String()
				cfg.Transport.Listen = address
			} else {
				taken, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer taken.Close()
				address = taken.Addr().String()
				cfg.Admin.Listen = address
			}
			err := serve(context.Background(), cfg, slog.New(slog.DiscardHandler), io.Discard)
			if err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "in use") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestServeStopsOnASignalAndAtOnceOnTheSecond(t *testing.T) {
	exited := make(chan int, 1)
	out := &transcript{}
	ctx, stop := untilSignal(context.Background(), out, func(code int) { exited <- code })
	defer stop()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if len(exited) > 0 {
		t.Error("the first signal stops at once")
	}
	if err := self.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-exited; code != exitAtOnce {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(out.String(), "draining") {
		t.Errorf("printed %q", out)
	}
}
