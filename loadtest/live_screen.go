package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// screen draws a panel in place at the bottom of a terminal.
type screen struct {
	out   io.Writer
	size  func() (width, height int)
	color bool
	drawn int // lines of the panel that are on the terminal
	width int // when they were drawn
	panel []row
}

// What steers the terminal.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseLine  = "\x1b[K" // from the cursor on
	eraseBelow = "\x1b[J"
	beginFrame = "\x1b[?2026h" // shown at once when it ends; a terminal that does not know it draws as it reads
	endFrame   = "\x1b[?2026l"
)

// openScreen takes a terminal over; of anything else it gives nil.
func openScreen(w io.Writer) *screen {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	size := func() (int, int) {
		width, height, err := term.GetSize(int(file.Fd()))
		if err != nil || width < 1 || height < 1 {
			return 80, 24
		}
		return width, height
	}
	s := &screen{out: w, size: size, color: os.Getenv("NO_COLOR") == ""}
	_, _ = io.WriteString(w, hideCursor)
	return s
}

// draw replaces the panel.
func (s *screen) draw(panel []row) {
	s.panel = panel
	width, height := s.size()
	var b strings.Builder
	b.WriteString(beginFrame)
	b.WriteString(s.back(width))
	panel = panel[:max(0, min(len(panel), height-1))]
	for _, r := range panel {
		b.WriteString(r.render(width-1, s.color) + eraseLine + "\n")
	}
	b.WriteString(eraseBelow + endFrame)
	s.drawn, s.width = len(panel), width
	_, _ = io.WriteString(s.out, b.String()) // a terminal that is gone ends the program by a signal
}

// back goes to the panel's first line. On a terminal that became narrower the lines have broken, and stay.
func (s *screen) back(width int) string {
	if s.drawn == 0 || width < s.width {
		return "\r"
	}
	return fmt.Sprintf("\r\x1b[%dA", s.drawn)
}

// note writes a line above the panel.
func (s *screen) note(text string) {
	width, _ := s.size()
	_, _ = io.WriteString(s.out, s.back(width)+eraseBelow+printable(text)+"\n")
	s.drawn = 0
	if s.panel != nil {
		s.draw(s.panel)
	}
}

// close takes the panel away.
func (s *screen) close() {
	width, _ := s.size()
	_, _ = io.WriteString(s.out, s.back(width)+eraseBelow+showCursor)
	s.drawn, s.panel = 0, nil
}

// render writes a row, cut off at a width. All its characters are one column wide.
func (r row) render(width int, color bool) string {
	var b strings.Builder
	for _, one := range r {
		text := []rune(printable(one.text))
		text = text[:max(0, min(len(text), width))]
		width -= len(text)
		if color && one.look != plain && len(text) > 0 {
			b.WriteString("\x1b[" + string(one.look) + "m" + string(text) + "\x1b[0m")
		} else {
			b.WriteString(string(text))
		}
	}
	return b.String()
}

// printable keeps what comes from elsewhere from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' {
			return r
		}
		return '?'
	}, text)
}
