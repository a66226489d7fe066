//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Times of a local cluster.
const (
	restartAfter   = 3 * time.Second
	readyPatience  = 30 * time.Second // for all nodes
	readyInterval  = 200 * time.Millisecond
	readyTimeout   = time.Second      // of one question
	serverPatience = 30 * time.Second // for a node's drain
)

var nodeStyles = []style{"36", "32", "35", "33", "34", "31", "96", "92", "95"}

// localCluster is nodes and a PostgreSQL in processes of their own, started again when they die.
type localCluster struct {
	clusterOptions
	program  []string // that runs a node, with its settings in the environment
	key      string
	lines    *lines
	postgres *Postgres

	mu   sync.Mutex
	pids []int // of the nodes
}

// newLocalCluster checks that all ports are free, makes what is missing in the directory, and starts PostgreSQL.
func newLocalCluster(o clusterOptions, program []string, out *lines) (*localCluster, error) {
	if err := o.portsFree(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	o.dir = dir
	key, err := o.prepare()
	if err != nil {
		return nil, err
	}
	c := &localCluster{clusterOptions: o, program: program, key: key, lines: out, pids: make([]int, o.nodes)}
	c.postgres, err = StartPostgres(PostgresConfig{Dir: filepath.Join(dir, "postgres"), Port: o.basePort + postgresOffset})
	return c, err
}

// run keeps everything running until ctx is done, and stops it: nodes first, then PostgreSQL.
func (c *localCluster) run(ctx context.Context) error {
	c.lines.say("PostgreSQL runs on %s; starting %d nodes ...", c.postgres.Addr(), c.nodes)
	base, stopBase := context.WithCancel(context.Background())
	var nodes, database sync.WaitGroup
	var stopped error
	database.Go(func() { stopped = c.keepPostgres(base) })
	for i := range c.nodes {
		nodes.Go(func() { c.keepNode(ctx, i) })
	}
	if c.ready(ctx) {
		c.greet()
	}
	nodes.Wait()
	stopBase()
	database.Wait()
	if stopped == nil {
		c.lines.say("Stopped; nothing was lost.")
	}
	return stopped
}

// keepPostgres restarts PostgreSQL whenever it dies, and stops it at the end.
func (c *localCluster) keepPostgres(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-c.postgres.process.gone:
		}
		c.lines.say("PostgreSQL has died (%s); it is started again in %v.", c.postgres.process.how(), restartAfter)
		if pause(ctx, restartAfter) == nil {
			c.revivePostgres()
		}
	}
	return c.postgres.Stop()
}

func (c *localCluster) revivePostgres() {
	if err := c.postgres.Restart(); err != nil {
		c.lines.say("%v", err)
		return
	}
	c.lines.say("PostgreSQL is back: process %d.", c.postgres.process.pid)
}

// keepNode starts a node whenever there is none, and drains it at the end.
func (c *localCluster) keepNode(ctx context.Context, i int) {
	name, out := c.names()[i], c.lines.named(c.names()[i], nodeStyles[i])
	for life := 1; ; life++ {
		g, err := startGuarded("KILL", func(shell *exec.Cmd) {
			shell.Env = append(os.Environ(), c.environment(i, c.key, c.postgres.DSN())...)
			shell.Stderr = out
		}, c.program...)
		if err != nil {
			c.lines.say("%s: %v; it is tried again in %v.", name, err, restartAfter)
			if pause(ctx, restartAfter) != nil {
				return
			}
			continue
		}
		c.mu.Lock()
		c.pids[i] = g.pid
		c.mu.Unlock()
		if life > 1 {
			c.lines.say("%s is started again: process %d.", name, g.pid)
		}
		select {
		case <-ctx.Done():
			if err := g.end(syscall.SIGTERM, serverPatience); err != nil {
				c.lines.say("%s: %v", name, err)
			}
			return
		case <-g.gone:
		}
		c.lines.say("%s, process %d, has died (%s); it is started again in %v.", name, g.pid, g.how(), restartAfter)
		if pause(ctx, restartAfter) != nil {
			return
		}
	}
}

// ready waits until every node serves, and reports whether there is anything to say now.
func (c *localCluster) ready(ctx context.Context) bool {
	limit, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for i, name := range c.names() {
		for {
			err := askReady(limit, c.addr(adminOffset+i))
			if err == nil {
				break
			}
			if pause(limit, readyInterval) == nil {
				continue
			}
			if ctx.Err() == nil {
				c.lines.say("%s does not serve yet: %v", name, err)
			}
			return false
		}
	}
	return true
}

// askReady asks a node's operator port whether it serves.
func askReady(ctx context.Context, admin string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	r, err := client.Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return nil
}

// greet says what runs where, and what to try.
func (c *localCluster) greet() {
	c.mu.Lock()
	pids := append([]int(nil), c.pids...)
	c.mu.Unlock()
	text := fmt.Sprintf("\nA cluster is up; it is kept in %s.\n", c.dir)
	for i, name := range c.names() {
		text += fmt.Sprintf("  %-12s clients %s (QUIC over UDP)   operator http://%s/readyz   process %d\n",
			name, c.addr(i), c.addr(adminOffset+i), pids[i])
	}
	text += fmt.Sprintf("  %-12s %s\n", "PostgreSQL", c.postgres.Addr())
	self, other := c.program[0], 1%c.nodes
	text += fmt.Sprintf("Ring somebody, in two more terminals (a phone goes to the node where its user belongs):\n  %s phone --user alice --addr %s\n  %s phone --user bob --addr %s\n",
		self, c.phoneAddr(0), self, c.phoneAddr(other))
	text += fmt.Sprintf("See who is there:  %s status --admin %s\n", self, c.addr(adminOffset))
	text += fmt.Sprintf("While it rings, kill the node that a phone names (it is started again after %v):  kill -9 and its process\n", restartAfter)
	c.lines.say("%sControl-C stops everything.\n", text)
}

// phoneAddr is the addresses for a phone whose first node is the i-th one, and which has another one to go to.
func (c *localCluster) phoneAddr(i int) string {
	if c.nodes == 1 {
		return c.addr(i)
	}
	return c.addr(i) + "," + c.addr((i+1)%c.nodes)
}
