//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkCluster prints what a call set-up costs on one node and on three, on the same store, a PostgreSQL of its own
// (synced), whose processor time counts too. Everything runs on the first processor; users are spread over the nodes and
// follow the first redirect, as the SDK does.
func BenchmarkCluster(b *testing.B) {
	const rate = 400
	for _, nodes := range []int{1, 3} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			for b.Loop() {
				f := startBenchFleet(b, nodes)
				load := newLoadOn(b, f.addrs(), benchUsers)
				load.offer(rate/2, 2*time.Second) // warm
				time.Sleep(2 * benchRing)
				load.reset()
				servers, database, began := f.cpu(), f.databaseCPU(), time.Now()
				load.offer(rate, 10*time.Second)
				took := time.Since(began)
				servers, database = f.cpu()-servers, f.databaseCPU()-database
				done := float64(load.answered.Load())
				b.ReportMetric(done/took.Seconds(), "setups/s")
				b.ReportMetric(float64(load.asked)-done, "failed")
				b.ReportMetric((servers+database).Seconds()/done*1000, "cpu-s/1000")
				b.ReportMetric(servers.Seconds()/done*1000, "nodes-cpu-s/1000")
				b.ReportMetric(load.ring(0.5), "ring-p50-ms")
				b.ReportMetric(load.ring(0.99), "ring-p99-ms")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// benchFleet is nodes on one database.
type benchFleet struct {
	nodes    []*benchServer
	postgres *Postgres
}

func startBenchFleet(b *testing.B, nodes int) *benchFleet {
	b.Helper()
	dir := b.TempDir()
	binary := benchBinary(b, dir)
	f := &benchFleet{postgres: newPostgres(b, PostgresConfig{})}
	if taskset, err := exec.LookPath("taskset"); err == nil { // its children inherit it
		if out, err := exec.Command(taskset, "-acp", "0", strconv.Itoa(f.postgres.process.pid)).CombinedOutput(); err != nil {
			b.Logf("PostgreSQL is not pinned: %v: %s", err, out)
		}
	}
	ports := make([]string, 3*nodes)
	for i := range ports {
		ports[i] = freeUDP(b)
	}
	var admins []string
	for i := range nodes {
		_, client, _ := net.SplitHostPort(ports[i])
		admins = append(admins, net.JoinHostPort("127.0.0.1", client)) // UDP and TCP of one number are two ports
		f.nodes = append(f.nodes, startServer(b, binary, ports[i], filepath.Join(dir, fmt.Sprint("n", i)),
			"CARILLON_NODE_NAME=n"+strconv.Itoa(i), "CARILLON_ADMIN_LISTEN="+admins[i], "CARILLON_CLUSTER_ENABLED=true",
			"CARILLON_CLUSTER_BIND="+ports[nodes+i], "CARILLON_CLUSTER_REMOTE_BIND="+ports[2*nodes+i],
			"CARILLON_CLUSTER_JOIN="+strings.Join(ports[nodes:2*nodes], ","),
			"CARILLON_PERSISTENCE_ENGINE=postgres", "CARILLON_PERSISTENCE_DSN="+f.postgres.DSN(),
		))
	}
	for _, admin := range admins {
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			err := askReady(context.Background(), admin)
			if err == nil {
				break
			}
			if time.Now().After(end) {
				b.Fatalf("%s: %v", admin, err)
			}
		}
	}
	return f
}

func (f *benchFleet) addrs() []string {
	var out []string
	for _, n := range f.nodes {
		out = append(out, n.addr)
	}
	return out
}

func (f *benchFleet) cpu() time.Duration {
	var sum time.Duration
	for _, n := range f.nodes {
		sum += n.cpu()
	}
	return sum
}

// databaseCPU is what PostgreSQL's processes have used.
func (f *benchFleet) databaseCPU() time.Duration {
	sum := cpuOf(f.postgres.process.pid)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", f.postgres.process.pid))
	if err != nil {
		return sum
	}
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			sum += cpuOf(pid)
		}
	}
	return sum
}
