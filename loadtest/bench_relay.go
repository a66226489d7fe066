package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"carillon/loadtest/relay"
)

// Bounds of the search for the rate that keeps the relay as busy as the server.
const (
	relayFirst  = 2000 // set-ups per second
	relayFactor = 1.4
	relaySteps  = 12
	relayStep   = 2 * time.Second
	relayWithin = 10 * time.Second // until it listens
)

// relayCommand is the relay as a process, which ends when it is told to.
func relayCommand(ctx context.Context, args []string, out, notes io.Writer) (int, error) {
	set := flag.NewFlagSet("loadtest relay", flag.ContinueOnError)
	set.SetOutput(notes)
	addr := set.String("listen", loopback+":0", "`host:port` on loopback")
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitPassed, nil
	} else if err != nil {
		return exitBroken, err
	}
	s, err := relay.Listen(*addr)
	if err != nil {
		return exitBroken, err
	}
	fmt.Fprintln(out, relayListens+s.Addr())
	<-ctx.Done()
	return exitPassed, s.Close()
}

const relayListens = "the relay listens on "

// relayed is a relay with users.
type relayed struct {
	process *process
	crowd   *relay.Crowd
	meter   meter
}

// startRelay starts a relay on the servers' processors and has users connect.
func (b *benchmark) startRelay(ctx context.Context, users int) (*relayed, error) {
	command := []string{b.self, "relay"}
	env := []string{"QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true"}
	p, err := startProcess(pinned(b.serverCPUs, command), append(env, goProcessors(b.serverCPUs)...))
	if err != nil {
		return nil, err
	}
	r := &relayed{process: p, meter: meter{pids: []int{p.pid}}}
	addr, err := p.listens(ctx)
	if err == nil {
		r.crowd, err = relay.Gather(ctx, addr, users)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop(stopWithin))
	}
	return r, nil
}

// listens is where the relay listens, once it does.
func (p *process) listens(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, relayWithin)
	defer cancel()
	for {
		if _, rest, found := strings.Cut(p.log.tail(), relayListens); found {
			if addr, _, whole := strings.Cut(rest, "\n"); whole {
				return addr, nil
			}
		}
		select {
		case <-p.gone:
			return "", fmt.Errorf("the relay has ended at its start: %w\n%s", p.err, p.log.tail())
		case <-ctx.Done():
			return "", fmt.Errorf("the relay does not listen: %s", p.log.tail())
		case <-time.After(readyLook):
		}
	}
}

func (r *relayed) close() error {
	return errors.Join(r.crowd.Close(), r.process.stop(stopWithin))
}

// measure offers set-ups at a rate.
func (r *relayed) measure(ctx context.Context, rate float64, during time.Duration) (measured, error) {
	used := r.meter.cpu()
	got, err := r.crowd.Offer(ctx, rate, during)
	used = r.meter.cpu() - used
	if err != nil {
		return measured{}, err
	}
	m := measured{Offered: rate, Right: float64(got.Done) / got.Took.Seconds(), Failed: got.Asked - got.Done, Cores: used.Seconds() / got.Took.Seconds()}
	if got.Done > 0 {
		m.CPUPer1000 = used.Seconds() / float64(got.Done) * 1000
	}
	return m, nil
}

// keepsBusy finds how many set-ups per second keep the relay so busy, by offering more and more.
func keepsBusy(cores float64, try func(rate float64) (measured, error)) (float64, error) {
	rate, slower, idler := float64(relayFirst), 0.0, 0.0
	for range relaySteps {
		m, err := try(rate)
		if err != nil {
			return 0, err
		}
		if m.Cores >= cores {
			return slower + (rate-slower)*(cores-idler)/(m.Cores-idler), nil
		}
		if m.Failed > 0 && slower > 0 {
			return slower, nil // it is at its end already
		}
		slower, idler = rate, m.Cores
		rate *= relayFactor
	}
	return slower, nil
}
