package main

import (
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// secondDigits is the precision of a second's histogram: a hundredth, which keeps an hour's report small.
const secondDigits = 2

// interval is what happened since it was last taken.
type interval struct {
	begun   int
	done    int // right
	refused int
	wrong   int
	codes   map[uint32]int          // of refusals
	rings   *hdrhistogram.Histogram // invite to ring, µs
}

func newInterval() *interval {
	return &interval{codes: map[uint32]int{}, rings: hdrhistogram.New(histLowest, histHighest, secondDigits)}
}

// ended counts the end of a call.
func (i *interval) ended(e ending, code uint32) {
	switch e {
	case right:
		i.done++
	case refused:
		i.refused++
	default:
		i.wrong++
	}
	if code != 0 {
		i.codes[code]++
	}
}

// reset makes it empty.
func (i *interval) reset() {
	i.rings.Reset()
	clear(i.codes)
	*i = interval{codes: i.codes, rings: i.rings}
}

// fill writes what happened into a second of the report.
func (i *interval) fill(s *second) {
	s.Begun, s.Done, s.Refused, s.Failed = i.begun, i.done, i.refused, i.refused+i.wrong
	if len(i.codes) > 0 {
		s.Codes = maps.Clone(i.codes)
	}
	s.measure(i.rings)
}

// measure sets the second's percentiles.
func (s *second) measure(rings *hdrhistogram.Histogram) {
	if rings.TotalCount() == 0 {
		return
	}
	s.RingP50, s.RingP90, s.RingP99, s.RingMax = quantile(rings, 50), quantile(rings, 90), quantile(rings, 99), quantile(rings, 100)
	s.Rings = encode(rings)
}

// encode is in HdrHistogram's V2 encoding, "" of one that is empty.
func encode(h *hdrhistogram.Histogram) string {
	if h.TotalCount() == 0 {
		return ""
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "" // the figures are what counts
	}
	return string(b)
}

// decode reads what encode has written.
func decode(text string, digits int) (*hdrhistogram.Histogram, error) {
	if text == "" {
		return hdrhistogram.New(histLowest, histHighest, digits), nil
	}
	return hdrhistogram.Decode([]byte(text))
}

// pulse is what a run tells of itself once a second.
type pulse struct {
	Phase    phase          `json:"phase"`
	Elapsed  time.Duration  `json:"elapsed_ns"` // in this phase
	LoggedIn int            `json:"logged_in"`  // users that have been
	Online   int            `json:"online"`     // connections
	InFlight int            `json:"in_flight"`  // calls
	Moments  []moment       `json:"moments,omitempty"`
	Begun    int            `json:"begun"` // since the last pulse, as is all that follows
	Done     int            `json:"done"`
	Refused  int            `json:"refused"`
	Wrong    int            `json:"wrong"`
	Codes    map[uint32]int `json:"codes,omitempty"`
	Rings    string         `json:"rings,omitempty"` // histogram
}

// pulse takes what happened since the last one.
func (t *tally) pulse() pulse {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.live
	p := pulse{Begun: i.begun, Done: i.done, Refused: i.refused, Wrong: i.wrong, Codes: maps.Clone(i.codes), Rings: encode(i.rings)}
	i.reset()
	return p
}
