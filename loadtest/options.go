package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const maxSockets = 64

// options are the command line of a run.
type options struct {
	scenario   scenario
	addrs      []string
	spawn      int
	binary     string
	dsn        string
	postgres   bool // a PostgreSQL of our own for the servers, though there is only one
	dataDir    string
	serverCPUs string
	loadCPUs   string
	pids       []int
	settings   []string
	sockets    int
	seed       uint64
	out        string
	quiet      bool
	remote
}

// flagged is the command line before it is read.
type flagged struct {
	options
	set             *flag.FlagSet
	name            string
	users           int
	rate            float64
	duration        time.Duration
	warmup          time.Duration
	kill            time.Duration
	addr, pid, conf string
	remoteFlags
}

func parseOptions(args []string, usage io.Writer) (options, error) {
	f := &flagged{set: flag.NewFlagSet("loadtest", flag.ContinueOnError)}
	f.set.SetOutput(usage)
	f.set.Usage = func() {
		fmt.Fprintf(usage, "usage: loadtest [flags]         scenarios: %s\n       loadtest bench           the figures that count, with their targets\n       loadtest compare A B     two runs: their names, or their .json files\n       loadtest merge A B...    one report of runs at the same time\n       loadtest page A          write a run's page again\n\n",
			strings.Join(shippedNames(), ", "))
		f.set.PrintDefaults()
	}
	f.declare()
	f.declareRemote()
	if err := f.set.Parse(args); err != nil {
		return options{}, err
	}
	if f.set.NArg() > 0 {
		return options{}, fmt.Errorf("%q is no flag", f.set.Arg(0))
	}
	if f.worker != "" {
		return f.completeWorker()
	}
	return f.complete()
}

func (f *flagged) declare() {
	s := f.set
	s.StringVar(&f.name, "scenario", "setup", "name of a shipped scenario, or a .yaml `file`")
	s.IntVar(&f.users, "users", 0, "users, instead of the scenario's")
	s.Float64Var(&f.rate, "rate", 0, "calls per second, instead of the scenario's")
	s.DurationVar(&f.duration, "duration", 0, "time that is measured, instead of the scenario's")
	s.DurationVar(&f.warmup, "warmup", 0, "time at half the rate before that, instead of the scenario's")
	s.DurationVar(&f.kill, "kill", 0, "kill -9 the second server so long after measuring has begun, besides the scenario's faults")
	s.StringVar(&f.addr, "addr", "", "servers that run already: `host:port,...`; off loopback with -ca or -insecure")
	s.IntVar(&f.spawn, "spawn", 0, "start so many servers: one on its own store, more as a cluster, with a PostgreSQL of their own unless -dsn names one")
	s.StringVar(&f.binary, "binary", "", "the servers' program, such as bin/carillon; default: built from the source")
	s.StringVar(&f.dsn, "dsn", "", "PostgreSQL for the servers that -spawn starts")
	s.BoolVar(&f.postgres, "postgres", false, "a PostgreSQL of its own for one server too")
	s.StringVar(&f.dataDir, "data", "", "directory for their data, which is removed at the end; default: the system's for temporary files")
	s.StringVar(&f.serverCPUs, "server-cpus", "", "`processors` of those servers, such as 0 or 0-1,3 (with taskset)")
	s.StringVar(&f.loadCPUs, "load-cpus", "", "`processors` of this program")
	s.StringVar(&f.pid, "pids", "", "further `processes` whose CPU and memory count as the servers', with their children: PostgreSQL's main process, servers of -addr")
	s.StringVar(&f.conf, "set", "", "settings of the servers that -spawn starts: `CARILLON_KEY=value,...`")
	s.IntVar(&f.sockets, "sockets", 4, "UDP sockets")
	s.Uint64Var(&f.seed, "seed", 1, "of who calls whom, and how")
	s.BoolVar(&f.quiet, "quiet", false, "do not show how the run goes on")
	s.StringVar(&f.out, "out", "data/loadtest", "directory for the reports")
}

// complete reads what the flags name, and checks it all.
func (f *flagged) complete() (o options, err error) {
	if f.scenario, err = loadScenario(f.name); err != nil {
		return o, err
	}
	sc := &f.scenario
	f.set.Visit(func(one *flag.Flag) {
		switch one.Name {
		case "users":
			sc.Users = f.users
		case "rate":
			sc.Rate = f.rate
		case "duration":
			sc.Duration = f.duration
		case "warmup":
			sc.Warmup = f.warmup
		}
	})
	if f.kill > 0 {
		sc.Faults = append(sc.Faults, fault{At: f.kill, Do: killFault, Node: 2})
	}
	sc.Lenient = sc.Lenient || len(sc.Faults) > 0 || f.spawn > 1
	if err = sc.check(); err != nil {
		return o, fmt.Errorf("scenario %s: %w", f.name, err)
	}
	if f.addr != "" {
		f.addrs = strings.Split(f.addr, ",")
	}
	for _, a := range f.addrs {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return o, fmt.Errorf("-addr %s: is not host:port", a)
		}
	}
	if f.pid != "" {
		for p := range strings.SplitSeq(f.pid, ",") {
			n, err := strconv.Atoi(p)
			if err != nil || n < 1 {
				return o, fmt.Errorf("-pids %s: is not a list of process numbers", f.pid)
			}
			f.pids = append(f.pids, n)
		}
	}
	if f.conf != "" {
		f.settings = strings.Split(f.conf, ",")
	}
	if err := f.completeRemote(); err != nil {
		return o, err
	}
	return f.options, f.check()
}

func (o *options) check() error {
	for _, s := range o.settings {
		if !strings.HasPrefix(s, "CARILLON_") || !strings.Contains(s, "=") {
			return fmt.Errorf("-set %s: is not CARILLON_KEY=value", s)
		}
	}
	for name, list := range map[string]string{"-server-cpus": o.serverCPUs, "-load-cpus": o.loadCPUs} {
		if list != "" && cpuNumbers(list) == nil {
			return fmt.Errorf("%s %s: is not a list of processors such as 0,2-3", name, list)
		}
	}
	if err := o.scenario.fits(o.spawn); err != nil {
		return fmt.Errorf("scenario %s: %w", o.scenario.Name, err)
	}
	switch {
	case o.spawn < 0 || o.spawn > maxSpawn:
		return fmt.Errorf("-spawn: %d is not within 0..%d", o.spawn, maxSpawn)
	case (o.spawn > 0) == (len(o.addrs) > 0):
		return errors.New("what is to be attacked? either -spawn or -addr")
	case o.postgres && o.dsn != "":
		return errors.New("-postgres and -dsn: which of the two?")
	case o.spawn == 0 && (o.postgres || o.dsn != "" || o.binary != "" || o.serverCPUs != "" || len(o.settings) > 0):
		return errors.New("-dsn, -postgres, -binary, -set and -server-cpus are for servers that -spawn starts")
	case len(o.workers) > 0 && (o.scenario.Overload > 0 || o.scenario.Hostile > 0):
		return errors.New("-workers: a scenario with overload or hostile is for one process, which finds out what the servers can do")
	case o.sockets < 1 || o.sockets > maxSockets:
		return fmt.Errorf("-sockets: %d is not within 1..%d", o.sockets, maxSockets)
	}
	return nil
}
