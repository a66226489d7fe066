package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// maxLine is how much of a line is kept back until it is whole, in bytes.
const maxLine = 64 << 10

// lines puts what several programs write onto one output, line by line.
type lines struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
}

func newLines(out *os.File) *lines {
	return &lines{out: out, color: term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// say writes a line of our own.
func (l *lines) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, format+"\n", args...)
}

// named gives a writer that puts a name before each line.
func (l *lines) named(name string, s style) *namedWriter {
	prefix := name + " | "
	if l.color {
		prefix = "\x1b[" + string(s) + "m" + name + " |\x1b[0m "
	}
	return &namedWriter{lines: l, prefix: prefix}
}

// namedWriter is one program's way to lines. It belongs to one goroutine.
type namedWriter struct {
	lines  *lines
	prefix string
	rest   []byte // of a line that has not ended
}

// Write is io.Writer's.
func (w *namedWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		n := bytes.IndexByte(w.rest, '\n')
		if n < 0 && len(w.rest) < maxLine {
			return len(p), nil
		}
		line := w.rest[:max(n, 0)]
		if n < 0 {
			line, n = w.rest, len(w.rest)-1
		}
		w.lines.say("%s%s", w.prefix, line)
		w.rest = append(w.rest[:0], w.rest[n+1:]...)
	}
}
