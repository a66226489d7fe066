//go:build !unix

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func clusterCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cluster",
		Short: "Start a cluster of nodes and a private PostgreSQL on this machine (Unix only)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("cluster needs a Unix: the processes that it starts could outlive it here")
		},
	}
}

func postgresCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "postgres",
		Short: "Run a private PostgreSQL on this machine in the foreground (Unix only)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("postgres needs a Unix: the server could outlive this command here")
		},
	}
}
