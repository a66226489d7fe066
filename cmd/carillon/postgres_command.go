//go:build unix

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// errPostgresDied is how the command fails when its server ends before it does.
var errPostgresDied = errors.New("PostgreSQL has died")

func postgresCommand() *cobra.Command {
	cfg := PostgresConfig{}
	command := &cobra.Command{
		Use:   "postgres",
		Short: "Run a private PostgreSQL on this machine in the foreground, for tests and measurements",
		Long: "Run a private PostgreSQL on this machine in the foreground, for tests and measurements. It listens on loopback only, its data are\n" +
			"kept in --dir, and it ends with this command, however that ends. Once it lets clients in, two lines say how to reach it\n" +
			"(\"dsn postgres://...\") and which process it is (\"process NUMBER\").",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if cfg.Dir == "" {
				return errors.New("flag --dir: where are the data to be kept?")
			}
			p, err := StartPostgres(cfg)
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(command.Context(), command.ErrOrStderr(), func(int) { _ = p.Kill() })
			defer stop()
			fmt.Fprintf(command.OutOrStdout(), "dsn %s\nprocess %d\n", p.DSN(), p.process.pid)
			select {
			case <-ctx.Done():
				return p.Stop()
			case <-p.process.gone:
				return fmt.Errorf("%w (%s): %s", errPostgresDied, p.process.how(), p.lastWords())
			}
		},
	}
	flags := command.Flags()
	flags.StringVar(&cfg.Dir, "dir", "", "where its data, log and password are kept; made if need be")
	flags.IntVar(&cfg.Port, "port", 0, "port on 127.0.0.1; 0: a free one")
	flags.StringSliceVar(&cfg.Settings, "set", nil, "PostgreSQL's settings: `name=value,...`")
	return command
}
