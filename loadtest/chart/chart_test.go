package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func labels(a Axis) string {
	var out []string
	for _, t := range a.ticks {
		out = append(out, t.Label)
	}
	return strings.Join(out, "|")
}

func TestAxes(t *testing.T) {
	for _, tc := range []struct {
		name string
		axis Axis
		want string
	}{
		{"linear", Linear(198), "0|50|100|150|200"},
		{"linear, whole", Linear(200), "0|50|100|150|200"},
		{"linear, small", Linear(0.37), "0|0.1|0.2|0.3|0.4"},
		{"linear, large", Linear(123456), "0|50,000|100,000|150,000"},
		{"linear, nothing", Linear(0), "0|0.25|0.5|0.75|1"},
		{"linear, no number", Linear(math.NaN()), "0|0.25|0.5|0.75|1"},
		{"linear, without end", Linear(math.Inf(1)), "0|0.25|0.5|0.75|1"},
		{"log, close", Log(1.2, 18), "1|2|5|10|20"},
		{"log, one value", Log(3, 3), "2|5|10"},
		{"log, far apart", Log(0.3, 2500), "0.1|1|10|100|1,000|10,000"},
		{"log, nothing", Log(math.Inf(1), 0), "1|2|5|10"},
		{"time", Time(10), "0 s|2 s|4 s|6 s|8 s|10 s"},
		{"time, short", Time(0.5), "0 s|0.1 s|0.2 s|0.3 s|0.4 s|0.5 s"},
		{"time, an hour", Time(3600), "0 s|10 min|20 min|30 min|40 min|50 min|1 h"},
		{"time, a day", Time(86_400), "0 s|3 h|6 h|9 h|12 h|15 h|18 h|21 h|24 h"},
		{"time, none", Time(0), "0 s"},
		{"percentiles of few", Percentiles(10), "0|90"},
		{"percentiles", Percentiles(1000), "0|90|99|99.9"},
		{"percentiles of many", Percentiles(1e9), "0|90|99|99.9|99.99|99.999"},
	} {
		if got := labels(tc.axis); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestWords(t *testing.T) {
	for v, want := range map[float64]string{0: "0 s", 0.04: "0 s", 59.94: "59.9 s", 60: "1 min", 90: "1 min 30 s", 3600: "1 h", 4830.2: "1 h 20 min 30 s"} {
		if got := Clock(v); got != want {
			t.Errorf("Clock(%v): %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.1234: "0.123", 999: "999", 1234567: "1,234,567", -1000: "-1,000", 12.345: "12.3"} {
		if got := Short(v); got != want {
			t.Errorf("Short(%v): %s, want %s", v, got, want)
		}
	}
	if r := Rarity(99); math.Abs(r-2) > 1e-9 {
		t.Errorf("99 %% has %v nines", r)
	}
}

// A gap divides a line, and a point between two gaps is seen.
func TestGaps(t *testing.T) {
	nan := math.NaN()
	p := &Plot{Width: 100, Height: 100, X: Time(4), Y: Linear(4), Lines: []Line{{Fill: true, Points: []Point{{0, 1}, {1, nan}, {2, 2}, {3, nan}, {4, 1}}}}}
	if text := p.SVG(); strings.Count(text, "h0") != 3 || strings.Count(text, "Z") != 3 {
		t.Errorf("three points apart: %s", text)
	}
	p.Y = Log(1, 10)
	p.Lines[0].Points = []Point{{0, 0}, {1, -1}, {2, math.Inf(1)}}
	if text := p.SVG(); strings.Contains(text, "c0") {
		t.Errorf("what a logarithmic axis does not have is drawn: %s", text)
	}
}

// Labels of marks never lie over each other; what has no room keeps its title.
func TestMarks(t *testing.T) {
	p := &Plot{Width: 400, Height: 100, X: Time(100), Y: Linear(1)}
	for i := range 20 {
		p.Marks = append(p.Marks, Mark{X: 50 + float64(i), Label: "n2 is killed"})
	}
	text := p.SVG()
	if n := strings.Count(text, `class="marked"`); n != markRows {
		t.Errorf("%d labels, want %d", n, markRows)
	}
	if n := strings.Count(text, "<title>"); n != 20 {
		t.Errorf("%d titles", n)
	}
}

// Whatever it is given, a plot is well-formed, and nothing of it is not a number.
func TestAnyPlotIsWellFormed(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		value := func() float64 {
			switch r.IntN(8) {
			case 0:
				return math.NaN()
			case 1:
				return math.Inf(1 - 2*r.IntN(2))
			case 2:
				return 0
			}
			return math.Pow(10, 12*r.Float64()-6) * float64(1-2*r.IntN(2))
		}
		axes := []Axis{Linear(value()), Log(value(), value()), Time(value()), Percentiles(int64(r.IntN(1000))), {}}
		p := &Plot{
			Title: `<&">`, Width: 300, Height: 200, X: axes[r.IntN(len(axes))], Y: axes[r.IntN(len(axes))],
			Hover: func(x float64, values []string) string { return Clock(x) + `<&">` + strings.Join(values, ",") },
		}
		for i := range r.IntN(4) {
			l := Line{Name: `<&">`, Colour: i, Fill: r.IntN(2) == 0}
			for range r.IntN(20) {
				l.Points = append(l.Points, Point{value(), value()})
			}
			p.Lines = append(p.Lines, l)
			p.Marks = append(p.Marks, Mark{value(), `<&">`})
		}
		text := p.SVG()
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v in %s", seed, err, text)
			}
			if e, ok := token.(xml.StartElement); ok {
				for _, a := range e.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
						t.Fatalf("seed %d: %s=%q", seed, a.Name.Local, a.Value)
					}
				}
			}
		}
	}
}
