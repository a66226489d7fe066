package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	o, err := parseOptions(strings.Fields("-scenario mixed -users 5000 -duration 60s --spawn 3 --dsn x --server-cpus 0,2-3 -pids 7,8 -set CARILLON_A=1"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.scenario.Users != 5000 || o.scenario.Duration != time.Minute || o.scenario.Rate != 200 || o.spawn != 3 || !slices.Equal(o.pids, []int{7, 8}) {
		t.Errorf("%+v", o)
	}
	if got := cpuNumbers(o.serverCPUs); !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("processors %v", got)
	}
	if o, err = parseOptions(strings.Fields("-addr 127.0.0.1:1,127.0.0.1:2 -rate 0"), io.Discard); err != nil || len(o.addrs) != 2 || o.scenario.Rate != 0 {
		t.Errorf("%+v %v", o, err)
	}
}

func TestBadOptions(t *testing.T) {
	for line, want := range map[string]string{
		"":                                   "-spawn or -addr",
		"-spawn 1 -addr a:1":                 "-spawn or -addr",
		"-spawn 1 extra":                     "extra",
		"-spawn 1 -kill 2s":                  "faults[0].node: 2, and -spawn is 1",
		"-spawn 3 -kill 2h":                  "faults[0].at: 2h0m0s is not within the duration",
		"-addr a:1 -scenario node-kill":      "faults: are for servers",
		"-spawn 99":                          "-spawn",
		"-addr nowhere":                      "-addr nowhere",
		"-addr a:1 -dsn x":                   "-dsn",
		"-addr a:1 -pids x":                  "-pids",
		"-spawn 1 -set A=1":                  "-set A=1",
		"-spawn 1 -server-cpus x":            "-server-cpus x",
		"-spawn 1 -load-cpus 3-1":            "-load-cpus 3-1",
		"-spawn 1 -sockets 0":                "-sockets",
		"-spawn 1 -users 1":                  "users: 1",
		"-spawn 1 -scenario nothing":         "-scenario nothing",
		"-spawn 1 -scenario testdata/x.yaml": "-scenario",
		"-spawn 1 -scenario overload -workers 127.0.0.1:1": "-workers: a scenario with overload",
	} {
		if _, err := parseOptions(strings.Fields(line), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", line, err, want)
		}
	}
}
