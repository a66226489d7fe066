package chart

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const maxTicks = 8 // of an axis of time

// Tick is a place on an axis that has a label.
type Tick struct {
	At    float64
	Label string
}

// Axis maps values to a share of its length.
type Axis struct {
	min, max float64
	log      bool
	ticks    []Tick
}

// has reports whether a value can be shown.
func (a Axis) has(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!a.log || v > 0)
}

// share is where a value is, from 0 to 1; what lies outside is at the end.
func (a Axis) share(v float64) float64 {
	low, high := a.min, a.max
	if a.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(max(v, a.min))
	}
	if high <= low {
		return 0
	}
	return min(1, max(0, (v-low)/(high-low)))
}

// Linear goes from 0 to at least most, with about four ticks.
func Linear(most float64) Axis {
	if !positive(most) {
		most = 1
	}
	step := nice(most / 4)
	a := Axis{max: math.Ceil(most/step-1e-9) * step}
	for i := 0; float64(i)*step <= a.max*(1+1e-9); i++ {
		a.ticks = append(a.ticks, Tick{float64(i) * step, Short(float64(i) * step)})
	}
	return a
}

// positive reports whether a number is a finite one above 0.
func positive(v float64) bool { return v > 0 && !math.IsInf(v, 0) }

// nice is the next larger of 1, 2, 2.5 and 5 times a power of ten.
func nice(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if v <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// Log covers two positive values with steps of 1, 2 and 5 when they are close, and powers of ten otherwise.
func Log(least, most float64) Axis {
	if !positive(least) || !positive(most) {
		least, most = 1, 10
	}
	most = max(most, 2*least)
	steps := []float64{1, 2, 5}
	if most/least > 300 {
		steps = steps[:1]
	}
	a := Axis{log: true, min: least, max: most}
	var all []float64
	for e := math.Floor(math.Log10(least)) - 1; e <= math.Ceil(math.Log10(most))+1; e++ {
		for _, s := range steps {
			all = append(all, s*math.Pow(10, e))
		}
	}
	low, high := 0, len(all)-1
	for low+1 < len(all) && all[low+1] <= least*(1+1e-9) {
		low++
	}
	for high > 0 && all[high-1] >= most*(1-1e-9) {
		high--
	}
	a.min, a.max = all[low], all[high]
	for _, v := range all[low : high+1] {
		a.ticks = append(a.ticks, Tick{v, Short(v)})
	}
	return a
}

// Time goes from 0 to so many seconds.
func Time(most float64) Axis {
	if !positive(most) {
		most = 1e-3
	}
	a := Axis{max: most}
	step := 0.1
	for _, s := range []float64{0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200} {
		if a.max/step <= maxTicks {
			break
		}
		step = s
	}
	for a.max/step > maxTicks {
		step *= 2
	}
	for i := 0; float64(i)*step <= a.max*(1+1e-9); i++ {
		a.ticks = append(a.ticks, Tick{float64(i) * step, Clock(float64(i) * step)})
	}
	return a
}

// Clock writes seconds: 0.5 s, 45 s, 1 min 30 s, 2 h.
func Clock(s float64) string {
	if !(s >= 0) || s < 60 {
		return strconv.FormatFloat(math.Round(s*10)/10, 'f', -1, 64) + " s"
	}
	var out []string
	rest := int(math.Round(s))
	for _, unit := range []struct {
		name string
		of   int
	}{{"h", 3600}, {"min", 60}, {"s", 1}} {
		if n := rest / unit.of; n > 0 {
			out = append(out, fmt.Sprint(n, " ", unit.name))
		}
		rest %= unit.of
	}
	return strings.Join(out, " ")
}

// Percentiles is for values of Rarity, as far as so many values tell of it, and up to 99.999 %.
func Percentiles(count int64) Axis {
	a := Axis{max: 1}
	for i, label := range []string{"0", "90", "99", "99.9", "99.99", "99.999"} {
		if i > 1 && math.Pow(10, float64(i)) > 2*float64(max(count, 1)) {
			break
		}
		a.max = float64(max(i, 1))
		a.ticks = append(a.ticks, Tick{float64(i), label})
	}
	return a
}

// Rarity is where a percentile stands on the axis of Percentiles: each nine is one more.
func Rarity(percent float64) float64 { return -math.Log10(max(1-percent/100, 1e-9)) }

// Short writes a number with three digits, and its thousands apart.
func Short(v float64) string {
	if math.Abs(v) < 1000 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
