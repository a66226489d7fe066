package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Bounds of a run that several processes share.
const (
	maxWorkers = 64
	maxAddrs   = 64
)

// job is a worker's part of a run: a scenario of its own, between its own users. A call is between users of one worker, which
// must hear all of its devices to check it.
type job struct {
	Run      string        `json:"run"` // unique; prefix of the users' IDs
	Scenario scenario      `json:"scenario"`
	Addrs    []string      `json:"addrs"`
	Seed     uint64        `json:"seed"`
	Sockets  int           `json:"sockets"`
	Tokens   bool          `json:"tokens"`   // the servers ask for them
	Delay    time.Duration `json:"delay_ns"` // of its first call, so that the parts' calls are spread evenly
}

// order is a frame of the coordinator. The first has the job.
type order struct {
	Job   *job  `json:"job,omitempty"`
	Begin phase `json:"begin,omitempty"` // this phase; none: the coordinator is still there
}

// word is a frame of a worker: how it stands, and one of the others.
type word struct {
	Pulse  *pulse  `json:"pulse,omitempty"`
	Awaits phase   `json:"awaits,omitempty"` // the phase that it is ready to begin
	Report *report `json:"report,omitempty"` // the last frame
	Failed string  `json:"failed,omitempty"` // the last frame, if the run could not be done
}

// parted divides a run among so many workers: all is shared out evenly, and the sum is the whole.
func parted(whole job, workers int) ([]job, error) {
	s := whole.Scenario
	if least := maxCast * workers; s.Users < least {
		return nil, fmt.Errorf("users: %d are too few for %d workers, each needs %d for its own calls", s.Users, workers, maxCast)
	}
	share := func(n, i int) int { return (n*(i+1))/workers - n*i/workers }
	var out []job
	for i := range workers {
		j := whole
		j.Run = fmt.Sprint(whole.Run, "w", i+1)
		j.Scenario.Users, j.Scenario.AuditCalls, j.Scenario.Rate = share(s.Users, i), share(s.AuditCalls, i), s.Rate/float64(workers)
		j.Seed += uint64(i)
		if s.Rate > 0 {
			j.Delay = time.Duration(float64(i) / s.Rate * float64(time.Second))
		}
		out = append(out, j)
	}
	return out, nil
}

var runName = regexp.MustCompile(`^[a-z0-9]{1,30}$`)

// check says what of a job cannot be.
func (j *job) check() error {
	switch {
	case !runName.MatchString(j.Run):
		return fmt.Errorf("run: %.40q is no name of a run", j.Run)
	case len(j.Addrs) < 1 || len(j.Addrs) > maxAddrs:
		return fmt.Errorf("addrs: %d are not within 1..%d", len(j.Addrs), maxAddrs)
	case j.Sockets < 1 || j.Sockets > maxSockets:
		return fmt.Errorf("sockets: %d is not within 1..%d", j.Sockets, maxSockets)
	case j.Delay < 0 || j.Delay > maxDuration:
		return fmt.Errorf("delay: %v is not within 0..%v", j.Delay, maxDuration)
	}
	if err := j.Scenario.check(); err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	return nil
}

// program tells builds apart that would not mean the same: by what they play and what they report.
func program() string {
	sum := sha256.New()
	for _, s := range stories {
		fmt.Fprintln(sum, s)
	}
	fmt.Fprintf(sum, "%#v %#v %#v", job{}, report{}, pulse{})
	return fmt.Sprintf("%x", sum.Sum(nil)[:6])
}

// phaseWithin is how long a phase of a part may take until the run is given up.
func (r *run) phaseWithin(p phase) time.Duration {
	const slack = 30 * time.Second
	s := r.scenario
	switch p {
	case loggingIn:
		return time.Minute + time.Duration(s.Users)*20*time.Millisecond
	case warming:
		return s.Warmup + r.longest() + slack
	case measuring:
		return s.Duration + r.longest() + slack
	default:
		return auditWithin + slack
	}
}

var errSecret = errors.New("off loopback a worker needs a secret of at least 16 bytes, the same for its coordinator (-secret)")

const minSecret = 16 // bytes

// secretFlags are shown to nobody.
var secretFlags = []string{"secret", "token-secret"}

// redacted is a command line for a report: what signs tokens or gives orders to workers is left out.
func redacted(args []string) []string {
	var out []string
	hide := false
	for _, a := range args {
		if hide {
			a, hide = hidden(a), false
		}
		name, value, given := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
		if strings.HasPrefix(a, "-") {
			for _, f := range secretFlags {
				if name == f && given {
					a = "-" + f + "=" + hidden(value)
				}
				hide = hide || name == f && !given
			}
		}
		out = append(out, secretSetting.ReplaceAllString(a, "$1=…"))
	}
	return out
}

var secretSetting = regexp.MustCompile(`(CARILLON_\w*(?:SECRET|KEY)\w*)=[^,]*`)

func hidden(value string) string {
	if strings.HasPrefix(value, "@") { // names a file
		return value
	}
	return "…"
}
