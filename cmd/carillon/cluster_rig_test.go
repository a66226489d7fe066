//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carillon/cluster"
)

// What a fleet's users count on.
const (
	fleetBeat    = 500 * time.Millisecond
	fleetGrace   = 20 * time.Second // longer than any fault here, so nobody's caller goes offline by it
	fleetStart   = 30 * time.Second // until a node serves
	fleetEnd     = 20 * time.Second // until a node has drained
	fleetMembers = 5                // at most
)

// fleet is the nodes of a cluster in processes of their own, on one PostgreSQL of its own.
type fleet struct {
	t        *testing.T
	program  program
	dir      string
	postgres *Postgres
	key      string
	settings []string // of all nodes, "NAME=value" without the prefix
	nodes    []*fleetNode
	taken    []int // ports
}

// fleetNode is one node through all its lives.
type fleetNode struct {
	fleet   *fleet
	name    string
	program program
	enter   []string // the command that goes before the program's
	places

	process *guarded // of the present or last life
	stopped bool     // ended in order
	log     journal
}

// places are where a node listens.
type places struct{ client, admin, members, remote string }

// journal is what a process writes on standard error.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write is io.Writer's.
func (l *journal) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *journal) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// newFleet makes so many nodes on loopback, none of which runs yet. They end with the test, which fails where one of them
// raced, panicked or ended by itself.
func newFleet(t *testing.T, p program, nodes int, settings ...string) *fleet {
	t.Helper()
	f := emptyFleet(t, p, PostgresConfig{}, settings...)
	for range nodes {
		f.add()
	}
	return f
}

func emptyFleet(t *testing.T, p program, database PostgresConfig, settings ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, program: p, dir: t.TempDir(), key: fmt.Sprintf("%x", newSecret()), postgres: newPostgres(t, database)}
	f.settings = append([]string{
		fmt.Sprint("HEARTBEAT_INTERVAL=", fleetBeat), fmt.Sprint("HEARTBEAT_TIMEOUT=", fleetGrace),
		"LIMITS_REQUESTS_PER_SECOND=1000", "LIMITS_REQUESTS_BURST=1000", "PERSISTENCE_MIN_FREE_MIB=1",
		"DRAIN_TIMEOUT=5s", "DRAIN_SPREAD=1s", "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true",
	}, settings...)
	var names []string
	for i := range fleetMembers {
		names = append(names, fmt.Sprint("n", i+1))
	}
	if err := cluster.Certs(f.dir, names, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.end)
	return f
}

// add gives the fleet one more node.
func (f *fleet) add() *fleetNode {
	f.t.Helper()
	return f.addAt(places{
		client: f.freeAddr(), admin: f.freeAddr(), members: f.freeAddr(), remote: f.freeAddr(),
	})
}

func (f *fleet) addAt(s places, enter ...string) *fleetNode {
	f.t.Helper()
	if len(f.nodes) == fleetMembers {
		f.t.Fatalf("a fleet has at most %d nodes", fleetMembers)
	}
	n := &fleetNode{fleet: f, name: fmt.Sprint("n", len(f.nodes)+1), program: f.program, enter: enter, places: s}
	f.nodes = append(f.nodes, n)
	return n
}

func (f *fleet) freeAddr() string {
	f.t.Helper()
	for range 100 {
		port, err := freePort(localHost)
		if err != nil {
			f.t.Fatal(err)
		}
		if !slices.Contains(f.taken, port) {
			f.taken = append(f.taken, port)
			return net.JoinHostPort(localHost, strconv.Itoa(port))
		}
	}
	f.t.Fatal("no free port")
	return ""
}

// environment is the settings that the node runs with.
func (n *fleetNode) environment() []string {
	f := n.fleet
	host, _, _ := net.SplitHostPort(n.members)
	var seeds []string
	for _, other := range f.nodes {
		seeds = append(seeds, other.members)
	}
	env := []string{"HOME=" + f.dir, "PATH=" + os.Getenv("PATH")}
	for _, s := range append([]string{
		"NODE_NAME=" + n.name, "TRANSPORT_LISTEN=" + n.client, "TRANSPORT_ADVERTISE=" + n.client, "ADMIN_LISTEN=" + n.admin,
		"CLUSTER_ENABLED=true", "CLUSTER_BIND=" + n.members, "CLUSTER_REMOTE_BIND=" + n.remote, "CLUSTER_ADVERTISE=" + host,
		"CLUSTER_JOIN=" + strings.Join(seeds, ","), "CLUSTER_SECRET_KEY=" + f.key, "CLUSTER_TLS_CA=" + filepath.Join(f.dir, "ca.pem"),
		"CLUSTER_TLS_CERT=" + filepath.Join(f.dir, n.name+".pem"), "CLUSTER_TLS_KEY=" + filepath.Join(f.dir, n.name+"-key.pem"),
		"PERSISTENCE_ENGINE=postgres", "PERSISTENCE_DSN=" + f.postgres.DSN(), "PERSISTENCE_DIR=" + filepath.Join(f.dir, n.name),
	}, f.settings...) {
		if !strings.HasPrefix(s, "QUIC_GO_") {
			s = envPrefix + s
		}
		env = append(env, s)
	}
	return env
}

