package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What is measured in two parts and merged is what is measured in one.
func TestMergeIsTheWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	whole, parts := newTally(10), []*tally{newTally(10), newTally(10)}
	for at := 1; at <= 5; at++ {
		for range 200 {
			part := parts[random.IntN(2)]
			s := sample{metric(random.IntN(int(metrics))), time.Duration(random.IntN(50_000)) * time.Microsecond}
			for _, one := range []*tally{whole, part} {
				one.began(true, begun)
				one.measure(true, s)
				one.now.ended(right, 0)
				if s.took > 45*time.Millisecond {
					one.now.ended(refused, tooFrequent)
				}
			}
		}
		for i, one := range []*tally{parts[0], parts[1], whole} {
			share := int64(1)
			if one == whole {
				share = 3
			}
			one.tick(second{At: float64(at) + float64(i)/10, Online: int(share), InFlight: int(share), Memory: share})
		}
	}
	as := func(tl *tally, online int) *report {
		r := &run{tally: tl, book: newBook(), crowd: &crowd{}, target: &target{about: "x"}, name: "r", measured: noon}
		r.scenario.Users, r.scenario.Rate, r.scenario.Duration = online, float64(online), time.Second
		return r.report(usage{took: time.Second}, &audit{Calls: online, Users: online})
	}
	want, err := as(whole, 3), error(nil)
	parts[0].tick(second{At: 5.2}) // what is left of a second does not make one
	for i := range parts[0].seconds {
		parts[0].seconds[i].Online, parts[0].seconds[i].InFlight, parts[0].seconds[i].Memory = 2, 2, 2
	}
	got, err := merge([]*report{as(parts[0], 2), as(parts[1], 1)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want.Seconds {
		want.Seconds[i].At = float64(i + 1)
	}
	for i := range got.Seconds { // the encoding of a histogram has its creation in it
		got.Seconds[i].Rings, want.Seconds[i].Rings = "", ""
	}
	for i := range got.Latencies {
		got.Latencies[i].Histogram, want.Latencies[i].Histogram = "", ""
	}
	if a, b := asJSON(t, got), asJSON(t, want); a != b {
		t.Errorf("merged\n%s\nthe whole\n%s", a, b)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every number of the counts is summed, those of later versions too.
func TestMergeForgetsNoCount(t *testing.T) {
	var c, sum counts
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Int:
			f.SetInt(int64(i + 1))
		case reflect.Float64:
			f.SetFloat(float64(i + 1))
		default:
			t.Fatalf("merge does not know how to sum %s", v.Type().Field(i).Name)
		}
	}
	addCounts(&sum, c)
	addCounts(&sum, c)
	for i, s := 0, reflect.ValueOf(sum); i < s.NumField(); i++ {
		if got := s.Field(i).Interface(); got != any(2*(i+1)) && got != any(float64(2*(i+1))) {
			t.Errorf("%s is %v", s.Type().Field(i).Name, got)
		}
	}
}

// The verdict is on the whole; what a part found out besides its figures stays true.
func TestMergedVerdict(t *testing.T) {
	part := func(refused int, more ...string) *report {
		r := &report{Run: "r", Calls: counts{Offered: 100, Right: 100 - refused, Refused: refused}}
		r.Scenario.MaxRefused = 10
		r.judge()
		r.Verdict = append(r.Verdict, more...)
		return r
	}
	whole, err := merge([]*report{part(15), part(0)})
	if err != nil || len(whole.Verdict) != 0 {
		t.Errorf("7.5 %% refused: %v %v", whole.Verdict, err)
	}
	whole, err = merge([]*report{part(15, "server n1: has ended by itself"), part(15)})
	if got := strings.Join(whole.Verdict, "; "); err != nil || strings.Count(got, "were refused") != 1 || !strings.Contains(got, "ended by itself") {
		t.Errorf("15 %% refused: %v %v", got, err)
	}
}

func TestMergeCommand(t *testing.T) {
	dir := t.TempDir()
	save := func(name string, at time.Duration, change func(*report)) {
		r := longRun(10)
		r.Run, r.Measured, r.Servers = name, noon.Add(at), costs{}
		if change != nil {
			change(r)
		}
		if _, err := r.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	save("r1", 0, func(r *report) { r.Servers = costs{CPU: 2, Resident: 100} })
	save("r2", 2*time.Second, nil)
	save("late", 10*time.Second, nil)
	save("other", 0, func(r *report) { r.Scenario.Ring = time.Second })
	save("metered", 0, func(r *report) { r.Servers.Resident = 1 })
	save("old", 0, func(r *report) { r.Measured = time.Time{} })
	save("bare", 0, func(r *report) { r.Latencies[0].Histogram = "" })
	var out strings.Builder
	if code, err := command(t.Context(), []string{"merge", "-out", dir, "r2", filepath.Join(dir, "r1.json")}, &out, io.Discard); err != nil || code != exitFailed {
		t.Fatal(code, err, out.String())
	}
	m, err := loadReport(dir, "m1")
	if err != nil {
		t.Fatal(err)
	}
	if m.Scenario.Users != 10_000 || m.Scenario.Rate != 400 || m.Calls.Wrong != 2 || len(m.Seconds) != 12 || m.Seconds[0].Begun != 200 || m.Seconds[4].Begun != 400 || m.Servers.CPU != 2 {
		t.Errorf("%+v, servers %+v, %d seconds", m.Calls, m.Servers, len(m.Seconds))
	}
	if m.Moments[0].At > m.Moments[1].At || len(m.Moments) != 6 {
		t.Errorf("moments %v", m.Moments)
	}
	for args, want := range map[string]string{
		"r1":         "two runs or more",
		"r1 none":    "none.json",
		"r1 r1":      "named twice",
		"r1 late":    "not measured at the same time",
		"r1 other":   "different scenarios",
		"r1 metered": "both saw the servers",
		"r1 old":     "does not say when",
		"r1 bare":    "no histogram of invite answered",
	} {
		code, err := command(t.Context(), append([]string{"merge", "-out", dir}, strings.Fields(args)...), io.Discard, io.Discard)
		if err == nil || code != exitBroken || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d %v, want %s", args, code, err, want)
		}
	}
}
