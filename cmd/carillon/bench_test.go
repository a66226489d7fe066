package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

// The benchmarks measure a server process of its own, pinned to the first processor and durable on a real directory; run
// them with the load on another one: taskset -c 1 go test ./cmd/carillon -run '^$' -bench . (make bench does).

const (
	benchUsers = 1000
	benchRing  = 100 * time.Millisecond // from the ring to the accept
)

// BenchmarkCallSetup prints what one call set-up costs: A invites B, B's device rings, A learns of it, B accepts, A learns
// of it. Arrivals are open-loop on an absolute schedule; latency counts from the scheduled instant.
func BenchmarkCallSetup(b *testing.B) {
	for _, rate := range []int{500, 1000, 1500, 2000, 2500} {
		b.Run(fmt.Sprint("offered=", rate), func(b *testing.B) {
			server := startPinned(b)
			load := newLoad(b, server.addr, benchUsers)
			for b.Loop() {
				load.offer(rate/2, time.Second) // warm
				time.Sleep(2 * benchRing)       // for the last of its answers
				load.reset()
				before, began := server.cpu(), time.Now()
				load.offer(rate, 5*time.Second)
				took, used := time.Since(began), server.cpu()-before
				done := float64(load.answered.Load())
				b.ReportMetric(done/took.Seconds(), "setups/s")
				b.ReportMetric(float64(load.asked)-done, "failed")
				b.ReportMetric(used.Seconds()/done*1000, "cpu-s/1000")
				b.ReportMetric(load.ring(0.5), "ring-p50-ms")
				b.ReportMetric(load.ring(0.99), "ring-p99-ms")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkIdleConnection prints the resident memory of one idle, logged-in device.
func BenchmarkIdleConnection(b *testing.B) {
	const devices = 5000
	server := startPinned(b)
	for b.Loop() {
		newLoad(b, server.addr, 50)
		before := server.resident()
		newLoad(b, server.addr, devices)
		b.ReportMetric(float64(server.resident()-before)/devices, "B/device")
		b.ReportMetric(0, "ns/op")
	}
}

// benchServer is a carillon process.
type benchServer struct {
	pid  int
	addr string
}

func startPinned(b *testing.B) *benchServer {
	b.Helper()
	dir := b.TempDir()
	addr := freeUDP(b)
	return startServer(b, benchBinary(b, dir), addr, filepath.Join(dir, "data"))
}

func benchBinary(b *testing.B, dir string) string {
	b.Helper()
	binary := filepath.Join(dir, "carillon")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// pinned is a command that runs on the first processor, where that can be said.
func pinned(args ...string) []string {
	if taskset, err := exec.LookPath("taskset"); err == nil {
		return append([]string{taskset, "-c", "0"}, args...)
	}
	return args
}

func startServer(b *testing.B, binary, addr, data string, settings ...string) *benchServer {
	b.Helper()
	args := pinned(binary, "serve", "--listen", addr, "--data", data, "--log-level", "error")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append([]string{"CARILLON_ADMIN_LISTEN=127.0.0.1:0"}, os.Environ()...) // the admin listener can be had, for profiles
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "CARILLON_LIMITS_REQUESTS_PER_SECOND=1000", "CARILLON_LIMITS_REQUESTS_BURST=1000")
	cmd.Env = append(cmd.Env, settings...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var drained sync.WaitGroup
	drained.Go(func() {
		for lines.Scan() {
		}
	})
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		drained.Wait()
		_ = cmd.Wait()
	})
	return &benchServer{pid: cmd.Process.Pid, addr: addr}
}

func freeUDP(b *testing.B) string {
	b.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// cpu is the processor time that the server has used, user and system.
func (s *benchServer) cpu() time.Duration { return cpuOf(s.pid) }

func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // ticks of 1/100 s
}

func (s *benchServer) resident() int {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(statm))[1])
	return pages * os.Getpagesize()
}

// benchLoad is many users, each on a connection of his own, all on one socket.
type benchLoad struct {
	b        *testing.B
	users    []*benchUser
	prefix   string
	asked    int
	answered atomic.Int64

	mu     sync.Mutex
	starts map[string]time.Time // by extended data, which names the call
	rings  []time.Duration
}

type benchUser struct {
	load   *benchLoad
	name   string
	stream *quic.Stream
	mu     sync.Mutex
	last   uint64
	in     chan struct{}

	redirect string // where the node that answered the login sends it
}

var benchRuns atomic.Int64

func newLoad(b *testing.B, addr string, users int) *benchLoad {
	return newLoadOn(b, []string{addr}, users)
}

// newLoadOn spreads the users over the nodes; each follows where it is sent, once.
func newLoadOn(b *testing.B, addrs []string, users int) *benchLoad {
	b.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	_ = socket.SetReadBuffer(8 << 20)
	transport := &quic.Transport{Conn: socket, ConnectionIDLength: 8}
	b.Cleanup(func() {
		_ = transport.Close()
		_ = socket.Close()
	})
	l := &benchLoad{b: b, prefix: fmt.Sprint("u", benchRuns.Add(1), "-"), users: make([]*benchUser, users), starts: map[string]time.Time{}}
	var dials sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range l.users {
		slots <- struct{}{}
		dials.Go(func() {
			defer func() { <-slots }()
			name := fmt.Sprint(l.prefix, i)
			u := l.dial(transport, addrs[i%len(addrs)], name)
			if u != nil && u.redirect != "" {
				u = l.dial(transport, u.redirect, name)
			}
			l.users[i] = u
		})
	}
	dials.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return l
}

func (l *benchLoad) dial(t *quic.Transport, to, name string) *benchUser {
	addr, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		l.b.Error(err)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{wire.ALPN}}
	for {
		conn, err := t.Dial(ctx, addr, config, &quic.Config{
			MaxIdleTimeout: time.Minute, DisablePathMTUDiscovery: true,
			InitialStreamReceiveWindow: 16 << 10, InitialConnectionReceiveWindow: 32 << 10,
		})
		if err != nil {
			if ctx.Err() != nil {
				l.b.Errorf("%s: %v", name, err)
				return nil
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		stream, err := conn.OpenStreamSync(ctx)
		if err != nil {
			l.b.Errorf("%s: %v", name, err)
			return nil
		}
		u := &benchUser{load: l, name: name, stream: stream, in: make(chan struct{})}
		go u.read()
		u.send(&wire.ClientFrame{Body: &wire.ClientFrame_Login{Login: &wire.Login{UserId: name, DeviceId: "bench"}}})
		select {
		case <-u.in:
		case <-ctx.Done():
			l.b.Errorf("%s: no answer to the login", name)
		}
		return u
	}
}

func (u *benchUser) send(f *wire.ClientFrame) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f.GetInvitationReceipt() == nil {
		u.last++
		f.RequestId = u.last
		f.CommandId = make([]byte, 16)
		_, _ = rand.Read(f.CommandId)
	}
	b, err := wire.AppendFrame(nil, f)
	if err != nil {
		u.load.b.Errorf("%s: %v", u.name, err)
	}
	_, _ = u.stream.Write(b) // a call that cannot be answered any more counts as failed
}

func (u *benchUser) read() {
	frames := wire.NewReader(u.stream, wire.MaxServerFrame)
	for {
		b, err := frames.Next()
		if err != nil {
			return // the end of the benchmark
		}
		var f wire.ServerFrame
		if err := proto.Unmarshal(b, &f); err != nil {
			u.load.b.Error(err)
			return
		}
		if login := f.GetResponse().GetLogin(); login != nil {
			u.redirect = login.GetRedirect()
			close(u.in)
		}
		if e := f.GetEvent(); e != nil {
			u.hear(e)
		}
	}
}

func (u *benchUser) hear(e *wire.Event) {
	if s := e.GetCallInvitationReceived(); s != nil {
		u.load.rang(s.GetExtendedData())
		id := e.GetCallId()
		u.send(&wire.ClientFrame{Body: &wire.ClientFrame_InvitationReceipt{InvitationReceipt: &wire.InvitationReceipt{CallId: id}}})
		time.AfterFunc(benchRing, func() {
			u.send(&wire.ClientFrame{Body: &wire.ClientFrame_CallAccept{CallAccept: &wire.CallAccept{CallId: id}}})
		})
	}
	for _, other := range e.GetCallUserStateChanged().GetUsers() {
		if other.GetUserId() != u.name && other.GetState() == wire.UserState_USER_STATE_ACCEPTED {
			u.load.answered.Add(1)
		}
	}
}

func (l *benchLoad) rang(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.starts[name]; ok {
		l.rings = append(l.rings, time.Since(at))
		delete(l.starts, name)
	}
}

// offer invites at a rate for a while and waits until the last call can be answered.
func (l *benchLoad) offer(rate int, during time.Duration) {
	next, gap := time.Now(), time.Second/time.Duration(rate)
	for range int(during / gap) {
		time.Sleep(time.Until(next))
		a, b := mrand.IntN(len(l.users)), mrand.IntN(len(l.users)-1)
		if b >= a {
			b++
		}
		l.asked++
		name := strconv.FormatInt(next.UnixNano(), 36)
		l.mu.Lock()
		l.starts[name] = next
		l.mu.Unlock()
		l.users[a].send(&wire.ClientFrame{Body: &wire.ClientFrame_CallInvite{CallInvite: &wire.CallInvite{
			Invitees: []string{l.users[b].name}, ExtendedData: name,
		}}})
		next = next.Add(gap)
	}
	for end := time.Now().Add(3 * time.Second); l.answered.Load() < int64(l.asked) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *benchLoad) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked, l.rings = 0, nil
	l.answered.Store(0)
}

// ring is a quantile of the time from the scheduled invitation to the ring, in milliseconds.
func (l *benchLoad) ring(q float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rings) == 0 {
		return 0
	}
	slices.Sort(l.rings)
	return float64(l.rings[int(q*float64(len(l.rings)-1))].Microseconds()) / 1000
}
