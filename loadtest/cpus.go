package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

const maxCPU = 4096

// cpuNumbers reads a list such as 0,2-3; of a malformed or empty one it gives none.
func cpuNumbers(list string) []int {
	var out []int
	for part := range strings.SplitSeq(list, ",") {
		low, high, ranged := strings.Cut(part, "-")
		from, err := strconv.Atoi(low)
		to := from
		if err == nil && ranged {
			to, err = strconv.Atoi(high)
		}
		if err != nil || from < 0 || to < from || to > maxCPU {
			return nil
		}
		for n := from; n <= to; n++ {
			out = append(out, n)
		}
	}
	return out
}

// pinSelf keeps this program on some processors.
func pinSelf(cpus string) error {
	if cpus == "" {
		return nil
	}
	if out, err := exec.Command("taskset", "-acp", cpus, strconv.Itoa(os.Getpid())).CombinedOutput(); err != nil {
		return fmt.Errorf("-load-cpus %s: taskset: %w: %s", cpus, err, strings.TrimSpace(string(out)))
	}
	runtime.GOMAXPROCS(len(cpuNumbers(cpus)))
	return nil
}

// allowedCPUs are the processors that this program may use, as far as the system tells.
func allowedCPUs() []int {
	status, _ := os.ReadFile("/proc/self/status") // elsewhere than on Linux there is none
	for line := range strings.Lines(string(status)) {
		if list, found := strings.CutPrefix(line, "Cpus_allowed_list:"); found {
			return cpuNumbers(strings.TrimSpace(list))
		}
	}
	return nil
}

// cpuList is a list that cpuNumbers reads.
func cpuList(numbers []int) string {
	var out []string
	for _, n := range numbers {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ",")
}
