//go:build unix && !linux

package main

import "testing"

func nodeCutOff(t *testing.T, _ program) { t.Skip("network namespaces are Linux's") }
