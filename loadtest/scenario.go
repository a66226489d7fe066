package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed scenarios/*.yaml
var shipped embed.FS

// Bounds of a scenario.
const (
	maxUsers    = 200_000
	maxRate     = 100_000
	maxDuration = 24 * time.Hour
)

// scenario is what a run does, as its YAML file says it. Durations are Go's: 100ms, 5s.
type scenario struct {
	Name        string         `yaml:"-" json:"name"`
	Description string         `yaml:"description" json:"description"`
	Users       int            `yaml:"users" json:"users"`                 // logged in, each on a connection of his own
	Rate        float64        `yaml:"rate" json:"rate"`                   // calls per second; 0: none, the users are idle
	Warmup      time.Duration  `yaml:"warmup" json:"warmup_ns"`            // at half the rate, before what is measured
	Duration    time.Duration  `yaml:"duration" json:"duration_ns"`        // what is measured
	Ring        time.Duration  `yaml:"ring" json:"ring_ns"`                // from the ring to the answer or the cancel
	Talk        time.Duration  `yaml:"talk" json:"talk_ns"`                // between the later steps of a call
	Timeout     time.Duration  `yaml:"timeout" json:"timeout_ns"`          // of an invitation, whole seconds
	Patience    time.Duration  `yaml:"patience" json:"patience_ns"`        // until a step not heard by all is a failure
	Mix         map[string]int `yaml:"mix" json:"mix,omitempty"`           // weight by story
	MaxRefused  float64        `yaml:"max_refused" json:"max_refused"`     // percent of the calls that may be refused as too frequent
	AuditCalls  int            `yaml:"audit_calls" json:"audit_calls"`     // calls looked up in the users' lists at the end
	Overload    float64        `yaml:"overload" json:"overload,omitempty"` // times the capacity, which is looked for from the rate on; 0: the rate is what is offered
	Hostile     int            `yaml:"hostile" json:"hostile,omitempty"`   // users who flood the servers; the others are measured without them before

	Faults        []fault       `yaml:"faults" json:"faults,omitempty"`                 // done to the servers; they make it lenient
	Lenient       bool          `yaml:"lenient" json:"lenient"`                         // a lost connection is replaced, and no failure
	FaultPatience time.Duration `yaml:"fault_patience" json:"fault_patience_ns"`        // instead of patience, after a fault
	FaultLate     time.Duration `yaml:"fault_late" json:"fault_late_ns"`                // a time-out may be heard so late after a fault (SPEC 9.5)
	MaxGrowth     float64       `yaml:"max_growth" json:"max_growth_percent,omitempty"` // of the servers' memory, first to last quarter; 0: any
}

// shippedNames lists the scenarios in the binary.
func shippedNames() []string {
	files, _ := fs.Glob(shipped, "scenarios/*.yaml") // the pattern is good
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return files
}

// loadScenario reads a shipped scenario by its name, or a file whose name ends in .yaml.
func loadScenario(name string) (scenario, error) {
	var b []byte
	var err error
	if strings.HasSuffix(name, ".yaml") {
		b, err = os.ReadFile(name)
	} else if b, err = shipped.ReadFile("scenarios/" + name + ".yaml"); errors.Is(err, fs.ErrNotExist) {
		return scenario{}, fmt.Errorf("-scenario %s: there are %s, or name a .yaml file", name, strings.Join(shippedNames(), ", "))
	}
	if err != nil {
		return scenario{}, fmt.Errorf("-scenario: %w", err)
	}
	s, err := parseScenario(b)
	if err != nil {
		return s, fmt.Errorf("scenario %s: %w", name, err)
	}
	s.Name = strings.TrimSuffix(path.Base(name), ".yaml")
	return s, nil
}

// parseScenario takes one document with known keys only. It is not checked: the command line may still change it.
func parseScenario(b []byte) (scenario, error) {
	s := scenario{Talk: 50 * time.Millisecond, Patience: 5 * time.Second, Timeout: 30 * time.Second, FaultPatience: 25 * time.Second, FaultLate: 5 * time.Second}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if err := d.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return s, errors.New("more than one document")
	}
	return s, nil
}

// check names the first key that is out of its range.
func (s *scenario) check() error {
	for _, one := range []struct {
		key      string
		v        time.Duration
		min, max time.Duration
	}{
		{"warmup", s.Warmup, 0, maxDuration},
		{"duration", s.Duration, 100 * time.Millisecond, maxDuration},
		{"ring", s.Ring, 0, time.Minute},
		{"talk", s.Talk, 0, time.Minute},
		{"timeout", s.Timeout, time.Second, 10 * time.Minute},
		{"patience", s.Patience, 100 * time.Millisecond, 10 * time.Minute},
		{"fault_late", s.FaultLate, 0, 10 * time.Minute},
		{"fault_patience", s.FaultPatience, time.Second, 10 * time.Minute},
	} {
		if one.v < one.min || one.v > one.max {
			return fmt.Errorf("%s: %v is not within %v..%v", one.key, one.v, one.min, one.max)
		}
	}
	switch {
	case s.Timeout%time.Second != 0:
		return fmt.Errorf("timeout: %v is not in whole seconds", s.Timeout)
	case s.Users < maxCast || s.Users > maxUsers:
		return fmt.Errorf("users: %d is not within %d..%d", s.Users, maxCast, maxUsers)
	case s.Rate < 0 || s.Rate > maxRate:
		return fmt.Errorf("rate: %v is not within 0..%d", s.Rate, maxRate)
	case s.MaxRefused < 0 || s.MaxRefused > 100:
		return fmt.Errorf("max_refused: %v is no percentage", s.MaxRefused)
	case s.Overload != 0 && (s.Overload < 1 || s.Overload > maxOverload || s.Rate <= 0):
		return fmt.Errorf("overload: %v is not within 1..%d, or there is no rate to begin with", s.Overload, maxOverload)
	case s.Hostile < 0 || s.Hostile > maxHostile || s.Hostile > 0 && (s.Rate <= 0 || s.Overload > 0):
		return fmt.Errorf("hostile: %d is not within 0..%d, or there are no calls to disturb, or an overload besides", s.Hostile, maxHostile)
	case s.AuditCalls < 0 || s.AuditCalls > maxAudit:
		return fmt.Errorf("audit_calls: %d is not within 0..%d", s.AuditCalls, maxAudit)
	case s.Ring >= s.Timeout:
		return fmt.Errorf("ring: %v is not below timeout, %v", s.Ring, s.Timeout)
	}
	if s.Lenient || len(s.Faults) > 0 {
		if s.Timeout > mostLenient {
			return fmt.Errorf("timeout: %v is above %v, which a device that comes back late needs to be still in grace", s.Timeout, mostLenient)
		}
	}
	if s.MaxGrowth < 0 {
		return fmt.Errorf("max_growth: %v is negative", s.MaxGrowth)
	}
	return errors.Join(s.checkFaults(), s.checkMix())
}

// mostLenient is below a device's grace (SPEC 5: 35 s), so that no call is cancelled because its caller is away.
const mostLenient = 30 * time.Second

func (s *scenario) checkMix() error {
	sum := 0
	for name, weight := range s.Mix {
		if storyNamed(name) == nil {
			var names []string
			for _, one := range stories {
				names = append(names, one.name)
			}
			return fmt.Errorf("mix.%s: there are %s", name, strings.Join(names, ", "))
		}
		if weight < 0 || weight > 1000 {
			return fmt.Errorf("mix.%s: %d is not within 0..1000", name, weight)
		}
		sum += weight
	}
	if s.Rate > 0 && sum == 0 {
		return errors.New("mix: names no calls, but there is a rate")
	}
	return nil
}

func (s *scenario) timing() timing {
	return timing{ring: s.Ring, talk: s.Talk, timeout: s.Timeout, patience: s.Patience, faultPatience: s.FaultPatience, late: s.FaultLate}
}
