package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"carillon/persistence"
)

// migrateTimeout bounds a migration, the waiting for another node's included.
const migrateTimeout = 10 * time.Minute

func migrateCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the shared database's schema up to date",
		Long: "Bring the schema of the database that persistence.dsn names to what this version needs, and end. A node does the\n" +
			"same when it starts; this is for those who want it done before, or with another role's rights.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			cfg, err := Load(sources(command.Flags()))
			if err != nil {
				return err
			}
			if cfg.Persistence.DSN == "" {
				return errors.New("persistence.dsn is empty: there is no database to migrate")
			}
			ctx, cancel := context.WithTimeout(command.Context(), migrateTimeout)
			defer cancel()
			if err := persistence.Migrate(ctx, cfg.Persistence.DSN); err != nil {
				return fmt.Errorf("persistence.dsn: %w", err)
			}
			_, err = fmt.Fprintln(command.OutOrStdout(), "The schema is up to date.")
			return err
		},
	}
	addConfigFlag(command.Flags())
	return command
}
