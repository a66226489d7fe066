package main

import (
	"io"
	"log/slog"
)

// newLogger writes lines of cfg's level and format to out, each with the node's name. cfg has been checked.
func newLogger(cfg LogConfig, node string, out io.Writer) *slog.Logger {
	level := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}[cfg.Level]
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, options)).With("node", node)
	}
	return slog.New(slog.NewTextHandler(out, options)).With("node", node)
}
