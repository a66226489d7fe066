//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"carillon/cluster"
)

// Where the nodes of a local cluster listen, counted from the port for clients of the first one.
const (
	adminOffset    = 37  // 7480
	postgresOffset = 497 // 7940
	membersOffset  = 503 // 7946
	remoteOffset   = 517 // 7960
	maxLocalNodes  = 9
	lastOffset     = remoteOffset + maxLocalNodes - 1
	localHost      = "127.0.0.1"
)

// clusterOptions are the flags of cluster.
type clusterOptions struct {
	nodes    int
	dir      string
	basePort int
}

func clusterCommand() *cobra.Command {
	o := clusterOptions{}
	command := &cobra.Command{
		Use:   "cluster",
		Short: "Start a cluster of nodes and a private PostgreSQL on this machine, to try things out",
		Long: "Start a cluster of nodes and a private PostgreSQL on this machine, to try things out. Each node is a process of its own, so\n" +
			"that it can be killed; what dies is started again after three seconds. Data, certificates and keys are kept in --dir.\n" +
			"Settings in the environment and in ./config.yaml count for all nodes, but for names, addresses and the database.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			quietUDP()
			ctx, stop := untilSignal(command.Context(), command.ErrOrStderr(), os.Exit)
			defer stop()
			c, err := newLocalCluster(o, []string{os.Args[0], "serve"}, newLines(os.Stdout))
			if err != nil {
				return err
			}
			return c.run(ctx)
		},
	}
	flags := command.Flags()
	flags.IntVar(&o.nodes, "nodes", 3, "how many nodes, 1..9")
	flags.StringVar(&o.dir, "dir", "./data/cluster", "where data, certificates and keys are kept")
	flags.IntVar(&o.basePort, "base-port", 7443, "port for clients of the first node, the others count on from it; all other ports move along")
	return command
}

func (o *clusterOptions) check() error {
	if o.nodes < 1 || o.nodes > maxLocalNodes {
		return fmt.Errorf("flag --nodes: %d is not within 1..%d", o.nodes, maxLocalNodes)
	}
	if o.basePort < 1 || o.basePort > 65535-lastOffset {
		return fmt.Errorf("flag --base-port: %d is not within 1..%d", o.basePort, 65535-lastOffset)
	}
	return nil
}

func (o *clusterOptions) addr(offset int) string {
	return localHost + ":" + strconv.Itoa(o.basePort+offset)
}

// names are the nodes' names, n1 and so on.
func (o *clusterOptions) names() []string {
	var out []string
	for i := range o.nodes {
		out = append(out, fmt.Sprint("n", i+1))
	}
	return out
}

// portsFree fails with the first port that is in use.
func (o *clusterOptions) portsFree() error {
	errs := []error{portFree("tcp", localHost, o.basePort+postgresOffset)}
	for i := range o.nodes {
		errs = append(errs,
			portFree("udp", localHost, o.basePort+i),
			portFree("tcp", localHost, o.basePort+adminOffset+i),
			portFree("tcp", localHost, o.basePort+membersOffset+i),
			portFree("udp", localHost, o.basePort+membersOffset+i),
			portFree("tcp", localHost, o.basePort+remoteOffset+i))
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("%w (--base-port moves all ports)", err)
		}
	}
	return nil
}

// prepare makes the directory with certificates and the nodes' common key, and gives the key.
func (o *clusterOptions) prepare() (key string, err error) {
	if err := os.MkdirAll(o.dir, 0o711); err != nil { // PostgreSQL's user may have to pass
		return "", err
	}
	if err := cluster.Certs(o.certificates(), o.names(), localHost); err != nil {
		return "", err
	}
	file := filepath.Join(o.dir, "secret-key")
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		b = fmt.Appendf(nil, "%x", newSecret())
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		return "", err
	}
	if len(b) < secretBytes {
		return "", fmt.Errorf("%s has %d bytes, must have %d or more; delete it and a new one is made", file, len(b), secretBytes)
	}
	return string(b), nil
}

func (o *clusterOptions) certificates() string { return filepath.Join(o.dir, "certificates") }

// environment is the settings of the i-th node.
func (o *clusterOptions) environment(i int, key, dsn string) []string {
	name := o.names()[i]
	certificate := filepath.Join(o.certificates(), name)
	settings := []string{
		"NODE_NAME=" + name,
		"TRANSPORT_LISTEN=" + o.addr(i),
		"TRANSPORT_ADVERTISE=" + o.addr(i),
		"ADMIN_LISTEN=" + o.addr(adminOffset+i),
		"CLUSTER_ENABLED=true",
		"CLUSTER_BIND=" + o.addr(membersOffset+i),
		"CLUSTER_REMOTE_BIND=" + o.addr(remoteOffset+i),
		"CLUSTER_ADVERTISE=" + localHost,
		"CLUSTER_JOIN=" + o.seeds(),
		"CLUSTER_SECRET_KEY=" + key,
		"CLUSTER_TLS_CA=" + filepath.Join(o.certificates(), "ca.pem"),
		"CLUSTER_TLS_CERT=" + certificate + ".pem",
		"CLUSTER_TLS_KEY=" + certificate + "-key.pem",
		"PERSISTENCE_ENGINE=postgres",
		"PERSISTENCE_DSN=" + dsn,
		"PERSISTENCE_DIR=" + filepath.Join(o.dir, name),
	}
	for i := range settings {
		settings[i] = envPrefix + settings[i]
	}
	return settings
}

// seeds are where all nodes are found. One alone waits for nobody.
func (o *clusterOptions) seeds() string {
	if o.nodes == 1 {
		return ""
	}
	var out []string
	for i := range o.nodes {
		out = append(out, o.addr(membersOffset+i))
	}
	return strings.Join(out, ",")
}
