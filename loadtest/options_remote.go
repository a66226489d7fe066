package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
)

// remote is the command line of runs on several machines, and of servers on others.
type remote struct {
	worker  string   // where this process waits for work; "": it is none
	workers []string // who play the run; none: this process does
	secret  string
	trust   trust
}

// remoteFlags are those of remote, before they are read.
type remoteFlags struct{ workerList, tokenSecret, ca string }

// forWorkers are the flags that a worker may have; all else is its coordinator's to say.
var forWorkers = []string{"worker", "secret", "token-secret", "ca", "insecure", "load-cpus"}

func (f *flagged) declareRemote() {
	s := f.set
	s.StringVar(&f.worker, "worker", "", "wait for work from coordinators on `host:port` (TCP); without a host, on loopback. Only for trusted networks")
	s.StringVar(&f.workerList, "workers", "", "let workers play the run, and merge what they report: `host:port,...`")
	s.StringVar(&f.secret, "secret", "", "what workers and their coordinator share: text, or `@FILE`")
	s.StringVar(&f.tokenSecret, "token-secret", "", "users log in with tokens signed by HS256 with this, as auth.jwt.hs256_secret of the servers: text, or `@FILE`")
	s.StringVar(&f.ca, "ca", "", "`FILE` with the certificates (PEM) that the servers' are checked by; allows addresses that are not on loopback")
	s.BoolVar(&f.trust.insecure, "insecure", false, "take any certificate from addresses that are not on loopback")
}

// completeRemote reads what these flags name.
func (f *flagged) completeRemote() (err error) {
	if f.secret, err = secretText("-secret", f.secret); err != nil {
		return err
	}
	if f.tokenSecret, err = secretText("-token-secret", f.tokenSecret); err != nil {
		return err
	}
	if f.trust, err = newTrust(f.ca, f.trust.insecure, f.tokenSecret); err != nil {
		return err
	}
	if f.trust.secret != nil && f.spawn > 0 {
		f.settings = append(f.settings, "CARILLON_AUTH_MODE=jwt", "CARILLON_AUTH_JWT_HS256_SECRET="+f.tokenSecret)
	}
	if f.workerList != "" {
		f.workers = strings.Split(f.workerList, ",")
	}
	return f.remote.check(f.spawn)
}

// completeWorker checks the command line of a worker.
func (f *flagged) completeWorker() (o options, err error) {
	f.set.Visit(func(one *flag.Flag) {
		if !slices.Contains(forWorkers, one.Name) {
			err = errors.Join(err, fmt.Errorf("-%s: is the coordinator's to say, not a worker's", one.Name))
		}
	})
	if err != nil {
		return o, err
	}
	if strings.HasPrefix(f.worker, ":") {
		f.worker = loopback + f.worker
	}
	if err := f.completeRemote(); err != nil {
		return o, err
	}
	if f.loadCPUs != "" && cpuNumbers(f.loadCPUs) == nil {
		return o, fmt.Errorf("-load-cpus %s: is not a list of processors such as 0,2-3", f.loadCPUs)
	}
	return f.options, nil
}

func (r *remote) check(spawn int) error {
	if len(r.workers) > maxWorkers {
		return fmt.Errorf("-workers: %d are more than %d", len(r.workers), maxWorkers)
	}
	addrs := r.workers
	if r.worker != "" {
		addrs = []string{r.worker}
	}
	for i, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if err != nil || host == "" {
			return fmt.Errorf("-worker, -workers: %q is not host:port", a)
		}
		if slices.Contains(addrs[:i], a) {
			return fmt.Errorf("-workers: %s is named twice", a)
		}
		ip, err := net.ResolveIPAddr("ip", host)
		if err != nil {
			return fmt.Errorf("-worker, -workers: %w", err)
		}
		switch {
		case ip.IP.IsLoopback():
		case spawn > 0:
			return fmt.Errorf("-workers %s: cannot reach servers that -spawn starts, which are on loopback; start them apart, and name them with -addr", a)
		case len(r.secret) < minSecret:
			return fmt.Errorf("%s: %w", a, errSecret)
		}
	}
	return nil
}

// secretText reads a secret that is named by its file.
func secretText(name, value string) (string, error) {
	path, named := strings.CutPrefix(value, "@")
	if !named {
		return value, nil
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxSecretFile {
		err = fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), maxSecretFile)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%s: %s is empty", name, path)
	}
	return text, nil
}
