package main

import (
	"fmt"
	"maps"
	"slices"

	"carillon/loadtest/page"
)

// cards are the summary.
func (r *report) cards() []page.Card {
	c, s := r.Calls, r.Servers
	var out []page.Card
	if c.Offered > 0 {
		ring := r.latency(ringMetric.String())
		out = append(out,
			page.Card{Label: "Calls that went right", Value: grouped(c.Right), Note: fmt.Sprintf("of %s offered", grouped(c.Offered)), Bad: c.Right == 0},
			page.Card{Label: "Rate", Value: fmt.Sprintf("%.1f", c.PerSecond), Unit: "right / s", Note: fmt.Sprintf("%.1f / s offered", r.offeredPerSecond())},
			page.Card{Label: "Invite to ring, p50", Value: fmt.Sprintf("%.2f", ring.P50), Unit: "ms", Note: fmt.Sprintf("p90 %.2f ms", ring.P90)},
			page.Card{Label: "Invite to ring, p99", Value: fmt.Sprintf("%.2f", ring.P99), Unit: "ms", Note: fmt.Sprintf("p99.9 %.2f, max %.2f ms", ring.P999, ring.Max)})
	}
	if s.CPUPer1000 > 0 {
		out = append(out, page.Card{Label: "Server CPU per 1,000 calls", Value: fmt.Sprintf("%.3f", s.CPUPer1000), Unit: "s", Note: fmt.Sprintf("%.2f s in all", s.CPU)})
	} else if s.Resident > 0 {
		out = append(out, page.Card{Label: "Server CPU", Value: fmt.Sprintf("%.2f", s.CPU), Unit: "s", Note: "while measured"})
	}
	if s.Resident > 0 {
		out = append(out, page.Card{Label: "Server memory", Value: fmt.Sprintf("%.1f", float64(s.Resident)/1e6), Unit: "MB", Note: "resident, at the end"})
	}
	if s.BytesPerDevice > 0 {
		out = append(out, page.Card{Label: "Memory per idle device", Value: fmt.Sprintf("%.1f", float64(s.BytesPerDevice)/1e3), Unit: "kB"})
	}
	if c.Offered > 0 {
		refused := fmt.Sprintf("%.2f %% of the calls", 100*float64(c.Refused)/float64(c.Offered))
		out = append(out, page.Card{Label: "Refused", Value: grouped(c.Refused), Note: refused},
			page.Card{Label: "Wrong", Value: grouped(c.Wrong), Note: "every event of every call is checked", Bad: c.Wrong > 0})
	}
	if r.Audit.Calls > 0 {
		note := fmt.Sprintf("%s calls looked up in %s lists", grouped(r.Audit.Calls), grouped(r.Audit.Users))
		out = append(out, page.Card{Label: "Wrong in the users' lists", Value: grouped(r.Audit.Wrong), Note: note, Bad: r.Audit.Wrong > 0})
	}
	return append(out, page.Card{Label: "Lost connections", Value: grouped(c.Lost), Note: fmt.Sprintf("of %s devices", grouped(r.Scenario.Users)), Bad: c.Lost > 0})
}

func (r *report) offeredPerSecond() float64 {
	if r.Scenario.Duration <= 0 {
		return 0
	}
	return float64(r.Calls.Offered) / r.Scenario.Duration.Seconds()
}

func texts(all ...string) []page.Cell {
	var out []page.Cell
	for _, s := range all {
		out = append(out, page.Cell{Text: s})
	}
	return out
}

// tables are the latencies and the calls.
func (r *report) tables() []page.Table {
	latencies := page.Table{Title: "Latencies", Head: []string{"ms", "p50", "p90", "p99", "p99.9", "max", "count"}}
	ms := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	for _, l := range r.Latencies {
		latencies.Rows = append(latencies.Rows, texts(l.Of, ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max), grouped(int(l.Count))))
	}
	calls := page.Table{Title: "Calls", Head: []string{"story", "right", "refused", "wrong"}}
	for _, name := range slices.Sorted(maps.Keys(r.Outcomes)) {
		o := r.Outcomes[name]
		calls.Rows = append(calls.Rows, append(texts(name, grouped(o.Right), grouped(o.Refused)), page.Cell{Text: grouped(o.Wrong), Bad: o.Wrong > 0}))
	}
	var out []page.Table
	for _, t := range []page.Table{latencies, calls} {
		if len(t.Rows) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// sides are what one looks up.
func (r *report) sides() []page.Table {
	s, c, v := r.Scenario, r.Calls, r.Servers
	scenario := page.Table{Title: "Scenario", Rows: [][]page.Cell{
		texts("users", grouped(s.Users)), texts("rate", fmt.Sprintf("%v calls / s", s.Rate)), texts("warm-up", seconds(s.Warmup)),
		texts("measured", seconds(s.Duration)), texts("ring", seconds(s.Ring)), texts("talk", seconds(s.Talk)), texts("time-out", seconds(s.Timeout)),
		texts("patience", seconds(s.Patience)), texts("refusals allowed", fmt.Sprintf("%v %%", s.MaxRefused)),
	}}
	for _, name := range slices.Sorted(maps.Keys(s.Mix)) {
		scenario.Rows = append(scenario.Rows, texts("weight of "+name, fmt.Sprint(s.Mix[name])))
	}
	count := func(name string, n int) []page.Cell { return texts(name, grouped(n)) }
	besides := page.Table{Title: "Checked and counted besides", Rows: [][]page.Cell{
		count("calls of the warm-up", c.Warmup), count("calls looked up in the users' lists", r.Audit.Calls), count("lists read", r.Audit.Users),
		{{Text: "entries of the lists that are wrong"}, {Text: grouped(r.Audit.Wrong), Bad: r.Audit.Wrong > 0}},
		count("events told again", c.Repeats), count("events after a call's end", c.Late), count("events of no call", c.Strange),
		count("logins sent to another node", c.Redirects), count("calls not begun", c.Skipped+c.Crowded),
		texts("CPU of the load generator", fmt.Sprintf("%.2f s", v.Generator)),
	}}
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		besides.Rows = append(besides.Rows, count(fmt.Sprintf("refusals with %d", code), r.Codes[code]))
	}
	if v.Resident > 0 {
		besides.Rows = append(besides.Rows, texts("CPU per 1,000 logins", fmt.Sprintf("%.3f s", v.LoginsPer1000)))
	}
	return []page.Table{scenario, besides}
}
