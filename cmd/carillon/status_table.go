package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"carillon/cluster"
)

// How wide the table may be, and how narrow names, versions and addresses may become for that, in characters.
const (
	tableWidth  = 100
	narrowest   = 12
	betweenCols = 2
)

// columns of the table of members.
var columns = []struct {
	title    string
	number   bool // to the right
	flexible int  // may be cut: the highest first; 0 = never
}{
	{title: "NAME", flexible: 1},
	{title: "VERSION", flexible: 2},
	{title: "STATE"},
	{title: "CLIENTS", flexible: 1},
	{title: "SHARDS", number: true},
	{title: "CALLS", number: true},
	{title: "DEVICES", number: true},
	{title: "STORE"},
}

// table is the status for people. What came over the network cannot steer the terminal.
func (s Status) table() string {
	var rows [][]string
	var head []string
	for _, c := range columns {
		head = append(head, c.title)
	}
	rows = append(rows, head)
	for _, m := range s.Members {
		rows = append(rows, m.row())
	}
	var out strings.Builder
	widths := fit(rows)
	for _, row := range rows {
		out.WriteString(line(row, widths) + "\n")
	}
	out.WriteString("\n")
	for _, m := range s.Members {
		if ill := m.illness(); ill != "" {
			fmt.Fprintf(&out, "%s: %s\n", clean(m.Name), clean(ill))
		}
	}
	fmt.Fprintf(&out, "%s\n%s\n", clean(s.agreement()), clean(s.totals()))
	return out.String()
}

func (m MemberStatus) row() []string {
	row := []string{m.Name, m.Version, m.State, m.Client, strconv.Itoa(m.Shards), strconv.Itoa(sum(m.OpenCalls)), strconv.Itoa(m.Devices), m.Store}
	switch {
	case m.Error != "":
		row[5], row[6], row[7] = "-", "-", "no answer"
	case m.Store != "ok":
		row[7] = "not ok"
	}
	for i := range row {
		if row[i] = clean(row[i]); row[i] == "" {
			row[i] = "-"
		}
	}
	return row
}

// illness is what the table has no room for.
func (m MemberStatus) illness() string {
	switch {
	case m.Error != "":
		return "no answer: " + m.Error
	case m.Store != "ok":
		return "store: " + m.Store
	}
	return ""
}

// agreement says whether the members see the same cluster.
func (s Status) agreement() string {
	if s.View == "" {
		if len(s.Members) == 0 {
			return s.Node + " has not joined its cluster yet"
		}
		return s.Node + " is not in a cluster"
	}
	var others []string
	for _, m := range s.Members {
		switch {
		case m.Error != "":
			others = append(others, m.Name+" did not answer")
		case m.View == "":
			others = append(others, m.Name+" has none")
		case m.View != s.View:
			others = append(others, m.Name+" has "+m.View)
		}
	}
	if len(others) > 0 {
		return fmt.Sprintf("view %s of %s, but %s", s.View, s.Node, strings.Join(others, ", "))
	}
	if len(s.Members) == 1 {
		return fmt.Sprintf("view %s, %s alone", s.View, s.Node)
	}
	return fmt.Sprintf("view %s, all %d members agree", s.View, len(s.Members))
}

func (s Status) totals() string {
	shards, devices, calls := 0, 0, map[string]int{}
	for _, m := range s.Members {
		shards, devices = shards+m.Shards, devices+m.Devices
		for doing, n := range m.OpenCalls {
			calls[doing] += n
		}
	}
	return fmt.Sprintf("%d of %d shards, %s, %s", shards, cluster.Shards, inWords(calls), counted(devices, "device"))
}

// inWords is "5 open calls (2 ringing, 3 answered)".
func inWords(calls map[string]int) string {
	var parts []string
	order := []string{"ringing", "answered", "ending", "resting"}
	for _, doing := range slices.Sorted(maps.Keys(calls)) {
		if !slices.Contains(order, doing) {
			order = append(order, doing)
		}
	}
	for _, doing := range order {
		if calls[doing] != 0 {
			parts = append(parts, fmt.Sprint(calls[doing], " ", doing))
		}
	}
	if len(parts) == 0 {
		return counted(0, "open call")
	}
	return counted(sum(calls), "open call") + " (" + strings.Join(parts, ", ") + ")"
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprint(n, " ", what, "s")
}

func sum(calls map[string]int) int {
	total := 0
	for _, n := range calls {
		total += n
	}
	return total
}

// fit gives the columns' widths: as the rows need them, and less where that is too much.
func fit(rows [][]string) []int {
	widths := make([]int, len(columns))
	total := betweenCols * (len(columns) - 1)
	for i := range columns {
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i]
	}
	for ; total > tableWidth; total-- {
		next := -1
		for i, c := range columns {
			if c.flexible == 0 || widths[i] <= narrowest {
				continue
			}
			if next < 0 || c.flexible > columns[next].flexible || c.flexible == columns[next].flexible && widths[i] > widths[next] {
				next = i
			}
		}
		if next < 0 {
			break
		}
		widths[next]--
	}
	return widths
}

func line(row []string, widths []int) string {
	var cells []string
	for i, text := range row {
		if runes := []rune(text); len(runes) > widths[i] {
			text = string(runes[:widths[i]-1]) + "…"
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
		if columns[i].number {
			text = pad + text
		} else {
			text += pad
		}
		cells = append(cells, text)
	}
	return strings.TrimRight(strings.Join(cells, strings.Repeat(" ", betweenCols)), " ")
}
