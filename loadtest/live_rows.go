package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"carillon/loadtest/chart"
)

// glance is all that the view shows at one moment.
type glance struct {
	title    string
	scenario scenario
	phase    phase
	elapsed  time.Duration // in this phase
	loggedIn int
	online   int
	inFlight int
	offered  float64 // calls per second
	done     float64
	refused  float64
	now      [2]float64 // invite to ring in ms, p50 and p99, in the last second
	whole    [2]float64 // the same, in this phase
	total    pulse      // of this phase
	wrong    int        // of the whole run
	cores    float64
	memory   int64     // bytes; 0: the servers are not seen
	rates    []float64 // of the last minute
	p99s     []float64
	moments  []moment
}

// style is an ANSI code.
type style string

// The styles.
const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "1;31"
	green  style = "32"
	yellow style = "33"
)

// span is text in one style, row a line of the panel.
type (
	span struct {
		look style
		text string
	}
	row []span
)

const (
	labelWidth  = 11
	barWidth    = 36
	maxMoments  = 3 // shown
	maxReasons  = 4 // codes shown
	sparkLevels = "▁▂▃▄▅▆▇█"
)

func labelled(label string, spans ...span) row {
	return append(row{{dim, fmt.Sprintf("%-*s", labelWidth, label)}}, spans...)
}

// rows is the panel.
func (g *glance) rows() []row {
	out := []row{
		{{bold, g.title}},
		g.advance(),
		{},
		labelled("calls/s", span{plain, fmt.Sprintf("%8.0f offered %8.0f done    ", g.offered, g.done)},
			span{loud(yellow, g.refused > 0), fmt.Sprintf("%7.0f refused", g.refused)}, span{plain, fmt.Sprintf("%8s in flight", grouped(g.inFlight))}),
		labelled("devices", span{plain, fmt.Sprintf("%8s online  %8s logged in", grouped(g.online), grouped(g.loggedIn))}),
		labelled("ring, ms", span{plain, fmt.Sprintf("%8.1f p50     %8.1f p99     in the last second", g.now[0], g.now[1])}),
		labelled("", span{plain, fmt.Sprintf("%8.1f p50     %8.1f p99     so far", g.whole[0], g.whole[1])}),
		labelled("servers", g.servers()),
		labelled("so far", span{plain, fmt.Sprintf("%8s offered %8s done    ", grouped(g.total.Begun), grouped(g.total.Done))},
			span{loud(yellow, g.total.Refused > 0), fmt.Sprintf("%7s refused", grouped(g.total.Refused))},
			span{loud(red, g.wrong > 0), fmt.Sprintf("%8s wrong", grouped(g.wrong))}),
	}
	if len(g.total.Codes) > 0 {
		out = append(out, labelled("refusals", span{yellow, reasons(g.total.Codes)}))
	}
	out = append(out, row{}, labelled("done/s", spark(g.rates)...), labelled("p99, ms", spark(g.p99s)...))
	for _, m := range g.moments[max(0, len(g.moments)-maxMoments):] {
		out = append(out, labelled(fmt.Sprintf("%.1f s", m.At), span{yellow, m.What}))
	}
	return out
}

func loud(look style, on bool) style {
	if on {
		return look
	}
	return plain
}

func (g *glance) servers() span {
	if g.memory == 0 {
		return span{dim, "not seen (-pids)"}
	}
	return span{plain, fmt.Sprintf("%8.2f cores   %8.0f MB", g.cores, float64(g.memory)/1e6)}
}

// advance is how far the phase is.
func (g *glance) advance() row {
	share, text := g.share()
	out := labelled(g.phase.String())
	if share >= 0 {
		full := int(share * barWidth)
		out = append(out, span{green, strings.Repeat("█", full)}, span{dim, strings.Repeat("░", barWidth-full)}, span{plain, "  "})
	}
	return append(out, span{plain, text})
}

// share is how much of the phase is over, -1 where that is not known, and the same in words.
func (g *glance) share() (share float64, text string) {
	timed := func(whole time.Duration) (float64, string) {
		if g.elapsed > whole {
			return 1, fmt.Sprintf("%s of %s, the last calls", seconds(whole), seconds(whole))
		}
		return g.elapsed.Seconds() / whole.Seconds(), fmt.Sprintf("%s of %s", seconds(g.elapsed), seconds(whole))
	}
	switch g.phase {
	case loggingIn:
		users := max(g.scenario.Users, 1)
		return min(1, float64(g.loggedIn)/float64(users)), fmt.Sprintf("%s of %s users", grouped(g.loggedIn), grouped(users))
	case warming:
		if g.scenario.Warmup > 0 {
			return timed(g.scenario.Warmup)
		}
	case measuring:
		return timed(g.scenario.Duration)
	}
	return -1, seconds(g.elapsed)
}

func seconds(d time.Duration) string { return chart.Clock(d.Seconds()) }

// reasons lists refusals by code.
func reasons(codes map[uint32]int) string {
	var out []string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		if len(out) == maxReasons {
			out = append(out, "…")
			break
		}
		out = append(out, fmt.Sprintf("%d: %s", code, grouped(codes[code])))
	}
	return strings.Join(out, ", ")
}

// grouped writes 12,345.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// spark draws figures as bars from 0 to the highest.
func spark(past []float64) []span {
	if len(past) == 0 {
		return nil
	}
	levels, most := []rune(sparkLevels), slices.Max(past)
	var b strings.Builder
	for _, v := range past {
		i := 0
		if most > 0 {
			i = min(len(levels)-1, int(v/most*float64(len(levels))))
		}
		b.WriteRune(levels[max(0, i)])
	}
	return []span{{green, b.String()}, {dim, fmt.Sprintf(" %.4g", most)}}
}

// line is the view where there is no terminal.
func (g *glance) line() string {
	_, far := g.share()
	out := fmt.Sprintf("%v: %s, %d online", g.phase, far, g.online)
	if g.phase == warming || g.phase == measuring {
		out += fmt.Sprintf(", %.0f/s offered, %.0f/s done, %.0f/s refused, %d in flight, ring p50 %.1f p99 %.1f ms",
			g.offered, g.done, g.refused, g.inFlight, g.now[0], g.now[1])
	}
	if g.memory > 0 {
		out += fmt.Sprintf(", servers %.2f cores %.0f MB", g.cores, float64(g.memory)/1e6)
	}
	return out + fmt.Sprintf(", %d wrong", g.wrong)
}
