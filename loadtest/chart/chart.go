// Package chart draws plots as SVG that stands in a page without scripts: lines over time or over percentiles, linear or
// logarithmic, with marks. It knows nothing of what the numbers mean.
//
// Colours are the page's: a line has the class c0, c1, … and the rest the classes axis, grid, mark, hover. Values are shown in
// titles, when a pointer rests on a plot.
package chart

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Colours is how many classes there are for lines, c0 and so on.
const Colours = 6

// Sizes, in units of the picture, which is scaled to its place.
const (
	left      = 52.0  // for the labels of the y axis
	right     = 14.0  // of the plot
	bottom    = 24.0  // for the labels of the x axis
	legendTop = 18.0  // height of the legend
	markRow   = 13.0  // height of a row of mark labels
	markRows  = 2     // rows of mark labels
	glyph     = 6.6   // width of a character of the small font, about
	tickGap   = 3.0   // between a label and its axis
	maxHovers = 1_000 // columns with titles
)

// Point is one value. A Y that is not a number is a gap.
type Point struct{ X, Y float64 }

// Line is a series of points in the order of their X.
type Line struct {
	Name   string
	Colour int  // 0..Colours-1
	Fill   bool // down to the x axis
	Points []Point
}

// Mark is a moment on the x axis.
type Mark struct {
	X     float64
	Label string
}

// Plot is one picture.
type Plot struct {
	Title         string // for those who cannot see it
	Width, Height float64
	X, Y          Axis
	Lines         []Line
	Marks         []Mark

	// Hover writes what a title says of all lines at one X.
	Hover func(x float64, values []string) string
}

// SVG draws the plot.
func (p *Plot) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`, number(p.Width), number(p.Height), html.EscapeString(p.Title))
	p.legend(&b)
	p.axes(&b)
	p.marks(&b)
	for _, l := range p.Lines {
		p.line(&b, l)
	}
	p.hovers(&b)
	b.WriteString("</svg>")
	return b.String()
}

func (p *Plot) top() float64 {
	if len(p.Marks) > 0 {
		return legendTop + markRow*markRows + 4
	}
	return legendTop + 6
}

func (p *Plot) x(v float64) float64 { return left + p.X.share(v)*(p.Width-left-right) }

func (p *Plot) y(v float64) float64 {
	return p.Height - bottom - p.Y.share(v)*(p.Height-bottom-p.top())
}

func (p *Plot) legend(b *strings.Builder) {
	x := left
	if len(p.Lines) < 2 {
		return
	}
	for _, l := range p.Lines {
		fmt.Fprintf(b, `<path class="line c%d" d="M%s 9h12"/><text class="key" x="%s" y="13">%s</text>`,
			l.Colour%Colours, number(x), number(x+17), html.EscapeString(l.Name))
		x += 17 + glyph*float64(len([]rune(l.Name))) + 16
	}
}

func (p *Plot) axes(b *strings.Builder) {
	end, floor := p.Width-right, p.Height-bottom
	for _, t := range p.Y.ticks {
		y := p.y(t.At)
		fmt.Fprintf(b, `<path class="grid" d="M%s %sH%s"/>`, number(left), number(y), number(end))
		fmt.Fprintf(b, `<text class="tick" text-anchor="end" x="%s" y="%s">%s</text>`, number(left-2*tickGap), number(y+3.5), html.EscapeString(t.Label))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%s %sH%s"/>`, number(left), number(floor), number(end))
	for _, t := range p.X.ticks {
		x := p.x(t.At)
		fmt.Fprintf(b, `<path class="axis" d="M%s %sv4"/>`, number(x), number(floor))
		half := glyph * float64(len([]rune(t.Label))) / 2
		fmt.Fprintf(b, `<text class="tick" text-anchor="middle" x="%s" y="%s">%s</text>`,
			number(min(x, p.Width-half)), number(floor+16), html.EscapeString(t.Label))
	}
}

// marks draws a line for each mark, and its label where there is room; otherwise its number.
func (p *Plot) marks(b *strings.Builder) {
	taken := [markRows]float64{}
	for i, m := range p.Marks {
		x, label := p.x(m.X), fmt.Sprintf("%d %s", i+1, m.Label)
		row, start, anchor := -1, 0.0, "start"
		for r := range taken {
			width := glyph*float64(len([]rune(label))) + 8
			if start, anchor = x, "start"; x+width > p.Width {
				start, anchor = x-width, "end"
			}
			if start >= taken[r] {
				taken[r], row = start+width, r
				break
			}
		}
		y := legendTop + markRow*float64(max(0, row)) + 9
		fmt.Fprintf(b, `<g><title>%s</title><path class="mark" d="M%s %sV%s"/>`,
			html.EscapeString(label), number(x), number(y-6), number(p.Height-bottom))
		if row >= 0 {
			shift := tickGap
			if anchor == "end" {
				shift = -tickGap
			}
			fmt.Fprintf(b, `<text class="marked" text-anchor="%s" x="%s" y="%s">%s</text>`, anchor, number(x+shift), number(y+1), html.EscapeString(label))
		}
		b.WriteString("</g>")
	}
}

func (p *Plot) line(b *strings.Builder, l Line) {
	var d, area strings.Builder
	floor := number(p.Height - bottom)
	first, last, open := 0.0, 0.0, false
	shut := func() {
		if open && l.Fill {
			fmt.Fprintf(&area, "L%s %sL%s %sZ", number(last), floor, number(first), floor)
		}
		open = false
	}
	for _, at := range l.Points {
		if !p.Y.has(at.Y) {
			shut()
			continue
		}
		x, y := p.x(at.X), p.y(at.Y)
		move := "L"
		if !open {
			move, first, open = "M", x, true
		}
		last = x
		fmt.Fprintf(&d, "%s%s %s", move, number(x), number(y))
		if move == "M" {
			d.WriteString("h0") // a lone point is a dot
		}
		fmt.Fprintf(&area, "%s%s %s", move, number(x), number(y))
	}
	shut()
	if l.Fill && area.Len() > 0 {
		fmt.Fprintf(b, `<path class="area c%d" d="%s"/>`, l.Colour%Colours, area.String())
	}
	if d.Len() > 0 {
		fmt.Fprintf(b, `<path class="line c%d" d="%s"/>`, l.Colour%Colours, d.String())
	}
}

// hovers lays a column over each X of the longest line, whose title has the values of all lines there.
func (p *Plot) hovers(b *strings.Builder) {
	if p.Hover == nil {
		return
	}
	var xs []float64
	for _, l := range p.Lines {
		if len(l.Points) > len(xs) {
			xs = xs[:0]
			for _, at := range l.Points {
				xs = append(xs, at.X)
			}
		}
	}
	if len(xs) > maxHovers {
		return
	}
	floor, top := p.Height-bottom, p.top()
	for i, at := range xs {
		from, to := left, p.Width-right
		if i > 0 {
			from = (p.x(xs[i-1]) + p.x(at)) / 2
		}
		if i+1 < len(xs) {
			to = (p.x(at) + p.x(xs[i+1])) / 2
		}
		var values []string
		for _, l := range p.Lines {
			for _, point := range l.Points[min(i, len(l.Points)):min(i+1, len(l.Points))] {
				if point.X == at && p.Y.has(point.Y) {
					values = append(values, l.Name+" "+Short(point.Y))
				}
			}
		}
		fmt.Fprintf(b, `<rect class="hover" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`,
			number(from), number(top), number(max(0.5, to-from)), number(floor-top), html.EscapeString(p.Hover(at, values)))
	}
}

// number is a coordinate.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}
