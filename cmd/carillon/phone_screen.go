package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"
)

// style is how a line looks on a terminal; elsewhere all lines are plain.
type style string

// The styles: ANSI codes.
const (
	plain  style = ""
	dim    style = "2"
	bold   style = "1"
	green  style = "32"
	red    style = "31"
	yellow style = "33"
	alarm  style = "1;97;41"
	alarm2 style = "1;91;40"
)

// screen writes lines, one at a time, with the time of day before each. On a terminal it keeps the prompt, with what was
// typed, below them. Its methods may be called from any goroutine.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	now     func() time.Time
	color   bool
	term    *term.Terminal // nil: not a terminal
	prompt  string
	restore func()
	width   int
}

// newScreen takes over standard input and output. The input is for a phone that is no terminal.
func newScreen(user string) (*screen, io.Reader) {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	s := &screen{out: os.Stdout, now: time.Now, color: term.IsTerminal(out) && os.Getenv("NO_COLOR") == "", restore: func() {}}
	if !term.IsTerminal(in) || !term.IsTerminal(out) {
		return s, os.Stdin
	}
	old, err := term.MakeRaw(in)
	if err != nil {
		return s, os.Stdin
	}
	s.restore = func() { _ = term.Restore(in, old) }
	s.prompt = user + "> "
	s.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stdout}, s.prompt)
	s.resize()
	return s, os.Stdin
}

// close gives the terminal back as it was.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term != nil {
		_, _ = io.WriteString(s.out, "\r\x1b[K") // the prompt
	}
	s.restore()
	s.term = nil
}

// interactive reports whether a person types.
func (s *screen) interactive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term != nil
}

// reader gives the next typed line; io.EOF at Control-C and Control-D.
func (s *screen) reader() (string, error) {
	s.mu.Lock()
	t := s.term
	s.mu.Unlock()
	if t == nil {
		return "", io.EOF
	}
	return t.ReadLine()
}

// line writes one line. What came over the network cannot steer the terminal: control characters are replaced.
func (s *screen) line(look style, format string, args ...any) {
	text := clean(fmt.Sprintf(format, args...))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(s.paint(dim, s.now().Format("15:04:05")) + "  " + s.paint(look, text) + "\n")
}

// status sets the prompt to a banner and what comes before the cursor, and rings the bell if asked. Without a terminal it
// does nothing.
func (s *screen) status(look style, banner, prompt string, bell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.term == nil {
		return
	}
	s.resize()
	next := clean(prompt)
	if banner != "" {
		next = s.paint(look, clean(banner)) + " " + next
	}
	if next == s.prompt && !bell {
		return
	}
	s.prompt = next
	s.term.SetPrompt(next)
	if bell {
		s.write("\a")
	} else {
		s.write("") // draws the prompt anew
	}
}

func (s *screen) write(text string) {
	if s.term != nil {
		_, _ = io.WriteString(s.term, text) // a terminal that is gone ends the reading too
		return
	}
	_, _ = io.WriteString(s.out, text)
}

func (s *screen) paint(look style, text string) string {
	if !s.color || look == plain {
		return text
	}
	return "\x1b[" + string(look) + "m" + text + "\x1b[0m"
}

func (s *screen) resize() {
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width <= 0 || width == s.width {
		return
	}
	if s.term.SetSize(width, height) == nil {
		s.width = width
	}
}

func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' {
			return '?'
		}
		return r
	}, text)
}
