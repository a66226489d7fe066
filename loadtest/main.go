package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitPassed = iota
	exitFailed // a wrong outcome
	exitBroken // the run could not be done
)

func main() {
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
		case "compare":
			return compareCommand(args[1:], out, notes)
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
func attack(ctx context.Context, o options, args []string, out, notes io.Writer) (code int, err error) {
	code = exitBroken
	if err := pinSelf(o.loadCPUs); err != nil {
		return code, err
	}
	v := newView(notes, o.quiet)
	defer v.close()
	t, err := newTarget(ctx, o)
	if err != nil {
		return code, err
	}
	began := time.Now()
	r, err := newRun(o.scenario, "r"+strconv.FormatInt(began.UnixMilli(), 36), t, o.seed, o.sockets)
	if err != nil {
		return code, errors.Join(err, t.close())
	}
	v.watch(subject{title: fmt.Sprintf("%s · %s · %s users · %s", r.name, o.scenario.Name, grouped(o.scenario.Users), t.about), scenario: o.scenario, meter: t.meter, pulse: r.pulse})
	u, found, err := r.do(ctx, v.say)
	gone := t.close()
	v.close()
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		return code, errors.Join(err, gone)
	}
	result := r.report(u, found)
	result.Began, result.Command = began, args
	if gone != nil {
		result.Verdict = append(result.Verdict, gone.Error())
	}
	path, err := result.save(o.out)
	if err := errors.Join(err, result.print(out)); err != nil {
		return code, err
	}
	fmt.Fprintln(notes, "the report is", path)
	if len(result.Verdict) > 0 {
		return exitFailed, nil
	}
	return exitPassed, nil
}
