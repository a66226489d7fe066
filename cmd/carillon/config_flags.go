package main

import (
	"os"

	"github.com/spf13/pflag"
)

// addServeFlags adds the flags of the common settings. Their defaults are empty: a flag counts only when it is given.
func addServeFlags(flags *pflag.FlagSet) {
	addConfigFlag(flags)
	flags.String("listen", "", "where clients connect, host:port over UDP (transport.listen, default 127.0.0.1:7443)")
	flags.String("admin", "", "where the operator connects, host:port over TCP (admin.listen, default 127.0.0.1:7480)")
	flags.String("data", "", "directory of the store (persistence.dir, default ./data)")
	flags.String("engine", "", "store: pebble, memory or postgres (persistence.engine, default pebble)")
	flags.String("name", "", "name of this node, which no other node of its cluster has (node.name, default the host's)")
	flags.StringSlice("join", nil, "other nodes of the cluster, host:port, several with commas (cluster.join)")
	flags.String("log-level", "", "debug, info, warn or error (log.level, default info)")
	flags.String("log-format", "", "text or json (log.format, default text)")
}

func addConfigFlag(flags *pflag.FlagSet) {
	flags.String("config", "", "configuration file (default ./config.yaml if there is one)")
}

// sources are the flags given, the process's environment and the file that --config names.
func sources(flags *pflag.FlagSet) Sources {
	file, err := flags.GetString("config")
	if err != nil {
		file = ""
	}
	return Sources{Flags: flags, Env: os.Environ(), File: file}
}
