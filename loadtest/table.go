package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the summary.
func (r *report) print(w io.Writer) error {
	b := bufio.NewWriter(w)
	c := r.Calls
	fmt.Fprintf(b, "\n%s: %s, %d users, target %s\n\n", r.Run, r.Scenario.Name, r.Scenario.Users, r.Target)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	if c.Offered > 0 {
		fmt.Fprintf(t, "calls\tright\trefused\twrong\t\n")
		for _, s := range stories {
			if o := r.Outcomes[s.name]; o != nil {
				fmt.Fprintf(t, "%s\t%d\t%d\t%d\t\n", s.name, o.Right, o.Refused, o.Wrong)
			}
		}
		fmt.Fprintf(t, "all\t%d\t%d\t%d\t\n\n", c.Right, c.Refused, c.Wrong)
	}
	fmt.Fprintf(t, "milliseconds\tp50\tp90\tp99\tp99.9\tmax\tcount\t\n")
	for _, l := range r.Latencies {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t\n", l.Of, l.P50, l.P90, l.P99, l.P999, l.Max, l.Count)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(b)
	if c.Offered > 0 {
		fmt.Fprintf(b, "calls per second    %.1f right, %.1f offered\n", c.PerSecond, float64(c.Offered)/r.Scenario.Duration.Seconds())
	}
	r.Overload.print(b)
	r.Hostile.print(b)
	r.printServers(b)
	fmt.Fprintf(b, "checked besides     %d calls of the warm-up, %d calls in the lists of %d users\n", c.Warmup, r.Audit.Calls, r.Audit.Users)
	if c.Crowded > 0 {
		fmt.Fprintf(b, "not begun           %d calls, whose visitors found all %d seats taken\n", c.Crowded, maxVisitors)
	}
	fmt.Fprintf(b, "events              %d told again, %d after a call's end\n", c.Repeats, c.Late)
	r.printAftermath(b)
	r.printGenerator(b)
	r.printVerdict(b)
	return b.Flush()
}

func (r *report) printServers(w io.Writer) {
	s := r.Servers
	if s.Resident == 0 {
		fmt.Fprintln(w, "servers             their CPU and memory are not seen (-pids)")
		return
	}
	if s.CPUPer1000 > 0 {
		fmt.Fprintf(w, "server CPU          %.3f s per 1,000 calls, %.2f s in all\n", s.CPUPer1000, s.CPU)
	} else {
		fmt.Fprintf(w, "server CPU          %.2f s in %v\n", s.CPU, r.Scenario.Duration)
	}
	fmt.Fprintf(w, "login CPU           %.3f s per 1,000 logins, %d redirects\n", s.LoginsPer1000, r.Calls.Redirects)
	fmt.Fprintf(w, "server memory       %.1f MB resident", float64(s.Resident)/1e6)
	if s.BytesPerDevice > 0 {
		fmt.Fprintf(w, ", %.1f kB per idle device", float64(s.BytesPerDevice)/1e3)
	}
	fmt.Fprintln(w)
}

const lateGenerator = 20 // ms at p99, from which on latencies say more of the generator than of the service

func (r *report) printGenerator(w io.Writer) {
	fmt.Fprintf(w, "this program        %.2f s of CPU", r.Servers.Generator)
	if r.latency(lagMetric.String()).P99 > lateGenerator {
		fmt.Fprint(w, "; IT WAS LATE: the latencies are not the service's alone")
	}
	fmt.Fprintln(w)
}

const maxPrinted = 3 // traces on the terminal; the JSON has more

func (r *report) printVerdict(w io.Writer) {
	for i, f := range r.Failures {
		if i == maxPrinted {
			fmt.Fprintf(w, "\n(%d more in the report)\n", len(r.Failures)-i)
			break
		}
		fmt.Fprintf(w, "\nWRONG: a call that should be %s (%d): %s\n", f.Story, f.Call, f.Why)
		for role, name := range f.Cast {
			fmt.Fprintf(w, "  %c is %s\n", 'A'+role, name)
		}
		for _, l := range f.Trace {
			fmt.Fprintf(w, "  %s\n", l)
		}
	}
	for _, l := range slices.Concat(r.Lost, r.Audit.Reasons) {
		fmt.Fprintf(w, "WRONG: %s\n", l)
	}
	if len(r.Verdict) == 0 {
		fmt.Fprintf(w, "\nPASSED\n")
		return
	}
	fmt.Fprintf(w, "\nFAILED: %s\n", strings.Join(r.Verdict, "; "))
}

// figure is one number of a run, for CSV and compare.
type figure struct {
	name string
	of   func(*report) float64
}

// figures are append-only: they are the columns of runs.csv.
var figures = []figure{
	{"users", func(r *report) float64 { return float64(r.Scenario.Users) }},
	{"offered_per_s", func(r *report) float64 { return float64(r.Calls.Offered) / r.Scenario.Duration.Seconds() }},
	{"right_per_s", func(r *report) float64 { return r.Calls.PerSecond }},
	{"right", func(r *report) float64 { return float64(r.Calls.Right) }},
	{"refused", func(r *report) float64 { return float64(r.Calls.Refused) }},
	{"wrong", func(r *report) float64 { return float64(r.Calls.Wrong) }},
	{"cpu_s_per_1000", func(r *report) float64 { return r.Servers.CPUPer1000 }},
	{"login_cpu_s_per_1000", func(r *report) float64 { return r.Servers.LoginsPer1000 }},
	{"kb_per_idle_device", func(r *report) float64 { return float64(r.Servers.BytesPerDevice) / 1e3 }},
	{"resident_mb", func(r *report) float64 { return float64(r.Servers.Resident) / 1e6 }},
	{"ring_p50_ms", func(r *report) float64 { return r.latency(ringMetric.String()).P50 }},
	{"ring_p99_ms", func(r *report) float64 { return r.latency(ringMetric.String()).P99 }},
	{"told_p50_ms", func(r *report) float64 { return r.latency(toldMetric.String()).P50 }},
	{"told_p99_ms", func(r *report) float64 { return r.latency(toldMetric.String()).P99 }},
	{"lag_p99_ms", func(r *report) float64 { return r.latency(lagMetric.String()).P99 }},
	{"capacity_per_s", func(r *report) float64 { return cmp.Or(r.Overload, &pressed{}).Capacity }},
	{"goodput_of_capacity", func(r *report) float64 { return cmp.Or(r.Overload, &pressed{}).Ratio }},
	{"refused_p99_ms", func(r *report) float64 { return r.latency(refusedMetric.String()).P99 }},
	{"back_s", func(r *report) float64 { return r.Faults.slowest().Seconds }},
	{"back_login_cpu_s_per_1000", func(r *report) float64 { return r.Faults.slowest().CPUPer1000 }},
	{"fault_late_max_ms", func(r *report) float64 { return r.latency(faultLateMetric.String()).Max }},
}

func csvHeader() []string {
	columns := []string{"run", "began", "scenario", "target", "verdict"}
	for _, f := range figures {
		columns = append(columns, f.name)
	}
	return columns
}

// appendCSV adds a run's line, and the header to a new file.
func appendCSV(path string, r *report) error {
	file, fresh, err := openCSV(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := csv.NewWriter(file)
	if fresh {
		_ = w.Write(csvHeader()) // Error says it
	}
	verdict := "passed"
	if len(r.Verdict) > 0 {
		verdict = "failed"
	}
	line := []string{r.Run, r.Began.UTC().Format(time.RFC3339), r.Scenario.Name, r.Target, verdict}
	for _, f := range figures {
		line = append(line, fmt.Sprintf("%.4g", f.of(r)))
	}
	_ = w.Write(line)
	w.Flush()
	return errors.Join(w.Error(), file.Sync())
}

// openCSV opens a file with our columns, or makes one without.
func openCSV(path string) (file *os.File, fresh bool, err error) {
	if file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, false, err
	}
	first, err := csv.NewReader(file).Read()
	if errors.Is(err, io.EOF) {
		return file, true, nil
	}
	if err != nil || !slices.Equal(first, csvHeader()) {
		file.Close()
		return nil, false, fmt.Errorf("%s has other columns than this version writes: move it away", path)
	}
	return file, false, nil
}

// compare writes two runs side by side.
func compare(w io.Writer, a, b *report) error {
	if a.Scenario.Name != b.Scenario.Name {
		fmt.Fprintf(w, "these are different scenarios: %s and %s\n", a.Scenario.Name, b.Scenario.Name)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\t%s\t%s\tchange\t\n", a.Run, b.Run)
	for _, f := range figures {
		x, y := f.of(a), f.of(b)
		change := ""
		if x != 0 {
			change = fmt.Sprintf("%+.1f %%", 100*(y-x)/x)
		}
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%s\t\n", f.name, x, y, change)
	}
	return t.Flush()
}
