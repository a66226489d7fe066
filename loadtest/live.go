package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	viewEach  = time.Second
	plainEach = 5 // pulses, where there is no terminal
	viewPast  = 60
)

// view shows a run while it goes on: on a terminal a panel that is drawn anew each second, elsewhere a line now and then.
type view struct {
	out   io.Writer
	quiet bool

	mu     sync.Mutex
	screen *screen // nil: no terminal
	subject
	glance glance
	rings  *hdrhistogram.Histogram // of this phase
	used   time.Duration           // the servers' CPU at the last pulse
	last   time.Time               // pulse
	pulses int

	stop context.CancelFunc
	done sync.WaitGroup
}

// subject is what a view shows. pulse is called once a second and tells what happened since it was called last.
type subject struct {
	title    string
	scenario scenario
	meter    *meter
	pulse    func() pulse
}

func newView(out io.Writer, quiet bool) *view {
	v := &view{out: out, quiet: quiet, rings: newHistogram(), last: time.Now()}
	if quiet {
		v.stop = func() {}
		return v
	}
	v.screen = openScreen(out)
	ctx, stop := context.WithCancel(context.Background())
	v.stop = stop
	v.done.Go(func() { v.run(ctx) })
	return v
}

// watch begins to show a run.
func (v *view) watch(s subject) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.subject, v.used, v.last = s, s.meter.cpu(), time.Now()
}

// say writes a line that stays.
func (v *view) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	switch {
	case v.quiet:
	case v.screen != nil:
		v.screen.note(text)
	default:
		fmt.Fprintln(v.out, text)
	}
}

// close takes the panel away and gives the terminal back as it was.
func (v *view) close() {
	v.stop()
	v.done.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.screen != nil {
		v.screen.close()
		v.screen = nil
	}
}

func (v *view) run(ctx context.Context) {
	tick := time.NewTicker(viewEach)
	defer tick.Stop()
	for {
		v.show(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// show takes a pulse and draws.
func (v *view) show(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pulse == nil {
		if v.screen != nil {
			v.screen.draw([]row{{{bold, "starting"}}})
		}
		return
	}
	cpu := v.meter.cpu()
	v.glance.title, v.glance.scenario = v.title, v.scenario
	v.glance.cores, v.glance.memory = (cpu-v.used).Seconds()/now.Sub(v.last).Seconds(), v.meter.resident()
	v.take(v.pulse(), now.Sub(v.last))
	v.used, v.last = cpu, now
	v.pulses++
	if v.screen != nil {
		v.screen.draw(v.glance.rows())
	} else if v.pulses%plainEach == 0 {
		fmt.Fprintln(v.out, v.glance.line())
	}
}

// take counts a pulse in.
func (v *view) take(p pulse, took time.Duration) {
	g := &v.glance
	if p.Phase != g.phase {
		v.rings.Reset()
		g.total = pulse{}
	}
	rings, err := decode(p.Rings, secondDigits)
	if err != nil {
		rings = newHistogram() // a worker's; its report says more
	}
	v.rings.Merge(rings)
	g.add(p, took.Seconds())
	g.now = [2]float64{quantile(rings, 50), quantile(rings, 99)}
	g.whole = [2]float64{quantile(v.rings, 50), quantile(v.rings, 99)}
	g.p99s = recent(g.p99s, g.now[1])
}

// add sums a pulse into a glance.
func (g *glance) add(p pulse, took float64) {
	g.phase, g.elapsed, g.loggedIn, g.online, g.inFlight, g.moments = p.Phase, p.Elapsed, p.LoggedIn, p.Online, p.InFlight, p.Moments
	t := &g.total
	t.Begun, t.Done, t.Refused, t.Wrong = t.Begun+p.Begun, t.Done+p.Done, t.Refused+p.Refused, t.Wrong+p.Wrong
	for code, n := range p.Codes {
		if t.Codes == nil {
			t.Codes = map[uint32]int{}
		}
		t.Codes[code] += n
	}
	g.wrong += p.Wrong
	if took > 0 {
		g.offered, g.done, g.refused = float64(p.Begun)/took, float64(p.Done)/took, float64(p.Refused)/took
	}
	g.rates = recent(g.rates, g.done)
}

// recent is the last minute of a figure.
func recent(past []float64, next float64) []float64 {
	past = append(past, next)
	return past[max(0, len(past)-viewPast):]
}
