//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// spread is a fleet as a venue: each user connects to another node, wherever his session lives.
type spread struct {
	*fleet
	beats HeartbeatConfig
}

func (s spread) address(user string) string { return s.nodes[int(user[0]-'a')%len(s.nodes)].client }
func (s spread) heartbeat() HeartbeatConfig { return s.beats }

// sequencesAcross: every row of SEQUENCES.md holds when all users sit on different nodes.
func sequencesAcross(t *testing.T, p program) {
	beats := HeartbeatConfig{Interval: 500 * time.Millisecond, Timeout: 5 * time.Second}
	f := newFleet(t, p, 3, "CALL_NOT_RECEIVED_AFTER=1s",
		fmt.Sprint("HEARTBEAT_INTERVAL=", beats.Interval), fmt.Sprint("HEARTBEAT_TIMEOUT=", beats.Timeout))
	f.start()
	on := spread{f, beats}
	playRows(t, on, on)
}

// twoBuilds: an older and a newer build work together; what the older does not know it counts, and goes on.
func twoBuilds(t *testing.T, p program) {
	f := newFleet(t, p, 2)
	f.nodes[1].program = build(t, "-tags", "carillon_next")
	f.start()
	runTrials(t, f, func(f *trial) {
		f.begin()
		time.Sleep(3 * time.Second)
	})
	if n := f.nodes[0].metric("carillon_cluster_messages_unknown_total"); n == 0 {
		t.Error("the older node has met no message that it does not know")
	}
}

// metric is the sum of a metric over its labels.
func (n *fleetNode) metric(name string) float64 {
	n.fleet.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := c.Get("http://" + n.admin + "/metrics")
	if err != nil {
		n.fleet.t.Fatal(err)
	}
	defer r.Body.Close()
	sum, found := 0.0, false
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			n.fleet.t.Fatal(err)
		}
		sum, found = sum+v, true
	}
	if !found {
		n.fleet.t.Errorf("%s has no metric %s", n.name, name)
	}
	return sum
}

// clusterOnThisMachine is the command cluster: it serves, starts again what is killed, and leaves nothing behind.
func clusterOnThisMachine(t *testing.T, p program) {
	if err := postgresHere(); err != nil {
		t.Skip(err)
	}
	o := clusterOptions{nodes: 3, dir: filepath.Join(openDir(t), "c"), basePort: 20_001}
	for o.portsFree() != nil {
		if o.basePort += 101; o.basePort > 30_000 {
			t.Fatal("no free ports")
		}
	}
	cmd := exec.Command(string(p), "cluster", "--dir", o.dir, "--base-port", strconv.Itoa(o.basePort))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := newListener(out)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		said.drain()
		_ = cmd.Wait() // killed, or gone before
	})
	pid := said.number(t, regexp.MustCompile(`^  n2 .* process (\d+)`))
	ring := o.addr(0)
	f := &fleet{t: t, nodes: []*fleetNode{{places: places{client: ring}}, {places: places{client: o.addr(1)}}}}
	k := newCrowd(t, f, "u", 4, 1)
	k.ring(4, 1, 2)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := said.number(t, regexp.MustCompile(`^n2 is started again: process (\d+)`))
	k.settle()
	k.leave()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	said.number(t, regexp.MustCompile(`^Stopped; (nothing) was lost`))
	said.drain()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(again, 0); err == nil {
		t.Errorf("process %d is left", again)
	}
	if err := o.portsFree(); err != nil {
		t.Errorf("something is left: %v", err)
	}
}

// listener reads what a program says.
type listener struct{ lines chan string }

func newListener(out io.Reader) *listener {
	l := &listener{lines: make(chan string, 1024)}
	go func() {
		defer close(l.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			l.lines <- s.Text()
		}
	}()
	return l
}

// number waits for a line like that and gives the number in it, 0 where there is a word.
func (l *listener) number(t *testing.T, like *regexp.Regexp) int {
	t.Helper()
	late := time.After(2 * patience)
	var heard []string
	for {
		select {
		case line, ok := <-l.lines:
			if heard = append(heard, line); !ok {
				t.Fatalf("it ended without a line like %v:\n%s", like, strings.Join(heard, "\n"))
			}
			if m := like.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[1])
				return n
			}
		case <-late:
			t.Fatalf("no line like %v:\n%s", like, strings.Join(heard, "\n"))
		}
	}
}

func (l *listener) drain() {
	for range l.lines {
		continue
	}
}
