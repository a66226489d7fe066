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
	"sync"
	"syscall"
	"time"
)

// process is a server of our own. It does not outlive us, however we end: a shell between the two ends it when our end of
// the shell's input is closed.
type process struct {
	pid   int       // of the server, not of the shell
	input io.Closer // of the shell
	log   journal
	gone  chan struct{} // closed when it has ended
	err   error         // how, once gone is closed
	used  time.Duration // CPU of all its life, once gone is closed
}

// The shell says the server's number on descriptor 3, which stays open in the server: its end is the server's.
const guardScript = `"$@" & p=$!; echo $p >&3; exec 3>&-; read -r _; while kill -KILL $p 2>/dev/null; do sleep 0.05; done; wait $p`

func startProcess(command, env []string) (*process, error) {
	p := &process{gone: make(chan struct{})}
	shell := exec.Command("/bin/sh", append([]string{"-c", guardScript, "sh"}, command...)...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Control-C is ours to pass on
	shell.Env, shell.Stdout, shell.Stderr = env, &p.log, &p.log
	life, end, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	shell.ExtraFiles = []*os.File{end}
	p.input, err = shell.StdinPipe()
	if err == nil {
		err = shell.Start()
	}
	end.Close()
	if err != nil {
		life.Close()
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	lines := bufio.NewReader(life)
	first, err := lines.ReadString('\n')
	if err == nil {
		p.pid, err = strconv.Atoi(strings.TrimSpace(first))
	}
	go p.watch(shell, lines, life)
	if err != nil {
		<-p.gone
		return nil, fmt.Errorf("start %s: %w\n%s", command[0], err, p.log.tail())
	}
	return p, nil
}

// watch waits for the server's end, which stop sees to.
func (p *process) watch(shell *exec.Cmd, lines io.Reader, life io.Closer) {
	_, _ = io.Copy(io.Discard, lines) // until it ends
	life.Close()
	_ = p.input.Close() // the shell may be gone
	p.err = shell.Wait()
	p.used = shell.ProcessState.UserTime() + shell.ProcessState.SystemTime()
	close(p.gone)
}

// killed reports, once it has gone, whether it was by SIGKILL. Nothing but a crash ends it in another way before we stop it.
func (p *process) killed() bool {
	var exit *exec.ExitError
	return errors.As(p.err, &exit) && exit.ExitCode() == shellSignal+int(syscall.SIGKILL)
}

const shellSignal = 128 // a shell adds this to the number of the signal that has ended a command

// how says how it has ended, for people, once it has gone.
func (p *process) how() string {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return "by itself"
	case errors.As(p.err, &exit) && exit.ExitCode() > shellSignal:
		return syscall.Signal(exit.ExitCode() - shellSignal).String()
	}
	return p.err.Error()
}

// stop ends the server in order. One that had ended by itself, or does not end in time, is an error.
func (p *process) stop(within time.Duration) error {
	select {
	case <-p.gone:
		return fmt.Errorf("has ended by itself: %w\n%s", p.err, p.log.tail())
	default:
	}
	_ = syscall.Kill(p.pid, syscall.SIGTERM) // it may have ended just now
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.gone:
		return nil
	case <-late.C:
		_ = p.input.Close()
		<-p.gone
		return errors.New("did not end after SIGTERM and was killed\n" + p.log.tail())
	}
}

const maxJournal = 64 << 10 // bytes that are kept

// journal is the end of what a process writes.
type journal struct {
	mu  sync.Mutex
	all []byte
}

// Write is io.Writer's.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, b...)
	if over := len(j.all) - maxJournal; over > 0 {
		j.all = append(j.all[:0], j.all[over:]...)
	}
	return len(b), nil
}

func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.all[max(0, len(j.all)-4000):])
}
