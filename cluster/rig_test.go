package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// rig is a set of nodes in processes of their own, on loopback.
type rig struct {
	t        *testing.T
	dir      string
	tls      bool
	calm     bool // of nodes that are started from now on
	nodes    map[string]*node
	ports    []int
	settings map[string]setting
}

// node is one process.
type node struct {
	t       *testing.T
	setting setting
	cmd     *exec.Cmd
	in      io.WriteCloser
	stderr  bytes.Buffer

	mu      sync.Mutex
	news    *sync.Cond
	version uint64
	members []string
	anew    bool // it had no members once, after it had some
	done    []report
	exited  bool
}

func newRig(t *testing.T, names ...string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), nodes: make(map[string]*node), settings: make(map[string]setting)}
	if err := Certs(r.dir, names, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range r.nodes {
			if n.cmd != nil && !n.hasExited() {
				n.kill()
			}
		}
	})
	return r
}

// freePort finds a port that is free for TCP and UDP, below those that the system gives to clients.
func (r *rig) freePort() int {
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", addr)
		tcp.Close()
		if err != nil {
			continue
		}
		udp.Close()
		if !slices.Contains(r.ports, port) {
			r.ports = append(r.ports, port)
			return port
		}
	}
	r.t.Fatal("no free port")
	return 0
}

// setting gives a node its addresses and files, for all its lives.
func (r *rig) setting(name string) setting {
	s, ok := r.settings[name]
	if ok {
		return s
	}
	s = setting{
		Name: name, Bind: fmt.Sprintf("127.0.0.1:%d", r.freePort()), Remote: fmt.Sprintf("127.0.0.1:%d", r.freePort()),
		Log: filepath.Join(r.dir, name+".log"), Key: bytes.Repeat([]byte{7}, 32), Verbose: os.Getenv("CARILLON_CLUSTER_VERBOSE") != "",
	}
	if r.tls {
		s.TLS = TLSFiles{
			CA: filepath.Join(r.dir, "ca.pem"), Cert: filepath.Join(r.dir, name+".pem"), Key: filepath.Join(r.dir, name+"-key.pem"),
		}
	}
	r.settings[name] = s
	return s
}

func (n *node) addrs() []string { return []string{n.setting.Bind, n.setting.Remote} }

// start starts a node, on the addresses that it had before if it had any.
func (r *rig) start(name string, join ...string) *node {
	r.t.Helper()
	n := &node{t: r.t, setting: r.setting(name)}
	n.setting.Calm = r.calm
	n.news = sync.NewCond(&n.mu)
	for _, other := range join {
		n.setting.Join = append(n.setting.Join, r.setting(other).Bind)
	}
	encoded, err := json.Marshal(n.setting)
	if err != nil {
		r.t.Fatal(err)
	}
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), settingVariable+"="+string(encoded))
	n.cmd.Stderr = &n.stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.nodes[name] = n
	go n.listen(out)
	return n
}

// listen takes reports until the process ends.
func (n *node) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue
		}
		n.mu.Lock()
		if r.Event == "view" {
			n.version, n.members = r.Version, r.Members
			n.anew = n.anew || len(r.Members) == 0
		} else {
			n.done = append(n.done, r)
		}
		n.news.Broadcast()
		n.mu.Unlock()
	}
	_ = n.cmd.Wait()
	n.mu.Lock()
	n.exited = true
	n.news.Broadcast()
	n.mu.Unlock()
}

// until waits for a condition on what the node has reported.
func (n *node) until(what string, ok func() bool) {
	n.t.Helper()
	late := time.AfterFunc(patience, n.news.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(patience)
	n.mu.Lock()
	defer n.mu.Unlock()
	for !ok() {
		if !time.Now().Before(deadline) {
			n.t.Fatalf("%s: not in %v: %s (version %x, members %v, exited %v)\n%s",
				n.setting.Name, patience, what, n.version, n.members, n.exited, n.stderr.String())
		}
		n.news.Wait()
	}
}

// tell gives an order and waits for its end.
func (n *node) tell(o order) report {
	n.t.Helper()
	n.mu.Lock()
	before := len(n.done)
	n.mu.Unlock()
	b, _ := json.Marshal(o)
	if _, err := n.in.Write(append(b, '\n')); err != nil {
		n.t.Fatalf("%s: %s: %v\n%s", n.setting.Name, o.Do, err, n.stderr.String())
	}
	var r report
	n.until(o.Do, func() bool {
		if len(n.done) > before {
			r = n.done[before]
		}
		return r.Event != "" || n.exited
	})
	if r.Event != "done" {
		n.t.Fatalf("%s: %s: %+v\n%s", n.setting.Name, o.Do, r, n.stderr.String())
	}
	return r
}

// kill is kill -9.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	n.until("to end", func() bool { return n.exited })
}

func (n *node) hasExited() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.exited
}

// close ends the node in order, and fails the test where it raced, leaked or panicked.
func (n *node) close() map[string]int64 {
	n.t.Helper()
	stats := n.tell(order{Do: "close"}).Stats
	n.until("to end", func() bool { return n.exited })
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		n.t.Errorf("%s: exit code %d\n%s", n.setting.Name, code, n.stderr.String())
	}
	if strings.Contains(n.stderr.String(), "DATA RACE") {
		n.t.Errorf("%s\n%s", n.setting.Name, n.stderr.String())
	}
	return stats
}

