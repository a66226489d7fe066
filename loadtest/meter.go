package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const clockTick = 10 * time.Millisecond // of /proc: USER_HZ is 100 on every Linux

// meter reads from /proc what processes and their children use; elsewhere than on Linux, and of no process, everything is 0.
// Processes may come and go.
type meter struct {
	mu    sync.Mutex
	pids  []int
	ended time.Duration // CPU of those that were dropped
}

func (m *meter) add(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pids = append(m.pids, pid)
}

// drop forgets a process that has ended, but for what it used.
func (m *meter) drop(pid int, used time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.pids, pid); i >= 0 {
		m.pids = slices.Delete(m.pids, i, i+1)
		m.ended += used
	}
}

// cpu is user and system time, of children that have ended too.
func (m *meter) cpu() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := m.ended
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
func (m *meter) resident() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
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

// each visits all processes and their children. m.mu is held.
func (m *meter) each(visit func(pid int)) {
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
