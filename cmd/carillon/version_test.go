package main

import (
	"bytes"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	info := func(main string, settings ...debug.BuildSetting) func() (*debug.BuildInfo, bool) {
		return func() (*debug.BuildInfo, bool) {
			return &debug.BuildInfo{Main: debug.Module{Version: main}, Settings: settings}, true
		}
	}
	none := func() (*debug.BuildInfo, bool) { return nil, false }
	for _, tc := range []struct {
		linked, want string
		read         func() (*debug.BuildInfo, bool)
	}{
		{"v1.2.3", "v1.2.3", none},
		{"", "unknown", none},
		{"", "v1.0.0", info("v1.0.0")},
		{"", "abc", info("(devel)", debug.BuildSetting{Key: "vcs.revision", Value: "abc"})},
		{"", "devel", info("")},
	} {
		if got := versionOf(tc.linked, tc.read); got != tc.want {
			t.Errorf("linked %q: %q, want %q", tc.linked, got, tc.want)
		}
	}
}

func TestVersionCommand(t *testing.T) {
	var out bytes.Buffer
	command := root()
	command.SetOut(&out)
	command.SetArgs([]string{"version"})
	if err := command.Execute(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "carillon ") {
		t.Errorf("printed %q", out.String())
	}
}
