package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const clockTick = 10 * time.Millisecond // of /proc: USER_HZ is 100 on every Linux

// meter reads from /proc what processes and their children use; elsewhere than on Linux, and of no process, everything is 0.
type meter struct{ pids []int }

// cpu is user and system time, of children that have ended too.
func (m meter) cpu() time.Duration {
	var sum time.Duration
	m.each(func(pid int) {
		fields := statFields(pid)
		for i := 11; i <= 14 && i < len(fields); i++ { // utime, stime, cutime, cstime: proc(5)
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			sum += time.Duration(n) * clockTick
		}
	})
	return sum
}

// resident is memory in bytes.
func (m meter) resident() int64 {
	var sum int64
	m.each(func(pid int) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // one that has ended uses nothing
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			sum += pages * int64(os.Getpagesize())
		}
	})
	return sum
}

func (m meter) each(visit func(pid int)) {
	for _, pid := range m.pids {
		visit(pid)
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid)) // none
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				visit(n)
			}
		}
	}
}

// statFields are those behind the name, which may hold anything; the first is the state.
func statFields(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(b, ')')
	if err != nil || i < 0 {
		return nil
	}
	return strings.Fields(string(b[i+1:]))
}
