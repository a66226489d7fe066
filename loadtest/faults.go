package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fault is something that is done to servers of our own while they are measured.
type fault struct {
	At    time.Duration `yaml:"at" json:"at_ns"`                 // from the first call that counts
	Do    string        `yaml:"do" json:"do"`                    // one of faultKinds
	Node  int           `yaml:"node" json:"node,omitempty"`      // of kill and stop: which, from 1
	Back  time.Duration `yaml:"back" json:"back_ns,omitempty"`   // until it goes on; of kill 0: never; of rolling: between two
	Every time.Duration `yaml:"every" json:"every_ns,omitempty"` // 0: once; else again until the end, on the next node each time
}

// The kinds of faults.
const (
	killFault    = "kill"        // kill -9 of one
	stopFault    = "stop"        // SIGSTOP of one, and SIGCONT
	rollingFault = "rolling"     // each is ended in order and started again, one after the other
	restartFault = "restart-all" // kill -9 of all at once
)

var faultKinds = []string{killFault, stopFault, rollingFault, restartFault}

const (
	maxFaults  = 100
	gatherPoll = 50 * time.Millisecond
)

// checkFaults names the first key of a fault that is out of its range.
func (s *scenario) checkFaults() error {
	if len(s.Faults) > maxFaults {
		return fmt.Errorf("faults: %d are more than %d", len(s.Faults), maxFaults)
	}
	for i, f := range s.Faults {
		if err := f.check(s.Duration); err != nil {
			return fmt.Errorf("faults[%d].%w", i, err)
		}
	}
	return nil
}

func (f *fault) check(during time.Duration) error {
	one := f.Do == killFault || f.Do == stopFault
	switch {
	case !slices.Contains(faultKinds, f.Do):
		return fmt.Errorf("do: %q is none of %s", f.Do, strings.Join(faultKinds, ", "))
	case f.At < 0 || f.At >= during:
		return fmt.Errorf("at: %v is not within the duration, %v", f.At, during)
	case f.Back < 0 || f.Back > maxDuration:
		return fmt.Errorf("back: %v is not within 0..%v", f.Back, maxDuration)
	case f.Every != 0 && (f.Every < time.Second || f.Every <= f.Back):
		return fmt.Errorf("every: %v is not above a second and above back, %v", f.Every, f.Back)
	case f.Do == stopFault && f.Back == 0:
		return fmt.Errorf("back: a node that is stopped must go on")
	case f.Do == killFault && f.Back == 0 && f.Every > 0:
		return fmt.Errorf("back: a node that is killed again must come back")
	case one && (f.Node < 1 || f.Node > maxSpawn):
		return fmt.Errorf("node: %d is not within 1..%d", f.Node, maxSpawn)
	case !one && f.Node != 0:
		return fmt.Errorf("node: %s is about all of them", f.Do)
	}
	return nil
}

// fits reports why the faults cannot be done to so many servers of our own.
func (s *scenario) fits(spawn int) error {
	for i, f := range s.Faults {
		switch {
		case spawn == 0:
			return fmt.Errorf("faults: are for servers that -spawn starts")
		case f.Node > spawn:
			return fmt.Errorf("faults[%d].node: %d, and -spawn is %d", i, f.Node, spawn)
		}
	}
	return nil
}

// faults does what the scenario wants done to the servers, until ctx ends. What was begun is brought to its end.
func (r *run) faults(ctx context.Context, began time.Time) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, f := range r.scenario.Faults {
		all.Go(func() {
			if err := r.inflict(ctx, f, began); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("fault %s: %w", f.Do, err))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (r *run) inflict(ctx context.Context, f fault, began time.Time) error {
	at := func(n int) time.Duration { return time.Until(began.Add(f.At + time.Duration(n)*f.Every)) }
	for n := 0; rest(ctx, at(n)) == nil; n++ {
		if err := r.perform(f, n); err != nil || f.Every == 0 {
			return err
		}
	}
	return nil
}

// perform does a fault for the n-th time.
func (r *run) perform(f fault, n int) error {
	own := r.target.own
	switch f.Do {
	case killFault:
		return r.strike(own[(f.Node-1+n)%len(own)], f.Back)
	case stopFault:
		return r.freeze(own[(f.Node-1+n)%len(own)], f.Back)
	case rollingFault:
		return r.roll(f.Back)
	default:
		return r.restartAll(f.Back)
	}
}

// strike kills a server, and starts it again after a while, if ever.
func (r *run) strike(s *server, back time.Duration) error {
	r.faulted(s.name + " is killed")
	r.target.kill(s)
	if back == 0 {
		return nil
	}
	time.Sleep(back)
	return r.revive(s)
}

func (r *run) revive(servers ...*server) error {
	var names []string
	for _, s := range servers {
		if err := r.target.start(s); err != nil {
			return err
		}
	}
	for _, s := range servers {
		if err := s.ready(context.Background()); err != nil {
			return err
		}
		names = append(names, s.name)
	}
	r.recovered(strings.Join(names, ", ") + " serves again")
	return nil
}

// freeze has a server stand still for a while.
func (r *run) freeze(s *server, during time.Duration) error {
	pid := s.present().pid
	r.faulted(s.name + " stands still")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	time.Sleep(during)
	err := syscall.Kill(pid, syscall.SIGCONT)
	r.recovered(s.name + " goes on")
	return err
}

// roll ends the servers in order, one after the other, and starts each again before the next.
func (r *run) roll(between time.Duration) error {
	for i, s := range r.target.own {
		if i > 0 {
			time.Sleep(between)
		}
		r.faulted(s.name + " is told to end")
		if err := s.expect().stop(stopWithin); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := r.revive(s); err != nil {
			return err
		}
	}
	return nil
}

// restartAll kills all servers at once and starts them again.
func (r *run) restartAll(back time.Duration) error {
	r.faulted("all servers are killed")
	for _, s := range r.target.own {
		r.target.kill(s)
	}
	time.Sleep(back)
	return r.revive(r.target.own...)
}

// gather waits until all devices are back.
func (r *run) gather(ctx context.Context) error {
	if r.weather == nil {
		return nil
	}
	for r.crowd.orphans(r.target.ended()) > 0 {
		if err := rest(ctx, gatherPoll); err != nil {
			return err
		}
	}
	return nil
}
