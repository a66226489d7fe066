package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"carillon/loadtest/link"
)

// Exit codes.
const (
	exitPassed = iota
	exitFailed // a wrong outcome
	exitBroken // the run could not be done
)

// gcPercent makes collections rare: while one runs, what comes is read late, and what is due is done late.
const gcPercent = 800

func main() {
	if os.Getenv("GOGC") == "" { // the environment goes first
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
	}
	stop()
	os.Exit(code)
}

func command(ctx context.Context, args []string, out, notes io.Writer) (int, error) {
	if len(args) > 0 {
		switch args[0] {
		case "bench":
			return benchCommand(ctx, args[1:], out, notes)
		case "relay":
			return relayCommand(ctx, args[1:], out, notes)
		case "compare":
			return compareCommand(args[1:], out, notes)
		case "merge":
			return mergeCommand(args[1:], out, notes)
		case "page":
			return pageCommand(args[1:], out, notes)
		}
	}
	o, err := parseOptions(args, notes)
	if errors.Is(err, flag.ErrHelp) {
		return exitPassed, nil
	}
	if err != nil {
		return exitBroken, err
	}
	if o.worker != "" {
		return exitPassed, errors.Join(pinSelf(o.loadCPUs), serveWork(ctx, o, notes))
	}
	return attack(ctx, o, args, out, notes)
}

func compareCommand(args []string, out, notes io.Writer) (int, error) {
	set := flag.NewFlagSet("loadtest compare", flag.ContinueOnError)
	set.SetOutput(notes)
	dir := set.String("out", "data/loadtest", "directory of the reports")
	if err := set.Parse(args); err != nil {
		return exitBroken, err
	}
	if set.NArg() != 2 {
		return exitBroken, errors.New("compare takes two runs: their names, or their .json files")
	}
	a, err := loadReport(*dir, set.Arg(0))
	if err != nil {
		return exitBroken, err
	}
	b, err := loadReport(*dir, set.Arg(1))
	if err != nil {
		return exitBroken, err
	}
	return exitPassed, compare(out, a, b)
}

// attack does one run and says what came of it.
func attack(ctx context.Context, o options, args []string, out, notes io.Writer) (int, error) {
	if err := pinSelf(o.loadCPUs); err != nil {
		return exitBroken, err
	}
	v := newView(notes, o.quiet)
	defer v.close()
	result, err := o.play(ctx, v)
	v.close()
	if err != nil {
		return exitBroken, err
	}
	result.Command = redacted(args)
	return result.finish(o.out, out, notes)
}

// play starts the servers, does the run and stops them.
func (o *options) play(ctx context.Context, v *view) (result *report, err error) {
	t, err := newTarget(ctx, *o)
	if err != nil {
		return nil, err
	}
	t.introduce(v.say)
	began := time.Now()
	r, err := newRun(o.scenario, "r"+strconv.FormatInt(began.UnixMilli(), 36), t, o.seed, o.sockets)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	result, err = o.do(ctx, r, v)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	gone := t.close()
	if err != nil {
		return nil, errors.Join(err, gone)
	}
	result.Began = began
	if gone != nil {
		result.Verdict = append(result.Verdict, gone.Error())
	}
	return result, nil
}

// do does the run, with workers if there are to be any.
func (o *options) do(ctx context.Context, r *run, v *view) (result *report, err error) {
	if len(o.workers) > 0 {
		whole := job{Run: r.name, Scenario: o.scenario, Addrs: r.target.addrs, Seed: o.seed, Sockets: o.sockets, Tokens: o.trust.secret != nil}
		whole.Scenario.Faults = nil // they are ours to do; what makes workers lenient stays
		c, err := hire(ctx, o.workers, link.Party{Secret: o.secret, Program: program()}, whole)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		r.crew = c
	}
	v.watch(subject{
		title:    fmt.Sprintf("%s · %s · %s users · %s", r.name, o.scenario.Name, grouped(o.scenario.Users), r.target.about),
		scenario: o.scenario, meter: &r.target.meter, pulse: r.pulse,
	})
	u, found, err := r.do(ctx, v.say)
	if err != nil {
		return nil, err
	}
	result = r.report(u, found)
	if r.crew != nil {
		return r.crew.merged(result)
	}
	return result, nil
}