// agree waits until these nodes have the same view, in which exactly they are.
func (r *rig) agree(names ...string) {
	r.t.Helper()
	slices.Sort(names)
	version := newView("", membersOf(names...)).Version
	for _, name := range names {
		n := r.nodes[name]
		n.until(fmt.Sprintf("a view of %v", names), func() bool {
			return n.version == version && slices.Equal(n.members, names) || n.exited
		})
		if n.hasExited() {
			r.t.Fatalf("%s has ended\n%s", name, n.stderr.String())
		}
	}
}

func (r *rig) each(o order) {
	r.t.Helper()
	for _, n := range r.nodes {
		if !n.hasExited() {
			n.tell(o)
		}
	}
}

// end stops all load and waits until what was sent has arrived.
func (r *rig) end() {
	r.t.Helper()
	for _, what := range []string{"quiet", "flush", "flush"} {
		r.each(order{Do: what})
	}
}

// closeAll closes all that still run and adds their counts.
func (r *rig) closeAll() map[string]int64 {
	r.t.Helper()
	sum := make(map[string]int64)
	for _, n := range r.nodes {
		if !n.hasExited() {
			for what, count := range n.close() {
				sum[what] += count
			}
		}
	}
	return sum
}

// membersOf makes members of names.
func membersOf(names ...string) []Member {
	var members []Member
	for _, name := range names {
		members = append(members, Member{Name: name, RemoteAddr: name + ":1"})
	}
	return members
}

// span is a stretch of time, in which a test allows what it does not allow otherwise.
type span struct{ from, to int64 }

func (s span) has(t int64) bool { return t >= s.from && t <= s.to }

// history is what all nodes noted.
type history struct {
	sent    map[string]entry
	refused map[string]bool
	got     map[string][]entry
	lives   map[uint16][]life
}

type entry struct {
	at    int64
	shard uint16
	node  string
}

// life is one activation of a shard.
type life struct {
	node string
	span
}

// read gathers the logs. Activations of a killed node end with it.
func (r *rig) read() history {
	r.t.Helper()
	h := history{sent: map[string]entry{}, refused: map[string]bool{}, got: map[string][]entry{}, lives: map[uint16][]life{}}
	for name, n := range r.nodes {
		b, err := os.ReadFile(n.setting.Log)
		if err != nil {
			r.t.Fatal(err)
		}
		open := map[uint16]int64{}
		last := int64(0)
		for line := range strings.Lines(string(b)) {
			var what byte
			var e entry
			var id string
			if _, err := fmt.Sscanf(line, "%c %d %d %s %s", &what, &e.at, &e.shard, &e.node, &id); err != nil {
				continue // cut off by a kill
			}
			if what == 'b' { // a new process: the one before has ended
				for shard, from := range open {
					h.lives[shard] = append(h.lives[shard], life{name, span{from, last}})
				}
				clear(open)
			}
			last = max(last, e.at)
			switch what {
			case 's':
				h.sent[id] = e
			case 'e':
				h.refused[id] = true
			case 'd':
				h.got[id] = append(h.got[id], e)
			case 'a':
				open[e.shard] = e.at
			case 'z':
				h.lives[e.shard] = append(h.lives[e.shard], life{name, span{open[e.shard], e.at}})
				delete(open, e.shard)
			}
		}
		for shard, from := range open {
			h.lives[shard] = append(h.lives[shard], life{name, span{from, last}})
		}
	}
	return h
}

// check holds a history to what is promised, leaving out what was sent, or alive, within a fault.
func (r *rig) check(h history, faults ...span) {
	r.t.Helper()
	within := func(t int64) bool { return slices.ContainsFunc(faults, func(s span) bool { return s.has(t) }) }
	lost, twice, both := 0, 0, 0
	for id, e := range h.sent {
		switch n := len(h.got[id]); {
		case n > 1:
			twice++
			r.t.Errorf("message %s to shard %d arrived %d times: %v", id, e.shard, n, h.got[id])
		case n == 0 && !h.refused[id] && !within(e.at):
			if lost++; lost < 10 {
				r.t.Errorf("message %s to shard %d, sent at %d, did not arrive", id, e.shard, e.at)
			}
		case h.refused[id] && !within(e.at):
			r.t.Errorf("message %s to shard %d was refused", id, e.shard)
		}
	}
	for shard, lives := range h.lives {
		slices.SortFunc(lives, func(a, b life) int { return int(a.from - b.from) })
		for i := 1; i < len(lives); i++ {
			a, b := lives[i-1], lives[i]
			if a.node != b.node && b.from < a.to && !within(b.from) && both < 10 {
				both++
				r.t.Errorf("shard %d was in use on %s until %d and on %s from %d", shard, a.node, a.to, b.node, b.from)
			}
		}
	}
	r.t.Logf("%d messages sent, %d lost, %d twice; %d shards in use", len(h.sent), lost, twice, len(h.lives))
	if len(h.sent) < 100 {
		r.t.Errorf("only %d messages were sent", len(h.sent))
	}
}
