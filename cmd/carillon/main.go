package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := root().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "carillon:", err)
		os.Exit(1)
	}
}

// root is the command tree. Errors are printed once, by main, without the usage text: they are sentences already.
func root() *cobra.Command {
	command := &cobra.Command{
		Use:           "carillon",
		Short:         "Call invitations: A rings B, every device knows, nothing is lost",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	command.AddCommand(serveCommand(), phoneCommand(), statusCommand(), clusterCommand(), postgresCommand(), demoCommand(), tokenCommand(), certsCommand(), migrateCommand(),
		versionCommand())
	return command
}
