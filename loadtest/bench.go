package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// benchmark measures the figures of a server, in parts. Each measurement has servers of its own.
type benchmark struct {
	options
	only      []string
	repeats   int
	twoCPUs   string // of a server that may have two processors
	otherCPUs string // the rest of them

	began    time.Time
	notes    io.Writer
	self     string // this program, which is the relay too
	findings findings
	runs     []string
	wrong    []string // outcomes and parts that could not be measured
	broken   bool     // the latter
}

// part is some of the figures.
type part struct {
	name, what string
	takes      time.Duration // about; thrice that is too long
	measure    func(*benchmark, context.Context) error
}

// parts in the order in which they are measured.
var parts = []part{
	{"overload", "the capacity, and what becomes of twice as much", 60 * time.Second, (*benchmark).measureOverload},
	{"setup", "call set-ups near saturation and at half load, and the bare relay", 110 * time.Second, (*benchmark).measureSetup},
	{"postgres", "one node on PostgreSQL, and three", 50 * time.Second, (*benchmark).measurePostgres},
	{"idle", "memory of 10,000 devices", 25 * time.Second, (*benchmark).measureIdle},
	{"reconnect-storm", "10,000 devices come back at once", 30 * time.Second, (*benchmark).measureStorm},
	{"node-kill", "one node of three is killed", 45 * time.Second, (*benchmark).measureNodeKill},
}

func benchCommand(ctx context.Context, args []string, out, notes io.Writer) (int, error) {
	b := &benchmark{notes: notes, began: time.Now()}
	if err := b.parse(args); errors.Is(err, flag.ErrHelp) {
		return exitPassed, nil
	} else if err != nil {
		return exitBroken, err
	}
	if err := b.measure(ctx); err != nil {
		return exitBroken, err
	}
	result := b.result()
	path, err := result.save(b.out)
	if err := errors.Join(err, result.print(out)); err != nil {
		return exitBroken, err
	}
	fmt.Fprintln(notes, "the figures are in", path)
	switch {
	case b.broken:
		return exitBroken, nil
	case len(b.wrong) > 0:
		return exitFailed, nil
	}
	return exitPassed, nil
}

func (b *benchmark) parse(args []string) error {
	set := flag.NewFlagSet("loadtest bench", flag.ContinueOnError)
	set.SetOutput(b.notes)
	set.Usage = func() {
		fmt.Fprintf(b.notes, "usage: loadtest bench [flags]\n\nparts, in their order:\n")
		for _, p := range parts {
			fmt.Fprintf(b.notes, "  %-16s %s\n", p.name, p.what)
		}
		fmt.Fprintln(b.notes)
		set.PrintDefaults()
	}
	server, load := "", ""
	own := allowedCPUs()
	if len(own) > 1 {
		server, load = cpuList(own[:1]), cpuList(own[1:2])
		b.twoCPUs, b.otherCPUs = cpuList(own[:2]), cpuList(own)
	}
	if len(own) > 2 {
		b.otherCPUs = cpuList(own[2:])
	}
	only := set.String("only", "", "`parts` to be measured, such as setup,idle; default: all")
	set.IntVar(&b.repeats, "repeats", 3, "of what is measured near saturation; the median counts")
	set.StringVar(&b.serverCPUs, "server-cpus", server, "`processors` of the servers and their database")
	set.StringVar(&b.loadCPUs, "load-cpus", load, "`processors` of this program")
	set.StringVar(&b.binary, "binary", "", "the servers' program, such as bin/carillon; default: built from the source")
	set.StringVar(&b.dataDir, "data", "", "directory for their data, which is removed at the end; default: the system's for temporary files")
	set.StringVar(&b.out, "out", "data/loadtest", "directory for the reports")
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("%q is no flag", set.Arg(0))
	}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	b.sockets, b.seed, b.spawn, b.quiet = benchSockets, 1, 1, true
	return b.check()
}

const (
	benchSockets = 4
	maxRepeats   = 20
)

func (b *benchmark) check() error {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	for _, name := range b.only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-only %s: there are %s", name, strings.Join(names, ", "))
		}
	}
	if b.repeats < 1 || b.repeats > maxRepeats {
		return fmt.Errorf("-repeats: %d is not within 1..%d", b.repeats, maxRepeats)
	}
	return b.options.check()
}

// measure builds what there is to be measured, and measures it part by part.
func (b *benchmark) measure(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := checkOut(b.out); err != nil {
		return err
	}
	if b.binary == "" {
		dir, failed := os.MkdirTemp(b.dataDir, "loadtest-*")
		if failed != nil {
			return fmt.Errorf("-data: %w", failed)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if b.binary, err = buildServer(ctx, dir); err != nil {
			return err
		}
	}
	if err := pinSelf(b.loadCPUs); err != nil {
		return err
	}
	for _, p := range parts {
		if len(b.only) > 0 && !slices.Contains(b.only, p.name) {
			continue
		}
		b.say("%s: %s (about %v)", p.name, p.what, p.takes)
		if err := b.take(ctx, p); ctx.Err() != nil {
			return errors.New("interrupted")
		} else if err != nil {
			b.broken = true
			b.wrong = append(b.wrong, fmt.Sprintf("%s could not be measured: %v", p.name, err))
			b.say("%s could not be measured: %v", p.name, err)
		}
	}
	return nil
}

// checkOut says beforehand when reports could not be kept.
func checkOut(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	file, _, err := openCSV(filepath.Join(dir, "runs.csv"))
	if err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	return file.Close()
}

// take measures one part, unless that takes much too long.
func (b *benchmark) take(ctx context.Context, p part) error {
	within, cancel := context.WithTimeoutCause(ctx, 3*p.takes, fmt.Errorf("it is not over after %v", 3*p.takes))
	defer cancel()
	err := p.measure(b, within)
	if within.Err() != nil {
		return context.Cause(within)
	}
	return err
}

// say writes what is going on.
func (b *benchmark) say(format string, args ...any) {
	fmt.Fprintf(b.notes, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}
