package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of servers that this program starts.
const (
	maxSpawn    = 16
	readyWithin = 30 * time.Second
	readyLook   = 50 * time.Millisecond
	readyAsk    = time.Second
	stopWithin  = 30 * time.Second
	loopback    = "127.0.0.1"
)

// target is what is attacked: servers that run already, or servers of our own.
type target struct {
	addrs    []string
	trust    trust
	meter    meter
	about    string
	own      []*server
	database *process // a PostgreSQL of our own, nil: there is none
	dir      string   // of our own servers' data; removed at the end
	binary   string

	watching sync.WaitGroup
	mu       sync.Mutex
	notice   func(what string) // told when a server ends that we have not ended
}

// newTarget takes the addresses given, or starts servers.
func newTarget(ctx context.Context, o options) (*target, error) {
	if o.spawn == 0 {
		return &target{addrs: o.addrs, trust: o.trust, meter: meter{pids: o.pids}, about: strings.Join(o.addrs, ",")}, nil
	}
	t := &target{trust: o.trust, about: fmt.Sprint(o.spawn, " of our own, pebble"), binary: o.binary}
	if o.dsn != "" || o.ownDatabase() {
		t.about = fmt.Sprint(o.spawn, " of our own, postgres")
	}
	if err := t.spawn(ctx, o); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *target) spawn(ctx context.Context, o options) (err error) {
	if t.dir, err = os.MkdirTemp(o.dataDir, "loadtest-*"); err != nil {
		return fmt.Errorf("-data: %w", err)
	}
	if err := os.Chmod(t.dir, 0o711); err != nil { // PostgreSQL's user may have to pass
		return err
	}
	if t.binary == "" {
		if t.binary, err = buildServer(ctx, t.dir); err != nil {
			return err
		}
	}
	if o.ownDatabase() {
		if o.dsn, err = t.startPostgres(ctx, o.serverCPUs); err != nil {
			return err
		}
	}
	ports, err := freePorts(4 * o.spawn)
	if err != nil {
		return err
	}
	places := make([]place, o.spawn)
	var members []string
	for i := range places {
		p := ports[4*i:]
		places[i] = place{client: p[0], admin: p[1], member: p[2], remote: p[3]}
		members = append(members, p[2])
	}
	for i, p := range places {
		settings := append(p.settings(i, filepath.Join(t.dir, fmt.Sprint("n", i+1)), o), o.settings...)
		if o.spawn > 1 {
			settings = append(settings, p.clustered(members)...)
		}
		one := &server{name: fmt.Sprint("n", i+1), place: p, command: t.command(o.serverCPUs), env: settings}
		t.own = append(t.own, one)
		t.addrs = append(t.addrs, p.client)
		if err := t.start(one); err != nil {
			return err
		}
	}
	for _, pid := range o.pids {
		t.meter.add(pid)
	}
	for _, one := range t.own {
		if err := one.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ownDatabase says whether the servers get a PostgreSQL of their own.
func (o *options) ownDatabase() bool { return o.dsn == "" && (o.spawn > 1 || o.postgres) }

// buildServer builds the servers' program into a directory.
func buildServer(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "carillon")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "carillon/cmd/carillon").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build cmd/carillon (or name one with -binary): %w\n%s", err, out)
	}
	return binary, nil
}

func (t *target) command(cpus string) []string { return pinned(cpus, []string{t.binary, "serve"}) }

// pinned is a command that runs on some processors.
func pinned(cpus string, command []string) []string {
	if cpus == "" {
		return command
	}
	return append([]string{"taskset", "-c", cpus}, command...)
}

// goProcessors is the setting of a Go program that runs on some processors.
func goProcessors(cpus string) []string {
	if n := len(cpuNumbers(cpus)); n > 0 {
		return []string{"GOMAXPROCS=" + strconv.Itoa(n)}
	}
	return nil
}

// place is where one server listens.
type place struct{ client, admin, member, remote string }

