//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// guarded is a program in a process of its own that does not outlive ours, however ours ends: a shell between the two ends
// it when our end of the shell's input is closed.
type guarded struct {
	pid   int           // of the program, not of the shell
	input io.Closer     // of the shell
	gone  chan struct{} // closed when the program has ended and was waited for
	err   error         // how it ended, once gone is closed
}

// The shell says the program's number on descriptor 3, which stays open in the program: its end is the program's.
const guardScript = `signal=$1; shift; "$@" & p=$!; echo $p >&3; exec 3>&-; read -r _; while kill -$signal $p 2>/dev/null; do sleep 0.05; done; wait $p`

// startGuarded starts a program. Should we die first it gets the emergency signal until it ends. prepare, if not nil,
// changes the shell's command before it starts: directory, environment, output, credential.
func startGuarded(emergency string, prepare func(*exec.Cmd), program ...string) (*guarded, error) {
	shell := exec.Command("/bin/sh", append([]string{"-c", guardScript, "sh", emergency}, program...)...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Control-C is ours to pass on
	if prepare != nil {
		prepare(shell)
	}
	life, end, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	shell.ExtraFiles = []*os.File{end}
	input, err := shell.StdinPipe()
	if err == nil {
		err = shell.Start()
	}
	end.Close()
	if err != nil {
		life.Close()
		return nil, err
	}
	lines := bufio.NewReader(life)
	first, err := lines.ReadString('\n')
	g := &guarded{input: input, gone: make(chan struct{})}
	if err == nil {
		g.pid, err = strconv.Atoi(strings.TrimSpace(first))
	}
	go g.watch(shell, lines, life)
	if err != nil {
		return nil, fmt.Errorf("%s: the shell did not start it: %w", program[0], err)
	}
	return g, nil
}

func (g *guarded) watch(shell *exec.Cmd, lines io.Reader, life io.Closer) {
	_, _ = io.Copy(io.Discard, lines) // until it ends
	life.Close()
	_ = g.input.Close() // the shell may be gone
	g.err = shell.Wait()
	close(g.gone)
}

// signal sends a signal to the program; one that has ended takes it for nothing.
func (g *guarded) signal(s syscall.Signal) {
	select {
	case <-g.gone:
	default:
		_ = syscall.Kill(g.pid, s) // it may have ended just now
	}
}

// end sends a signal and, when the program has not ended after patience, kills it.
func (g *guarded) end(s syscall.Signal, patience time.Duration) error {
	g.signal(s)
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-g.gone:
		return nil
	case <-late.C:
	}
	g.signal(syscall.SIGKILL)
	<-g.gone
	return fmt.Errorf("process %d did not end within %v of %v and was killed", g.pid, patience, s)
}

// how says how the program ended, for people.
func (g *guarded) how() string {
	var exit *exec.ExitError
	switch {
	case g.err == nil:
		return "it ended"
	case errors.As(g.err, &exit) && exit.ExitCode() > 128:
		return syscall.Signal(exit.ExitCode() - 128).String()
	}
	return g.err.Error()
}