// launch starts the process and does not wait for it to serve.
func (n *fleetNode) launch() {
	n.fleet.t.Helper()
	var err error
	n.stopped = false
	n.process, err = startGuarded("KILL", func(shell *exec.Cmd) {
		shell.Dir, shell.Env, shell.Stderr = n.fleet.dir, n.environment(), &n.log
	}, append(slices.Clone(n.enter), string(n.program), "serve")...)
	if err != nil {
		n.fleet.t.Fatal(err)
	}
}

// await waits until the node serves.
func (n *fleetNode) await() {
	n.fleet.t.Helper()
	for deadline := time.Now().Add(fleetStart); ; time.Sleep(20 * time.Millisecond) {
		err := askReady(context.Background(), n.admin)
		if err == nil {
			return
		}
		if !n.runs() {
			n.fleet.t.Fatalf("%s ended while it started (%s)\n%s", n.name, n.process.how(), n.log.String())
		}
		if time.Now().After(deadline) {
			n.fleet.t.Fatalf("%s does not serve after %v: %v\n%s", n.name, fleetStart, err, n.log.String())
		}
	}
}

func (n *fleetNode) start() {
	n.fleet.t.Helper()
	n.launch()
	n.await()
}

// start starts all nodes and waits until they are one cluster.
func (f *fleet) start() {
	f.t.Helper()
	for _, n := range f.nodes {
		n.launch()
	}
	for _, n := range f.nodes {
		n.await()
	}
	f.whole(fleetStart)
}

func (n *fleetNode) runs() bool {
	if n.process == nil {
		return false
	}
	select {
	case <-n.process.gone:
		return false
	default:
		return true
	}
}

// kill is kill -9.
func (n *fleetNode) kill() {
	n.fleet.t.Helper()
	if !n.runs() {
		n.fleet.t.Errorf("%s was to be killed and has ended already (%s)\n%s", n.name, n.process.how(), n.log.String())
	}
	n.stopped = true
	n.process.signal(syscall.SIGKILL)
	<-n.process.gone
}

// stop is SIGTERM, and waits for the end.
func (n *fleetNode) stop() {
	n.fleet.t.Helper()
	ran := n.runs()
	n.stopped = true
	if err := n.process.end(syscall.SIGTERM, fleetEnd); err != nil || !ran || n.process.err != nil {
		n.fleet.t.Errorf("%s: stopped: %v, %s\n%s", n.name, err, n.process.how(), n.tail())
	}
}

// tail is the end of its log.
func (n *fleetNode) tail() string {
	s := n.log.String()
	return s[max(0, len(s)-4000):]
}

// end stops what runs and judges all logs.
func (f *fleet) end() {
	var ending sync.WaitGroup
	for _, n := range f.nodes {
		switch {
		case n.process == nil:
		case n.runs():
			n.process.signal(syscall.SIGCONT)
			ending.Go(n.stop)
		case !n.stopped:
			f.t.Errorf("%s has ended by itself (%s)\n%s", n.name, n.process.how(), n.tail())
		}
	}
	ending.Wait()
	for _, n := range f.nodes {
		log := n.log.String()
		for _, word := range []string{"DATA RACE", "panic:", "fatal error:", "broke down"} {
			if i := strings.Index(log, word); i >= 0 {
				f.t.Errorf("%s: %s", n.name, log[max(0, i-200):min(len(log), i+4000)])
			}
		}
		if f.t.Failed() {
			file := filepath.Join(os.TempDir(), fmt.Sprintf("carillon-%d-%s.log", os.Getpid(), n.name))
			f.t.Logf("%s wrote %s (%v)", n.name, file, os.WriteFile(file, []byte(log), 0o600))
		}
	}
}

// status asks a node how it sees the cluster.
func (n *fleetNode) status() (Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	answer, err := askStatus(ctx, n.admin)
	if err != nil {
		return Status{}, err
	}
	var s Status
	err = json.Unmarshal(answer, &s)
	return s, err
}

// whole waits until all nodes that run see each other, and nobody else, share all shards, and serve; it says how long it took.
func (f *fleet) whole(within time.Duration) time.Duration {
	f.t.Helper()
	began := time.Now()
	for {
		why := f.torn()
		if why == "" {
			return time.Since(began)
		}
		if time.Since(began) > within {
			f.t.Fatalf("the cluster is not whole after %v: %s", within, why)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// torn says why the cluster is not whole, empty when it is.
func (f *fleet) torn() string {
	var names []string
	for _, n := range f.nodes {
		if n.runs() {
			names = append(names, n.name)
		}
	}
	view := ""
	for _, n := range f.nodes {
		if !n.runs() {
			continue
		}
		s, err := n.status()
		if err != nil {
			return err.Error()
		}
		shards := 0
		var seen []string
		for _, m := range s.Members {
			shards += m.Shards
			seen = append(seen, m.Name)
			if m.State != "alive" {
				return fmt.Sprintf("%s says of %s: %s", n.name, m.Name, m.State)
			}
		}
		slices.Sort(seen)
		if !slices.Equal(seen, names) || shards != cluster.Shards || view != "" && view != s.View {
			return fmt.Sprintf("%s sees %v with %d shards in view %s, another one view %s; there are %v", n.name, seen, shards, s.View, view, names)
		}
		view = s.View
		if err := askReady(context.Background(), n.admin); err != nil {
			return fmt.Sprintf("%s: %v", n.name, err)
		}
	}
	return ""
}

// addresses are where clients connect, beginning with the i-th node's.
func (f *fleet) addresses(i int) []string {
	var out []string
	for k := range f.nodes {
		out = append(out, f.nodes[(i+k)%len(f.nodes)].client)
	}
	return out
}
