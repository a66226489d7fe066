package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// glances are a run at several moments.
func glances() map[string]*glance {
	s := scenario{Name: "mixed", Users: 5000, Warmup: time.Second, Duration: time.Minute}
	g := &glance{
		title: "r1 · mixed · 5,000 users · 3 of our own, postgres", scenario: s, phase: measuring, elapsed: 23 * time.Second,
		loggedIn: 5000, online: 4998, inFlight: 1312, offered: 200.4, done: 198, now: [2]float64{1.84, 6.1}, whole: [2]float64{1.7, 7.25},
		total: pulse{Begun: 4800, Done: 4600}, cores: 0.74, memory: 312e6,
	}
	for i := range 60 {
		g.rates, g.p99s = append(g.rates, float64(i)), append(g.p99s, float64(i%7))
	}
	bad := *g
	bad.refused, bad.wrong, bad.elapsed, bad.memory = 3, 2, 61*time.Second, 0
	bad.total = pulse{Begun: 4800, Done: 4600, Refused: 120_000, Codes: map[uint32]int{6000005: 119_999, 6000007: 1}}
	bad.moments = []moment{{1, "forgotten"}, {10, "n1 is stopped"}, {12.04, "n2 is killed"}, {20, "n2 is back\x1b[2J"}}
	return map[string]*glance{
		"1 logging in": {title: "r1 · mixed", scenario: s, phase: loggingIn, loggedIn: 1250, online: 1251, memory: 1e8, elapsed: time.Second},
		"2 measuring":  g,
		"3 all wrong":  &bad,
		"4 audit":      {title: "r1 · mixed", scenario: s, phase: auditing, elapsed: 2100 * time.Millisecond, loggedIn: 5000, online: 5000, memory: 1e8},
	}
}

func TestPanel(t *testing.T) {
	var b strings.Builder
	for i := 1; i <= len(glances()); i++ {
		for name, g := range glances() {
			if !strings.HasPrefix(name, fmt.Sprint(i)) {
				continue
			}
			fmt.Fprintf(&b, "--- %s\n", name)
			for _, r := range g.rows() {
				line := r.render(79, false)
				if n := len([]rune(line)); n > 79 {
					t.Errorf("%d columns: %s", n, line)
				}
				fmt.Fprintln(&b, strings.TrimRight(line, " "))
			}
			fmt.Fprintf(&b, "--- %s, without a terminal\n%s\n", name, g.line())
		}
	}
	golden(t, "panel.golden", b.String())
}

// The panel is drawn in place: up by as many lines as were drawn, each erased to its end.
func TestScreen(t *testing.T) {
	var b strings.Builder
	width, height := 20, 4
	s := &screen{out: &b, size: func() (int, int) { return width, height }, color: true}
	took := func(want string) {
		t.Helper()
		if got := strings.NewReplacer(beginFrame, "", endFrame, "").Replace(b.String()); got != want {
			t.Errorf("written\n%q, want\n%q", got, want)
		}
		b.Reset()
	}
	s.draw([]row{{{red, "one"}, {plain, " two"}}, {{bold, "\x1b[2J"}}})
	took("\r\x1b[1;31mone\x1b[0m two\x1b[K\n\x1b[1m?[2J\x1b[0m\x1b[K\n\x1b[J")
	s.draw([]row{{{plain, strings.Repeat("x", 30)}}})
	took("\r\x1b[2A" + strings.Repeat("x", 19) + "\x1b[K\n\x1b[J")
	s.note("kept")
	took("\r\x1b[1A\x1b[Jkept\n\r" + strings.Repeat("x", 19) + "\x1b[K\n\x1b[J")
	width = 10 // what was drawn has broken into two lines
	s.draw([]row{{}, {}, {}, {}, {}, {}})
	took("\r\x1b[K\n\x1b[K\n\x1b[K\n\x1b[J")
	s.close()
	took("\r\x1b[3A\x1b[J\x1b[?25h")
}

// What a view shows is summed over a phase, and begins anew with the next.
func TestView(t *testing.T) {
	rings := newInterval()
	put(rings.rings, 3*time.Millisecond)
	v := &view{rings: newHistogram()}
	v.take(pulse{Phase: warming, Begun: 50, Done: 40, Wrong: 1}, time.Second)
	v.take(pulse{Phase: measuring, Begun: 100, Done: 80, Refused: 4, Codes: map[uint32]int{tooFrequent: 4}, Rings: encode(rings.rings)}, 2*time.Second)
	v.take(pulse{Phase: measuring, Begun: 100, Done: 90, Refused: 2, Codes: map[uint32]int{tooFrequent: 2}}, time.Second)
	g := v.glance
	if g.total.Begun != 200 || g.total.Done != 170 || g.total.Codes[tooFrequent] != 6 || g.wrong != 1 || g.offered != 100 || g.refused != 2 {
		t.Errorf("%+v", g)
	}
	if g.now[1] != 0 || g.whole[1] < 2.9 || g.whole[1] > 3.1 || len(g.rates) != 3 || g.rates[1] != 40 {
		t.Errorf("ring %v, %v, rates %v", g.now, g.whole, g.rates)
	}
}

// Where there is no terminal there are lines; -quiet has none.
func TestViewWithoutATerminal(t *testing.T) {
	for quiet, want := range map[bool]string{false: "hello", true: ""} {
		var b strings.Builder
		v := newView(&b, quiet)
		v.watch(subject{meter: &meter{}, title: "r1", scenario: scenario{Duration: time.Minute}, pulse: func() pulse { return pulse{Phase: measuring, Online: 7} }})
		v.say("hello")
		v.close()
		v.close()
		for range plainEach {
			if !quiet {
				v.show(time.Now())
			}
		}
		if got := b.String(); !strings.HasPrefix(got, want) || strings.Contains(got, "measuring: 0 s of 1 min, 7 online") == quiet {
			t.Errorf("quiet %v: %q", quiet, got)
		}
	}
	if openScreen(os.Stdin) != nil && os.Getenv("TERM") == "dumb" {
		t.Error("a dumb terminal is steered")
	}
}

func TestGate(t *testing.T) {
	var asked []phase
	closed := errors.New("closed")
	p := &progress{gate: func(_ context.Context, next phase) error {
		if asked = append(asked, next); next == measuring {
			return closed
		}
		return nil
	}}
	for _, next := range []phase{loggingIn, warming} {
		if err := p.enter(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.enter(t.Context(), measuring); !errors.Is(err, closed) {
		t.Errorf("error %v", err)
	}
	if now, _ := p.now(); now != warming || !slices.Equal(asked, []phase{warming, measuring}) {
		t.Errorf("in %v, asked for %v", now, asked)
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
