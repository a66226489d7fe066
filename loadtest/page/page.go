// Package page writes one self-contained HTML page of a load test: no scripts, no resources from elsewhere, light and dark,
// fit for print. It lays out what it is given; what the figures mean is its caller's.
package page

import (
	_ "embed"
	"html/template"
	"io"

	"carillon/loadtest/chart"
)

//go:embed page.html
var source string

var layout = template.Must(template.New("page").Parse(source))

// Page is all that stands on it. Sections without content are left out.
type Page struct {
	Run, Name, Headline, Description, Began, Target, Command string

	Verdict string   // in a word
	Reasons []string // why it is a bad one

	Cards         []Card
	Moments       []Moment
	Plots         []Picture // over time
	Thinned       string    // what one point stands for, when it is not a second
	Tables        []Table
	Distributions []Picture
	Failures      []Failure
	Remarks       []string
	Sides         []Table // two to a row, without heads
}

// Card is one figure of the summary.
type Card struct {
	Label, Value, Unit, Note string
	Bad                      bool
}

// Moment is one of the marks that the plots have.
type Moment struct {
	Number   int
	At, What string
}

// Picture is a plot with its title above it.
type Picture struct {
	Title, Unit string
	Wide        bool // as wide as the page
	Plot        *chart.Plot
}

// SVG is the plot, as the template takes it: chart escapes all text.
func (p Picture) SVG() template.HTML {
	p.Plot.Title = p.Title + ", " + p.Unit
	return template.HTML(p.Plot.SVG())
}

// Table has a head, or none.
type Table struct {
	Title string
	Head  []string
	Rows  [][]Cell
}

// Cell is one of a table.
type Cell struct {
	Text string
	Bad  bool
}

// Failure is a call that went wrong, with its trace, a line for each event.
type Failure struct{ Why, Story, Call, Cast, Trace string }

// Write writes the page.
func (p *Page) Write(w io.Writer) error { return layout.Execute(w, p) }
