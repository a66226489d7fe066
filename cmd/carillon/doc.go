// Carillon is an open, self-hosted call-invitation service: the signalling of "A rings B" for any app that has calls.
//
// This package is the composition root and nothing more: it reads the configuration (config.yaml, environment, flags),
// opens a Node, which wires actors, transport and persistence with closures, and serves the admin listener. The commands
// are serve, phone, demo, token, certs, status, migrate and version.
//
// The one idea: each package takes plain values and plain functions, so that only this one knows viper, cobra, Prometheus
// and OpenTelemetry, and an end-to-end test starts the very Node that serve starts. deps_test.go holds who may import whom.
package main
