package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// benchResult is what a benchmark leaves. Fields are only added.
type benchResult struct {
	Began      time.Time `json:"began"`
	Took       float64   `json:"took_s"`
	Processors int       `json:"processors"`
	Servers    string    `json:"server_processors"` // "": any
	Load       string    `json:"load_processors"`
	Go         string    `json:"go"`
	Rows       []goal    `json:"rows"`
	Findings   findings  `json:"findings"`
	Runs       []string  `json:"runs"`  // whose reports lie beside it
	Wrong      []string  `json:"wrong"` // outcomes, and parts that could not be measured
}

func (b *benchmark) result() *benchResult {
	return &benchResult{
		Began: b.began, Took: time.Since(b.began).Seconds(), Processors: runtime.NumCPU(), Servers: b.serverCPUs, Load: b.loadCPUs, Go: runtime.Version(),
		Rows: b.findings.rows(), Findings: b.findings, Runs: b.runs, Wrong: b.wrong,
	}
}

// save writes the result as JSON.
func (r *benchResult) save(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bench-"+r.Began.UTC().Format("20060102T150405Z")+".json")
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("-out: %w", err)
	}
	return path, nil
}

// print writes the table. Figures that were not measured are left out, unless that could not be.
func (r *benchResult) print(w io.Writer) error {
	b := bufio.NewWriter(w)
	lines := [][]string{{"", "first", "then", "result", ""}}
	var reasons []string
	for _, one := range r.Rows {
		if one.Result != nil || one.Why != "" {
			lines = append(lines, one.cells())
		}
		if one.Result == nil && one.Why != "" && !slices.Contains(reasons, one.Why) {
			reasons = append(reasons, one.Why)
		}
	}
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, cell := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintln(b)
	for _, l := range lines {
		var text strings.Builder
		for i, cell := range l {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch i {
			case 0:
				text.WriteString(cell + space)
			case len(l) - 1:
				text.WriteString("  " + cell)
			default:
				text.WriteString("  " + space + cell)
			}
		}
		fmt.Fprintln(b, strings.TrimRight(text.String(), " "))
	}
	fmt.Fprintf(b, "\n%s, %d processors%s, %.0f s\n", r.Go, r.Processors, r.where(), r.Took)
	for _, why := range reasons {
		fmt.Fprintf(b, "– %s\n", why)
	}
	for _, why := range r.Wrong {
		fmt.Fprintf(b, "WRONG: %s\n", why)
	}
	return b.Flush()
}

// where says on which processors.
func (r *benchResult) where() string {
	if r.Servers == "" && r.Load == "" {
		return ""
	}
	return fmt.Sprintf(" (servers on %s, load on %s)", r.Servers, r.Load)
}
