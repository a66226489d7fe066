package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"carillon/cluster"
)

func certsCommand() *cobra.Command {
	var dir string
	var hosts []string
	command := &cobra.Command{
		Use:   "certs node1 node2...",
		Short: "Make certificates for the nodes of a cluster",
		Long: "Make a certificate and a key for each of the named nodes, signed by a CA in the same directory, which is made when\n" +
			"it is missing, and say which settings use them. A certificate that is there is replaced. For development, and for\n" +
			"clusters without a CA of their own; a CA of your own must put the DNS name " + cluster.NodeServerName + " into each.",
		RunE: func(command *cobra.Command, nodes []string) error {
			return makeCerts(command.OutOrStdout(), dir, nodes, hosts)
		},
	}
	command.Flags().StringVar(&dir, "dir", "certs", "directory of the CA and of what is made")
	command.Flags().StringSliceVar(&hosts, "host", nil, "name or IP address to put into the certificates too; may be repeated")
	return command
}

func makeCerts(out io.Writer, dir string, nodes, hosts []string) error {
	if len(nodes) == 0 {
		return errors.New("certs: which nodes? Name each one, as in: carillon certs node1 node2")
	}
	for i, node := range nodes {
		if slices.Contains(nodes[:i], node) {
			return fmt.Errorf("certs: %q is named twice: names of nodes are unique", node)
		}
	}
	for _, host := range hosts {
		if host == "" || hostOnly(host) != nil {
			return fmt.Errorf("flag --host: %q is not a host alone, such as 10.0.0.1, fd00::1 or node1.example.org", host)
		}
	}
	ca := filepath.Join(dir, "ca.pem")
	origin := "which was there"
	if _, err := os.Stat(ca); errors.Is(err, fs.ErrNotExist) {
		origin = "made now"
	}
	if err := cluster.Certs(dir, nodes, hosts...); err != nil {
		return err
	}
	fmt.Fprintf(out, "The certificates of %s are in %s, signed by %s (%s).\n", strings.Join(nodes, ", "), dir, ca, origin)
	fmt.Fprintf(out, "%s signs further ones: keep it, and keep it off the nodes.\n\n", filepath.Join(dir, "ca-key.pem"))
	fmt.Fprintln(out, "Each node needs the CA's certificate and its own two files, with these settings (config.yaml takes the lines as they are):")
	for _, node := range nodes {
		own := filepath.Join(dir, node)
		fmt.Fprintf(out, "\n  %s\n", node)
		fmt.Fprintf(out, "    cluster.tls.ca: %s\n    cluster.tls.cert: %s.pem\n    cluster.tls.key: %s-key.pem\n", ca, own, own)
	}
	return nil
}
