package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

// exitAtOnce is the exit code after a second signal.
const exitAtOnce = 130

func serveCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: "Run a node. Without a file and a flag it serves this machine: loopback, no tokens, calls kept in ./data.\n" +
			"A first SIGTERM or SIGINT drains it (clients are told to go, what is under way is finished), a second one stops it at once.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			cfg, err := Load(sources(command.Flags()))
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(command.Context(), command.ErrOrStderr(), os.Exit)
			defer stop()
			log := newLogger(cfg.Log, cfg.Node.Name, command.ErrOrStderr())
			slog.SetDefault(log) // what libraries log comes out alike
			var collecting sync.WaitGroup
			defer collecting.Wait()
			ends, end := context.WithCancel(command.Context())
			defer end()
			if os.Getenv("GOGC") == "" { // the environment goes first
				collecting.Go(func() { collect(ends) })
			}
			return serve(ctx, cfg, log, command.OutOrStdout())
		},
	}
	addServeFlags(command.Flags())
	return command
}

// serve runs a node until ctx is done and it has drained, or until it fails.
func serve(ctx context.Context, cfg Config, log *slog.Logger, out io.Writer) error {
	node, err := OpenNode(cfg, log)
	if err != nil {
		return err
	}
	if cfg.Auth.Mode == "none" {
		log.Warn("auth.mode is none: anyone can log in as anyone; for development only")
	}
	greet(out, cfg, node)
	err = errors.Join(node.Run(ctx), node.Close())
	switch {
	case err != nil:
	case cfg.Persistence.Engine == "memory":
		fmt.Fprintln(out, "Stopped; the calls are gone, as persistence.engine memory says.")
	default:
		fmt.Fprintln(out, "Stopped; nothing was lost.")
	}
	return err
}

// greet says what runs where, and what to try next.
func greet(out io.Writer, cfg Config, node *Node) {
	logins := map[string]string{
		"none":    "not checked (auth.mode none): anyone is anyone, for development only",
		"jwt":     "JSON Web Tokens",
		"token04": "Token04",
	}[cfg.Auth.Mode]
	certificate := cfg.Transport.TLS.Cert
	if certificate == "" {
		certificate = cfg.dataFile("dev-cert.pem") + ", self-signed, for development"
	}
	data := map[string]string{
		"pebble":   cfg.Persistence.Dir + " (Pebble, synced)",
		"postgres": "PostgreSQL, persistence.dsn",
		"memory":   "memory only: calls are gone when this process ends",
	}[cfg.Persistence.Engine]
	admin := "none"
	if a := node.AdminAddr(); a != nil {
		admin = fmt.Sprintf("http://%s/healthz  /readyz  /metrics  /status", a)
	}
	fmt.Fprintf(out, "Carillon %s is up.\n", versionOf(version, debug.ReadBuildInfo))
	for _, row := range [][2]string{
		{"clients", node.Addr().String() + " (QUIC over UDP)"},
		{"certificate", certificate},
		{"logins", logins},
		{"calls", data},
		{"operator", admin},
	} {
		fmt.Fprintf(out, "  %-12s %s\n", row[0], row[1])
	}
	fmt.Fprintf(out, "Ring somebody, in two more terminals:  %s   and   %s\n", phoneLine("alice", cfg, node), phoneLine("bob", cfg, node))
	fmt.Fprintln(out, "Control-C stops it.")
}

// phoneLine is the command that starts a phone for the node.
func phoneLine(user string, cfg Config, node *Node) string {
	words := []string{os.Args[0], "phone", "--user", user}
	if address := node.Addr().String(); address != Default().Transport.Listen {
		words = append(words, "--addr", address)
	}
	if cfg.Auth.Mode != "none" {
		words = append(words, "--token", "...")
	}
	return strings.Join(words, " ")
}

// untilSignal gives a context that ends with the first SIGINT or SIGTERM; a second one calls exit. stop gives the signals
// back to Go and waits for the goroutine.
func untilSignal(parent context.Context, out io.Writer, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			select {
			case s := <-signals:
				if !first {
					exit(exitAtOnce)
					return
				}
				fmt.Fprintf(out, "carillon: %v: draining; once more stops at once\n", s)
				cancel()
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-ended
		cancel()
	}
}
