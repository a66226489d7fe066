package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"carillon/loadtest/link"
)

// crew is the coordinator's side of a run that workers play: they do what is to be done, phase by phase and all at once.
type crew struct {
	members []*member
	words   chan heardWord // of all members
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	since pulse                   // sums of what happened since the last pulse
	rings *hdrhistogram.Histogram // the same
}

// member is one worker.
type member struct {
	addr   string
	conn   *link.Conn
	awaits phase // of the goroutine that waits for words
	report *report
	pulse  pulse // crew.mu guards it
}

// heardWord is a word and whose it is.
type heardWord struct {
	from *member
	word word
	err  error
}

// hire connects to all workers and gives each its part.
func hire(ctx context.Context, addrs []string, p link.Party, whole job) (*crew, error) {
	jobs, err := parted(whole, len(addrs))
	if err != nil {
		return nil, err
	}
	c := &crew{words: make(chan heardWord), rings: hdrhistogram.New(histLowest, histHighest, secondDigits)}
	ctx, c.stop = context.WithCancel(ctx)
	for _, addr := range addrs {
		conn, err := link.Dial(ctx, addr, p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("worker %s: %w", addr, err), c.close())
		}
		c.members = append(c.members, &member{addr: addr, conn: conn})
	}
	for i, m := range c.members { // all are there
		if err := m.conn.Send(order{Job: &jobs[i]}); err != nil {
			return nil, errors.Join(fmt.Errorf("worker %s: %w", m.addr, err), c.close())
		}
	}
	for _, m := range c.members {
		c.running.Go(func() { c.listen(ctx, m) })
		c.running.Go(func() { m.keep(ctx) })
	}
	return c, nil
}

// listen hands on what a worker says, until its connection ends.
func (c *crew) listen(ctx context.Context, m *member) {
	for {
		h := heardWord{from: m}
		if h.err = m.conn.Receive(&h.word); h.err == nil && h.word.Pulse != nil {
			c.count(m, *h.word.Pulse)
		}
		select {
		case c.words <- h:
		case <-ctx.Done():
			return
		}
		if h.err != nil {
			return
		}
	}
}

// keep shows the worker that its coordinator is there.
func (m *member) keep(ctx context.Context) {
	tick := time.NewTicker(link.Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if m.conn.Send(order{}) != nil {
				return // listen says why
			}
		}
	}
}

// close sends the workers away; those that still play give up.
func (c *crew) close() error {
	c.stop()
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.conn.Close())
	}
	c.running.Wait()
	return errors.Join(errs...)
}

// begin lets all workers into a phase.
func (c *crew) begin(p phase) error {
	for _, m := range c.members {
		if err := m.conn.Send(order{Begin: p}); err != nil {
			return fmt.Errorf("worker %s: %w", m.addr, err)
		}
	}
	return nil
}

// await waits until all workers are ready for a phase; phases: until all have reported. It ends with the first that cannot.
func (c *crew) await(ctx context.Context, next phase, within time.Duration) error {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		missing := c.missing(next)
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("worker %s: is not ready for %v after %v", missing.addr, next, within)
		case h := <-c.words:
			if err := h.from.take(h, next); err != nil {
				return fmt.Errorf("worker %s: %w", h.from.addr, err)
			}
		}
	}
}

// missing is a member that is not ready for a phase.
func (c *crew) missing(next phase) *member {
	for _, m := range c.members {
		if next == phases && m.report == nil || next != phases && m.awaits != next {
			return m
		}
	}
	return nil
}

// take notes a word; one that does not fit, and the connection's end, are errors.
func (m *member) take(h heardWord, next phase) error {
	w := h.word
	switch {
	case h.err != nil && m.report != nil:
		return nil // it has done all that it has to do
	case h.err != nil:
		return h.err
	case w.Failed != "":
		return fmt.Errorf("%.2000s", printable(w.Failed))
	case w.Awaits != starting:
		if w.Awaits != next || m.awaits == next {
			return fmt.Errorf("awaits the %v, the others the %v", w.Awaits, next)
		}
		m.awaits = w.Awaits
	case w.Report != nil:
		if next != phases || m.report != nil {
			return fmt.Errorf("reports before the %v", next)
		}
		m.report = w.Report
	}
	return nil
}

// count sums up pulses.
func (c *crew) count(m *member, p pulse) {
	rings, err := decode(p.Rings, secondDigits)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil { // otherwise it is missed in the view only
		c.rings.Merge(rings)
	}
	s := &c.since
	s.Begun, s.Done, s.Refused, s.Wrong = s.Begun+p.Begun, s.Done+p.Done, s.Refused+p.Refused, s.Wrong+p.Wrong
	if s.Codes == nil {
		s.Codes = map[uint32]int{}
	}
	for code, n := range p.Codes {
		s.Codes[code] += n
	}
	m.pulse = p
}

// pulse is that of all workers together.
func (c *crew) pulse() pulse {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.since
	out.Codes, out.Rings = maps.Clone(out.Codes), encode(c.rings)
	c.since = pulse{}
	c.rings.Reset()
	for _, m := range c.members {
		out.LoggedIn, out.Online, out.InFlight = out.LoggedIn+m.pulse.LoggedIn, out.Online+m.pulse.Online, out.InFlight+m.pulse.InFlight
	}
	return out
}

// stay lets the users of a part that was done earlier be online until all were done, as they are.
func (r *report) stay(seen *report) {
	if len(r.Seconds) == 0 || len(seen.Seconds) == 0 {
		return
	}
	last, until := r.Seconds[len(r.Seconds)-1], seen.Seconds[len(seen.Seconds)-1].At
	for at := math.Round(last.At) + 1; at <= math.Round(until); at++ {
		r.Seconds = append(r.Seconds, second{At: at, Online: last.Online})
	}
}

// merged is the report of all workers and of what the coordinator has seen of the servers.
func (c *crew) merged(seen *report) (*report, error) {
	var all []*report
	for _, m := range c.members {
		m.report.Servers.Resident, m.report.Servers.CPU = 0, 0 // the coordinator sees them
		m.report.stay(seen)
		all = append(all, m.report)
	}
	own := *seen
	own.Scenario.Users, own.Scenario.Rate, own.Scenario.AuditCalls = 0, 0, 0
	out, err := merge(append(all, &own))
	if err != nil {
		return nil, err
	}
	out.Run, out.Began, out.Target, out.Command, out.Scenario = seen.Run, seen.Began, seen.Target, seen.Command, seen.Scenario
	return out, nil
}

// letLogIn waits until the workers have brought all users in.
func (r *run) letLogIn(ctx context.Context) (u usage, err error) {
	u.device = r.target.meter.resident()
	before := r.target.meter.cpu()
	if err := r.crew.await(ctx, warming, r.phaseWithin(loggingIn)); err != nil {
		return u, err
	}
	u.logins = r.target.meter.cpu() - before
	return u, nil
}

// letOffer has the workers begin their calls, and waits until all are over.
func (r *run) letOffer(ctx context.Context, counts bool) error {
	now := warming
	if counts {
		now = measuring
	}
	if err := r.crew.begin(now); err != nil {
		return err
	}
	return r.crew.await(ctx, now+1, r.phaseWithin(now))
}

// letReport has the workers audit, and waits for their reports.
func (r *run) letReport(ctx context.Context) error {
	if err := r.crew.begin(auditing); err != nil {
		return err
	}
	return r.crew.await(ctx, phases, r.phaseWithin(auditing))
}
