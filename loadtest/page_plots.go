package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"carillon/loadtest/chart"
	"carillon/loadtest/page"
)

// Bounds of a page, so that a run of a day has one too.
const (
	maxPoints    = 300 // of a line over time
	maxPageMarks = 40  // moments marked
	maxCodes     = chart.Colours - 1
	leastStretch = 0.3 // s, of a point
	plotHeight   = 230
	wideHeight   = 320
)

// stretch is some seconds of a report, for one point of a plot.
type stretch struct {
	second
	from float64 // s; At is its end
}

// thinned joins so many seconds each that few points remain, and says how many.
func thinned(all []second) (out []stretch, each int) {
	each = max(1, (len(all)+maxPoints-1)/maxPoints)
	from := 0.0
	for some := range slices.Chunk(all, each) {
		one := stretch{second: joined(some), from: from}
		if from = one.At; one.from < one.At {
			out = append(out, one)
		}
	}
	if n := len(out); n > 1 && out[n-1].At-out[n-1].from < leastStretch { // too short for a rate
		out[n-2] = stretch{second: joined([]second{out[n-2].second, out[n-1].second}), from: out[n-2].from}
		out = out[:n-1]
	}
	return out, each
}

// joined is several seconds as one: sums of what happened, the last of what stands, percentiles of all together; where a
// report has no histograms, those of the worst second.
func joined(some []second) second {
	out := some[len(some)-1]
	if len(some) == 1 {
		return out
	}
	sum := newInterval()
	out.CPU, out.Codes, out.InFlight, out.Online = 0, nil, 0, math.MaxInt
	for _, s := range some {
		sum.begun, sum.done, sum.refused, sum.wrong = sum.begun+s.Begun, sum.done+s.Done, sum.refused+s.Refused, sum.wrong+s.Failed-s.Refused
		for code, n := range s.Codes {
			sum.codes[code] += n
		}
		if h, err := decode(s.Rings, secondDigits); err == nil {
			sum.rings.Merge(h)
		}
		out.CPU += s.CPU
		out.InFlight, out.Memory, out.Online = max(out.InFlight, s.InFlight), max(out.Memory, s.Memory), min(out.Online, s.Online)
		out.RingP50, out.RingP90 = max(out.RingP50, s.RingP50), max(out.RingP90, s.RingP90)
		out.RingP99, out.RingMax = max(out.RingP99, s.RingP99), max(out.RingMax, s.RingMax)
	}
	sum.fill(&out)
	return out
}

// drawing is what all plots over time share.
type drawing struct {
	over  []stretch
	x     chart.Axis
	marks []chart.Mark
}

func (r *report) plots(over []stretch) []page.Picture {
	if len(over) == 0 {
		return nil
	}
	d := &drawing{over: over, x: chart.Time(over[len(over)-1].At)}
	for _, m := range r.Moments[:min(len(r.Moments), maxPageMarks)] {
		d.marks = append(d.marks, chart.Mark{X: m.At, Label: m.What})
	}
	var out []page.Picture
	if r.Calls.Offered > 0 {
		out = append(out, d.latencies(), d.rates(), d.linear("In flight", "calls at the end of each second", chart.Line{Name: "in flight", Fill: true, Colour: 4},
			func(s stretch) float64 { return float64(s.InFlight) }))
	}
	if r.Servers.Resident > 0 {
		out = append(out,
			d.linear("Server CPU", "cores in use", chart.Line{Name: "cores", Fill: true, Colour: 0}, func(s stretch) float64 { return s.CPU / (s.At - s.from) }),
			d.linear("Server memory", "MB resident", chart.Line{Name: "MB", Fill: true, Colour: 1}, func(s stretch) float64 { return float64(s.Memory) / 1e6 }))
	}
	if r.Calls.Offered > 0 {
		out = append(out, d.errors())
	}
	if slices.ContainsFunc(over, func(s stretch) bool { return s.Online > 0 }) {
		out = append(out, d.linear("Devices", "online, least in each second", chart.Line{Name: "online", Fill: true, Colour: 5},
			func(s stretch) float64 { return float64(s.Online) }))
	}
	if len(out)%2 == 0 && out[0].Wide { // the last one does not stand alone
		out[len(out)-1].Wide, out[len(out)-1].Plot.Width = true, 2*out[len(out)-1].Plot.Width
	}
	return out
}

// series is a figure over time; where it is not a number there is a gap.
func (d *drawing) series(l chart.Line, of func(stretch) float64) chart.Line {
	for _, s := range d.over {
		l.Points = append(l.Points, chart.Point{X: s.At, Y: of(s)})
	}
	return l
}

func (d *drawing) plot(y chart.Axis, unit string, lines ...chart.Line) *chart.Plot {
	return &chart.Plot{Width: 560, Height: plotHeight, X: d.x, Y: y, Lines: lines, Marks: d.marks, Hover: func(x float64, values []string) string {
		return chart.Clock(x) + ": " + strings.Join(values, ", ") + unit
	}}
}

