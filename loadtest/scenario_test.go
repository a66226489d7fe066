package main

import (
	"strings"
	"testing"
	"time"
)

func TestShippedScenarios(t *testing.T) {
	names := shippedNames()
	if len(names) < 3 {
		t.Fatalf("there are %v", names)
	}
	for _, name := range names {
		s, err := loadScenario(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := s.check(); err != nil || s.Name != name || s.Description == "" {
			t.Errorf("%s: %v (%q)", name, err, s.Description)
		}
	}
}

// The mix is in percent, and has every story.
func TestMixed(t *testing.T) {
	s, err := loadScenario("mixed")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, one := range stories {
		sum += s.Mix[one.name]
		if s.Mix[one.name] == 0 {
			t.Errorf("%s is not in the mix", one.name)
		}
	}
	if sum != 100 {
		t.Errorf("the mix is %d %%", sum)
	}
}

func TestParseScenario(t *testing.T) {
	s, err := parseScenario([]byte("users: 10\nrate: 2.5\nduration: 1m30s\nring: 100ms\nmix: {answered: 1, group: 3}\n"))
	if err != nil || s.check() != nil {
		t.Fatal(err, s.check())
	}
	if s.Users != 10 || s.Rate != 2.5 || s.Duration != 90*time.Second || s.Mix["group"] != 3 || s.Patience != 5*time.Second {
		t.Errorf("%+v", s)
	}
}

func TestBadScenarios(t *testing.T) {
	const good = "users: 10\nrate: 1\nduration: 1s\nmix: {answered: 1}\n"
	for doc, want := range map[string]string{
		good + "overload: 0.5\n":                                "overload: 0.5",
		good + "overload: 11\n":                                 "overload: 11",
		good + "hostile: 17\n":                                  "hostile: 17",
		good + "hostile: 1\noverload: 2\n":                      "hostile: 1",
		good + "speed: 3\n":                                     "speed",
		good + "ring: fast\n":                                   "fast",
		good + "---\nusers: 3\n":                                "more than one document",
		"":                                                      "EOF",
		good + "ring: 2m\n":                                     "ring: 2m0s",
		good + "timeout: 1500ms\n":                              "timeout: 1.5s is not in whole seconds",
		good + "ring: 40s\n":                                    "ring: 40s is not below timeout",
		good + "max_refused: 101\n":                             "max_refused",
		good + "audit_calls: -1\n":                              "audit_calls",
		good + "patience: 1ms\n":                                "patience",
		good + "faults: [{do: burn}]\n":                         "faults[0].do: \"burn\" is none of kill",
		good + "faults: [{do: kill}]\n":                         "faults[0].node: 0",
		good + "faults: [{do: kill, node: 1, at: 1s}]\n":        "faults[0].at: 1s is not within the duration",
		good + "faults: [{do: stop, node: 1}]\n":                "faults[0].back: a node that is stopped",
		good + "faults: [{do: rolling, node: 1}]\n":             "faults[0].node: rolling is about all",
		good + "faults: [{do: rolling, back: -1s}]\n":           "faults[0].back",
		good + "faults: [{do: rolling, every: 1ms}]\n":          "faults[0].every",
		good + "faults: [{do: kill, node: 1, every: 2s}]\n":     "faults[0].back: a node that is killed again",
		good + "lenient: true\ntimeout: 60s\n":                  "timeout: 1m0s is above 30s",
		good + "max_growth: -1\n":                               "max_growth",
		good + "fault_patience: 1ms\n":                          "fault_patience",
		good + "fault_late: -1s\n":                              "fault_late",
		"users: 2\nduration: 1s\n":                              "users: 2",
		"users: 10\nrate: -1\nduration: 1s":                     "rate: -1",
		"users: 10\n":                                           "duration",
		"users: 10\nrate: 1\nduration: 1s\nmix: {shouted: 3}":   "mix.shouted: there are answered",
		"users: 10\nrate: 1\nduration: 1s\nmix: {answered: -3}": "mix.answered",
		"users: 10\nrate: 1\nduration: 1s\n":                    "mix: names no calls",
	} {
		s, err := parseScenario([]byte(doc))
		if err == nil {
			err = s.check()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", doc, err, want)
		}
	}
	if _, err := loadScenario("nothing"); err == nil || !strings.Contains(err.Error(), "setup") {
		t.Errorf("error %v", err)
	}
}
