//go:build unix

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"carillon/transport/client"
)

// TestCluster is about clusters of the real program, with real faults. It is not parallel: it needs the processors for
// itself. CARILLON_CHAOS_ROUNDS makes it long (make chaos): so many rounds of each fault, with many more calls.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	p := build(t)
	for _, s := range []struct {
		name string
		play func(*testing.T, program)
	}{
		{"sequences on three nodes", sequencesAcross},
		{"a node is killed", nodeKilled},
		{"a node stands still", nodeStandsStill},
		{"a node is cut off", nodeCutOff},
		{"nodes are updated one by one", rollingRestart},
		{"PostgreSQL is restarted and killed", postgresRestarted},
		{"a node is added", nodeAdded},
		{"two builds in one cluster", twoBuilds},
		{"carillon cluster", clusterOnThisMachine},
	} {
		t.Run(s.name, func(t *testing.T) { s.play(t, p) })
	}
}

// scale is how much of everything a run has.
type scale struct {
	rounds  int
	size    int
	ringing int           // calls at the moment of a kill
	least   int           // seconds that they ring, at least
	most    int           // and at most
	cut     time.Duration // of a partition
}

func scaleOf(t *testing.T) scale {
	t.Helper()
	s := os.Getenv("CARILLON_CHAOS_ROUNDS")
	if s == "" {
		return scale{rounds: 1, size: 24, ringing: 150, least: 1, most: 8, cut: 5 * time.Second}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("CARILLON_CHAOS_ROUNDS=%q is not a number above 0", s)
	}
	return scale{rounds: n, size: 90, ringing: 1000, least: 2, most: 15, cut: 10 * time.Second}
}

// trial is one crowd that lives through one fault.
type trial struct {
	*fleet
	*crowd
	scale
	round int
}

// trials runs a cluster of so many nodes through rounds of a fault, each with people of its own who play meanwhile, and
// judges what they saw.
func trials(t *testing.T, p program, nodes int, fault func(*trial)) {
	t.Helper()
	f := newFleet(t, p, nodes)
	f.start()
	runTrials(t, f, fault)
}

func runTrials(t *testing.T, f *fleet, fault func(*trial)) {
	t.Helper()
	s, seed := scaleOf(t), rand.Uint64()
	t.Logf("seed %d", seed)
	var worst time.Duration
	for round := range s.rounds {
		k := newCrowd(t, f, fmt.Sprintf("r%d-", round), s.size, seed+uint64(round))
		fault(&trial{fleet: f, crowd: k, scale: s, round: round})
		k.settle()
		v := k.judge()
		worst = max(worst, v.worst)
		if v.deeds < s.size || len(v.calls) < s.size {
			t.Errorf("too quiet to show anything: %d operations on %d calls", v.deeds, len(v.calls))
		}
		k.leave()
		if t.Failed() {
			return
		}
	}
	t.Logf("the latest deadline of %d rounds was heard %v late", s.rounds, worst.Round(time.Millisecond))
}

// nodeKilled: kill -9, while very many calls ring.
func nodeKilled(t *testing.T, p program) {
	trials(t, p, 3, func(f *trial) {
		f.ring(f.ringing, f.least, f.most)
		victim, from := f.nodes[f.round%len(f.nodes)], time.Now()
		victim.kill()
		f.begin()
		time.Sleep(takeOver)
		f.faults = append(f.faults, span{from, time.Now()})
		time.Sleep(2 * time.Second)
		victim.start()
		f.healed(time.Now())
	})
}

const (
	clock    = "05.000"         // seconds
	healing  = 15 * time.Second // until a cluster is whole again after a fault
	takeOver = 3 * time.Second  // until others have taken over from a dead node: memberlist's detection, and some
)

// healed waits until the cluster is whole again after a fault and notes it.
func (f *trial) healed(from time.Time) {
	f.fleet.t.Helper()
	f.whole(healing)
	f.faults = append(f.faults, span{from, time.Now()})
	time.Sleep(time.Second)
}

// nodeStandsStill: SIGSTOP for longer than the others wait before they think it dead.
func nodeStandsStill(t *testing.T, p program) {
	trials(t, p, 3, func(f *trial) {
		f.begin()
		time.Sleep(time.Second)
		victim, from := f.nodes[f.round%len(f.nodes)], time.Now()
		victim.process.signal(syscall.SIGSTOP)
		time.Sleep(6 * time.Second)
		victim.process.signal(syscall.SIGCONT)
		f.healed(from)
	})
}

// postgresRestarted: nothing can be saved for a while.
func postgresRestarted(t *testing.T, p program) {
	trials(t, p, 3, func(f *trial) {
		f.begin()
		for _, down := range []func() error{f.postgres.Stop, f.postgres.Kill} {
			time.Sleep(time.Second)
			from := time.Now()
			err := down()
			time.Sleep(time.Second)
			if err = errors.Join(err, f.postgres.Restart()); err != nil {
				f.fleet.t.Fatal(err)
			}
			f.outages = append(f.outages, span{from, time.Now()})
			time.Sleep(2 * time.Second)
		}
	})
}

// nodeAdded: a newcomer takes its share.
func nodeAdded(t *testing.T, p program) {
	f := newFleet(t, p, 2)
	f.start()
	runTrials(t, f, func(f *trial) {
		f.begin()
		time.Sleep(time.Second)
		if len(f.nodes) == fleetMembers { // it makes room for the next one
			f.nodes[fleetMembers-1].stop()
			f.nodes[fleetMembers-1].start()
		} else {
			f.add().start()
		}
		f.whole(healing)
		time.Sleep(2 * time.Second)
	})
}

// rollingRestart: an update, node by node, of which nobody notices more than a second try.
func rollingRestart(t *testing.T, p program) {
	trials(t, p, 3, func(f *trial) {
		for _, p := range f.people {
			p.patient = true
		}
		f.begin()
		for _, n := range f.nodes {
			time.Sleep(500 * time.Millisecond)
			stopped := time.Now()
			n.stop()
			gone := time.Now()
			n.start()
			f.whole(healing)
			f.fleet.t.Logf("%s stopped from %v to %v, was back at %v", n.name, stopped.Format(clock), gone.Format(clock), time.Now().Format(clock))
		}
		f.stop()
		for _, p := range f.people {
			for _, a := range p.acts {
				if !a.known || a.code == client.TooFrequent || a.tries > 2 {
					f.fleet.t.Errorf("%s: %s on call %v of %v was answered %v (%d) after %d tries and %v; connections: %q",
						p.name, a.op, a.call, a.began.Format(clock), a.known, a.code, a.tries, a.ended.Sub(a.began), p.connections())
				}
			}
		}
	})
}