func (d *drawing) linear(title, unit string, l chart.Line, of func(stretch) float64) page.Picture {
	l = d.series(l, of)
	return page.Picture{Title: title, Unit: unit, Plot: d.plot(chart.Linear(highest(l)), "", l)}
}

func highest(lines ...chart.Line) float64 {
	most := 0.0
	for _, l := range lines {
		for _, p := range l.Points {
			most = max(most, p.Y)
		}
	}
	return most
}

func (d *drawing) latencies() page.Picture {
	of := func(name string, colour int, value func(stretch) float64) chart.Line {
		return d.series(chart.Line{Name: name, Colour: colour}, value)
	}
	lines := []chart.Line{
		of("p50", 0, func(s stretch) float64 { return s.RingP50 }), of("p90", 1, func(s stretch) float64 { return s.RingP90 }),
		of("p99", 2, func(s stretch) float64 { return s.RingP99 }), of("max", 3, func(s stretch) float64 { return s.RingMax }),
	}
	least := math.Inf(1)
	for _, l := range lines {
		for _, p := range l.Points {
			if p.Y > 0 {
				least = min(least, p.Y)
			}
		}
	}
	plot := d.plot(chart.Log(least, highest(lines...)), " ms", lines...)
	plot.Width, plot.Height = 1140, wideHeight
	return page.Picture{Title: "Invite to ring", Unit: "ms, from the scheduled instant, log scale", Wide: true, Plot: plot}
}

func (d *drawing) rates() page.Picture {
	rate := func(name string, colour int, n func(stretch) int) chart.Line {
		return d.series(chart.Line{Name: name, Colour: colour}, func(s stretch) float64 { return float64(n(s)) / (s.At - s.from) })
	}
	lines := []chart.Line{
		rate("offered", 5, func(s stretch) int { return s.Begun }), rate("ended right", 1, func(s stretch) int { return s.Done }),
		rate("refused", 2, func(s stretch) int { return s.Refused }),
	}
	return page.Picture{Title: "Calls", Unit: "per second", Plot: d.plot(chart.Linear(highest(lines...)), " calls/s", lines...)}
}

// errors are the refusals by code, and the calls that went wrong.
func (d *drawing) errors() page.Picture {
	sums := map[uint32]int{}
	for _, s := range d.over {
		for code, n := range s.Codes {
			sums[code] += n
		}
	}
	codes := slices.Sorted(maps.Keys(sums))
	slices.SortStableFunc(codes, func(a, b uint32) int { return sums[b] - sums[a] })
	lines := []chart.Line{d.series(chart.Line{Name: "wrong", Colour: 3}, func(s stretch) float64 { return float64(s.Failed-s.Refused) / (s.At - s.from) })}
	for i, code := range codes[:min(len(codes), maxCodes)] {
		colour := []int{2, 0, 4, 1, 5}[i]
		lines = append(lines, d.series(chart.Line{Name: strconv.Itoa(int(code)), Colour: colour}, func(s stretch) float64 { return float64(s.Codes[code]) / (s.At - s.from) }))
	}
	return page.Picture{Title: "Refusals by code, and wrong calls", Unit: "per second", Plot: d.plot(chart.Linear(highest(lines...)), " calls/s", lines...)}
}

// distributions has a plot for each latency, all on one scale.
func (r *report) distributions() []page.Picture {
	least, most := math.Inf(1), 0.0
	type one struct {
		latency
		points []chart.Point
	}
	var all []one
	for _, l := range r.Latencies {
		h, err := decode(l.Histogram, histDigits)
		if err != nil || h.TotalCount() == 0 {
			continue // a report that has none
		}
		points := distribution(h)
		least, most = min(least, points[0].Y), max(most, points[len(points)-1].Y)
		all = append(all, one{l, points})
	}
	var out []page.Picture
	for _, o := range all {
		out = append(out, page.Picture{Title: o.Of, Unit: grouped(int(o.Count)) + " taken", Plot: &chart.Plot{
			Width: 380, Height: 190, X: chart.Percentiles(o.Count), Y: chart.Log(least, most), Lines: []chart.Line{{Name: "≤", Fill: true, Points: o.points}},
			Hover: func(x float64, values []string) string {
				return fmt.Sprintf("%.6g %% %s ms", 100*(1-math.Pow(10, -x)), strings.Join(values, ""))
			},
		}})
	}
	return out
}

// distribution is how long the quickest of each share took, in ms.
func distribution(h *hdrhistogram.Histogram) []chart.Point {
	const perNine = 12
	last := min(5, math.Log10(float64(h.TotalCount()))+0.5)
	var out []chart.Point
	for i := 0; float64(i)/perNine <= last; i++ {
		x := float64(i) / perNine
		out = append(out, chart.Point{X: x, Y: max(quantile(h, 100*(1-math.Pow(10, -x))), 0.001)})
	}
	return out
}
