package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestStrangersDoNotFillTheLog: whoever sends garbage to the membership's port makes memberlist write a line for each packet.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	l := &logLines{log: slog.New(slog.NewTextHandler(&out, nil))}
	for i := range 1000 {
		fmt.Fprintf(l, "[ERR] memberlist: msg type (%d) not supported\n", i%256)
	}
	if n := strings.Count(out.String(), "\n"); n < linesPerSecond || n > 20*linesPerSecond {
		t.Errorf("%d lines", n)
	}
	if l.room(l.second) || !l.room(l.second+1) {
		t.Error("the next second has no room, or the present one has")
	}
}
