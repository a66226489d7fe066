package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carillon/loadtest/page"
)

// pageCommand writes the page of a run again, from its report.
func pageCommand(args []string, out, notes io.Writer) (int, error) {
	set := flag.NewFlagSet("loadtest page", flag.ContinueOnError)
	set.SetOutput(notes)
	dir := set.String("out", "data/loadtest", "directory of the reports")
	if err := set.Parse(args); err != nil {
		return exitBroken, err
	}
	if set.NArg() != 1 {
		return exitBroken, errors.New("page takes one run: its name, or its .json file")
	}
	r, err := loadReport(*dir, set.Arg(0))
	if err != nil {
		return exitBroken, err
	}
	to := *dir
	if filepath.Ext(set.Arg(0)) == ".json" {
		to = filepath.Dir(set.Arg(0))
	}
	path, err := r.savePage(to)
	if err != nil {
		return exitBroken, err
	}
	fmt.Fprintln(out, path)
	return exitPassed, nil
}

// savePage writes the report as a page.
func (r *report) savePage(dir string) (path string, err error) {
	path = filepath.Join(dir, r.Run+".html")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(r.page().Write(file), file.Close())
}

// page lays the report out.
func (r *report) page() *page.Page {
	s := r.Scenario
	p := &page.Page{
		Run: r.Run, Name: s.Name, Headline: headline(s), Description: sentence(s.Description), Target: r.Target,
		Began: r.Began.UTC().Format("2 January 2006, 15:04:05 UTC"), Command: "loadtest " + strings.Join(quoted(r.Command), " "),
		Verdict: "PASSED", Reasons: r.Verdict, Cards: r.cards(), Remarks: append(append([]string{}, r.Lost...), r.Audit.Reasons...),
	}
	if len(r.Verdict) > 0 {
		p.Verdict = "FAILED"
	}
	for i, m := range r.Moments {
		p.Moments = append(p.Moments, page.Moment{Number: i + 1, At: seconds(time.Duration(m.At * float64(time.Second))), What: m.What})
	}
	thin, each := thinned(r.Seconds)
	if each > 1 {
		p.Thinned = fmt.Sprintf("Each point stands for %d seconds.", each)
	}
	p.Plots = r.plots(thin)
	p.Distributions = r.distributions()
	p.Tables = r.tables()
	p.Sides = r.sides()
	for _, f := range r.Failures {
		p.Failures = append(p.Failures, page.Failure{
			Why: f.Why, Story: f.Story, Call: fmt.Sprint(f.Call), Cast: strings.Join(f.Cast, ", "), Trace: strings.Join(f.Trace, "\n"),
		})
	}
	return p
}

func headline(s scenario) string {
	if s.Rate == 0 {
		return fmt.Sprintf("%s: %s users, idle for %s", s.Name, grouped(s.Users), seconds(s.Duration))
	}
	return fmt.Sprintf("%s: %s users, %v calls per second for %s", s.Name, grouped(s.Users), s.Rate, seconds(s.Duration))
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

// quoted are arguments as a shell takes them.
func quoted(args []string) []string {
	var out []string
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;!#~") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return out
}
