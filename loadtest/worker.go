package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"carillon/loadtest/link"
)

// Bounds of a worker.
const (
	maxGuests  = 8             // connections that have not been answered yet
	gateWithin = 2 * time.Hour // for the slowest of the others
)

// worker plays parts of runs, one at a time, for coordinators who know its secret.
type worker struct {
	trust trust
	party link.Party
	notes io.Writer
	busy  chan struct{} // one place
	guest chan struct{}

	mu sync.Mutex // for notes
}

// serveWork listens until ctx ends.
func serveWork(ctx context.Context, o options, notes io.Writer) error {
	l, err := net.Listen("tcp", o.worker)
	if err != nil {
		return fmt.Errorf("-worker: %w", err)
	}
	w := &worker{
		trust: o.trust, party: link.Party{Secret: o.secret, Program: program()}, notes: notes,
		busy: make(chan struct{}, 1), guest: make(chan struct{}, maxGuests),
	}
	w.say("waiting for work on %v", l.Addr())
	return w.serve(ctx, l)
}

func (w *worker) serve(ctx context.Context, l net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	var guests sync.WaitGroup
	defer guests.Wait()
	defer stop()
	unlisten := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer unlisten()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("-worker: %w", err)
		}
		select {
		case w.guest <- struct{}{}:
			guests.Go(func() { w.welcome(ctx, conn) })
		default:
			conn.Close()
		}
	}
}

func (w *worker) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintln(w.notes, printable(fmt.Sprintf(format, args...)))
}

// welcome finds out who has come, and plays the part that he brings.
func (w *worker) welcome(ctx context.Context, raw net.Conn) {
	who := raw.RemoteAddr()
	hangUp := context.AfterFunc(ctx, func() { raw.Close() })
	defer hangUp()
	c, err := link.Accept(raw, w.party)
	<-w.guest
	if err != nil {
		w.say("%v is no coordinator of mine: %v", who, err)
		return
	}
	select {
	case w.busy <- struct{}{}:
	default:
		defer func() { _ = c.Close() }()
		_ = c.Send(word{Failed: "is at work for another coordinator"})
		w.say("%v was refused: at work", who)
		return
	}
	s := newService(ctx, c)
	defer s.close()
	r, err := w.play(s, who)
	<-w.busy // whoever hears the outcome may come again
	if err != nil {
		_ = c.Send(word{Failed: err.Error()}) // to whom is still there
		w.say("the part of %v failed: %v", who, err)
		return
	}
	if err := c.Send(word{Report: r}); err != nil {
		w.say("the report for %v: %v", who, err)
		return
	}
	w.say("%s is done: %d calls right, %d refused, %d wrong", r.Run, r.Calls.Right, r.Calls.Refused, r.Calls.Wrong)
	select { // he has it all and goes
	case <-s.ctx.Done():
	case <-time.After(gateWithin):
	}
}

// play does a part, from its job to its report.
func (w *worker) play(s *service, who net.Addr) (*report, error) {
	first, err := s.next(link.Silence)
	if err != nil {
		return nil, err
	}
	if first.Job == nil {
		return nil, errors.New("the first order has no job")
	}
	j := *first.Job
	if err := j.check(); err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	if j.Tokens && w.trust.secret == nil {
		return nil, errors.New("the servers ask for tokens: give this worker -token-secret too")
	}
	w.say("%s for %v: %d users, %v calls per second, at %v", j.Run, who, j.Scenario.Users, j.Scenario.Rate, j.Addrs)
	t := &target{addrs: j.Addrs, about: "the coordinator's", trust: w.trust}
	r, err := newRun(j.Scenario, j.Run, t, j.Seed, j.Sockets)
	if err != nil {
		return nil, err
	}
	r.delay = j.Delay
	return s.play(r, w.say)
}

// service is a worker's connection with its coordinator. ctx ends when he has gone.
type service struct {
	conn   *link.Conn
	orders chan order
	ctx    context.Context
	cancel context.CancelCauseFunc
	heard  sync.WaitGroup
}

func newService(ctx context.Context, c *link.Conn) *service {
	s := &service{conn: c, orders: make(chan order, phases)} // more than he ever has to give before one is taken
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.heard.Go(s.listen)
	return s
}

func (s *service) listen() {
	for {
		var o order
		if err := s.conn.Receive(&o); err != nil {
			s.cancel(fmt.Errorf("the coordinator: %w", err))
			return
		}
		if o.Job == nil && o.Begin == starting {
			continue
		}
		select {
		case s.orders <- o:
		default:
			s.cancel(errors.New("the coordinator gives too many orders"))
			return
		}
	}
}

func (s *service) close() {
	_ = s.conn.Close() // its end is what ends listen
	s.heard.Wait()
	s.cancel(nil)
}

// next waits for an order.
func (s *service) next(within time.Duration) (order, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case o := <-s.orders:
		return o, nil
	case <-late.C:
		return order{}, fmt.Errorf("no order of the coordinator for %v", within)
	case <-s.ctx.Done():
		return order{}, context.Cause(s.ctx)
	}
}

// gate asks the coordinator for leave to begin a phase.
func (s *service) gate(_ context.Context, next phase) error {
	if err := s.conn.Send(word{Awaits: next}); err != nil {
		return err
	}
	o, err := s.next(gateWithin)
	if err == nil && o.Begin != next {
		err = fmt.Errorf("the coordinator begins the %v, this part awaits the %v", o.Begin, next)
	}
	return err
}

func (s *service) play(r *run, say func(string, ...any)) (*report, error) {
	r.progress.gate = s.gate
	began := time.Now()
	talks, hush := context.WithCancel(s.ctx)
	var talking sync.WaitGroup
	talking.Go(func() { s.tell(talks, r) })
	u, found, err := r.do(s.ctx, func(format string, args ...any) { say(r.name+": "+format, args...) })
	hush()
	talking.Wait()
	if s.ctx.Err() != nil {
		err = context.Cause(s.ctx)
	}
	if err != nil {
		return nil, err
	}
	out := r.report(u, found)
	out.Began = began
	return out, nil
}

// tell says each second how the run stands.
func (s *service) tell(ctx context.Context, r *run) {
	tick := time.NewTicker(link.Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p := r.pulse()
			if err := s.conn.Send(word{Pulse: &p}); err != nil {
				s.cancel(fmt.Errorf("the coordinator: %w", err))
				return
			}
		}
	}
}