// settings are a server's environment. Its limits leave room for a crowd that comes from one address.
func (p place) settings(i int, dir string, o options) []string {
	env := append(serverEnvironment(dir), []string{
		fmt.Sprint("CARILLON_NODE_NAME=n", i+1), "CARILLON_TRANSPORT_LISTEN=" + p.client, "CARILLON_ADMIN_LISTEN=" + p.admin,
		"CARILLON_LOG_LEVEL=warn", "CARILLON_PERSISTENCE_DIR=" + dir, "CARILLON_PERSISTENCE_MIN_FREE_MIB=1",
		"CARILLON_LIMITS_CONNECTIONS=1000000", "CARILLON_LIMITS_CONNECTIONS_PER_ADDRESS=1000000",
		"CARILLON_DRAIN_TIMEOUT=1s", "CARILLON_DRAIN_SPREAD=0s",
	}...)
	if o.scenario.Hostile == 0 { // limits that are for hostile users are not in the way of friendly ones
		env = append(env, "CARILLON_LIMITS_REQUESTS_PER_SECOND=1000", "CARILLON_LIMITS_REQUESTS_BURST=1000",
			"CARILLON_LIMITS_IN_FLIGHT_PER_DEVICE=1000")
	}
	if o.dsn != "" {
		env = append(env, "CARILLON_PERSISTENCE_ENGINE=postgres", "CARILLON_PERSISTENCE_DSN="+o.dsn)
	}
	return append(env, goProcessors(o.serverCPUs)...)
}

func serverEnvironment(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true"}
}

func (p place) clustered(members []string) []string {
	return []string{
		"CARILLON_CLUSTER_ENABLED=true", "CARILLON_CLUSTER_BIND=" + p.member, "CARILLON_CLUSTER_REMOTE_BIND=" + p.remote,
		"CARILLON_CLUSTER_JOIN=" + strings.Join(members, ","), "CARILLON_TRANSPORT_ADVERTISE=" + p.client,
	}
}

// close stops our own servers and removes their data. It says which of them had ended before, and how.
func (t *target) close() error {
	var errs []error
	for _, one := range t.own {
		errs = append(errs, t.retire(one))
	}
	if t.database != nil {
		if err := t.database.stop(stopWithin); err != nil {
			errs = append(errs, fmt.Errorf("PostgreSQL: %w", err))
		}
	}
	t.watching.Wait()
	if t.dir != "" {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	return errors.Join(errs...)
}

// ready waits until the server's admin listener says that it serves.
func (p *process) ready(ctx context.Context, admin string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := askReady(ctx, admin)
		if err == nil {
			return nil
		}
		select {
		case <-p.gone:
			return fmt.Errorf("has ended at its start: %w\n%s", p.err, p.log.tail())
		case <-ctx.Done():
			return fmt.Errorf("does not serve: %w\n%s", err, p.log.tail())
		case <-time.After(readyLook):
		}
	}
}

func askReady(ctx context.Context, admin string) error {
	ctx, cancel := context.WithTimeout(ctx, readyAsk)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	r, err := client.Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return nil
}

// Ports below those that systems hand out, so that nobody gets one before the server does.
const (
	lowestPort  = 10_000
	highestPort = 32_000
)

// freePorts gives different addresses on loopback whose ports are free for TCP and UDP.
func freePorts(n int) ([]string, error) {
	var out []string
	for _, i := range rand.Perm(highestPort - lowestPort) {
		if len(out) == n {
			return out, nil
		}
		addr := net.JoinHostPort(loopback, strconv.Itoa(lowestPort+i))
		if free(addr) {
			out = append(out, addr)
		}
	}
	return nil, errors.New("no free ports on " + loopback)
}

func free(addr string) bool {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	udp, err := net.ListenPacket("udp", addr)
	if err == nil {
		err = udp.Close()
	}
	return errors.Join(err, tcp.Close()) == nil
}
