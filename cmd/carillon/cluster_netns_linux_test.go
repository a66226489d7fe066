package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apartVariable names the program for a test that runs in a network of its own.
const apartVariable = "CARILLON_TEST_APART"

// nodeCutOff plays TestApart in a network namespace, which is gone with its processes: nothing there can reach, or be
// reached from, anywhere else.
func nodeCutOff(t *testing.T, p program) {
	if why := apartImpossible(); why != nil {
		t.Skip(why)
	}
	if err := postgresHere(); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestApart$", "-test.v", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), apartVariable+"="+string(p))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestApart") {
		t.Errorf("in a network of its own: %v", err)
	}
}

// apartImpossible says what is missing for networks of our own.
func apartImpossible() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("network namespaces need root: run the tests as root to see nodes cut off from each other")
	}
	if _, err := exec.LookPath("nsenter"); err != nil {
		return fmt.Errorf("nsenter is not installed here: apt install util-linux")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		if err := install("iproute2"); err != nil {
			return fmt.Errorf("ip is not installed here: apt install iproute2 (%w)", err)
		}
	}
	cmd := exec.Command("ip", "link", "add", "probe", "type", "bridge")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("this machine lets nobody make network namespaces with bridges: %w: %s", err, out)
	}
	return nil
}

// apart is a network of namespaces: one per node, and ours, where clients and PostgreSQL are. Two bridges join them: one for
// clients and the database, one for what nodes say to each other.
type apart struct{ t *testing.T }

func (a apart) run(args ...string) {
	a.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		a.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (a apart) ip(command string) {
	a.t.Helper()
	a.run(append([]string{"ip"}, strings.Fields(command)...)...)
}

// bridges makes the two networks.
func (a apart) bridges() {
	a.t.Helper()
	for _, command := range []string{
		"link set lo up", "link add clients type bridge", "addr add 10.77.1.254/24 dev clients", "link set clients up",
		"link add members type bridge", "link set members up",
	} {
		a.ip(command)
	}
}

// namespace makes the i-th node's, which lives as long as the test, and gives the command that enters it.
func (a apart) namespace(i int) []string {
	a.t.Helper()
	holder := exec.Command("cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	input, err := holder.StdinPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		_ = input.Close()
		_ = holder.Wait() // it has nothing to say
	})
	pid := fmt.Sprint(holder.Process.Pid)
	enter := []string{"nsenter", "-t", pid, "-n"}
	for k, network := range []string{"clients", "members"} {
		ours := fmt.Sprintf("%s%d", network, i)
		a.ip(fmt.Sprintf("link add %s type veth peer name eth%d netns %s", ours, k, pid))
		a.ip(fmt.Sprintf("link set %s master %s up", ours, network))
		for _, command := range []string{"link set lo up", fmt.Sprintf("addr add 10.77.%d.%d/24 dev eth%d", k+1, i, k), fmt.Sprintf("link set eth%d up", k)} {
			a.run(append(append(enter[:len(enter):len(enter)], "ip"), strings.Fields(command)...)...)
		}
	}
	return enter
}

// TestApart: of three nodes one is cut off from the others for a while, but not from clients and PostgreSQL.
func TestApart(t *testing.T) {
	p := program(os.Getenv(apartVariable))
	if p == "" {
		t.Skip("it is TestCluster's, in a network of its own")
	}
	a := apart{t}
	a.bridges()
	f := emptyFleet(t, p, PostgresConfig{Host: "10.77.1.254"}, "AUTH_ALLOW_NONE_OFF_LOOPBACK=true")
	for i := 1; i <= 3; i++ {
		f.addAt(places{
			client: fmt.Sprintf("10.77.1.%d:7443", i), admin: fmt.Sprintf("10.77.1.%d:7480", i),
			members: fmt.Sprintf("10.77.2.%d:7946", i), remote: fmt.Sprintf("10.77.2.%d:7950", i),
		}, a.namespace(i)...)
	}
	f.start()
	runTrials(t, f, func(f *trial) {
		f.begin()
		time.Sleep(time.Second)
		victim := f.round % len(f.nodes)
		cable := fmt.Sprintf("members%d", victim+1)
		from := time.Now()
		a.ip("link set " + cable + " down")
		time.Sleep(f.cut)
		f.sees(victim, 1)
		f.sees((victim+1)%len(f.nodes), 2)
		a.ip("link set " + cable + " up")
		f.healed(from)
		f.outages = append(f.outages, f.faults...) // who was told on one side has not heard on the other
	})
}

// sees fails the test unless a node believes in so many members: else the cut has cut nothing.
func (f *fleet) sees(node, members int) {
	f.t.Helper()
	s, err := f.nodes[node].status()
	if err != nil {
		f.t.Errorf("%s: %v", f.nodes[node].name, err)
		return
	}
	if len(s.Members) != members {
		f.t.Errorf("%s sees %d members while the network is cut, want %d: %v", s.Node, len(s.Members), members, s.Members)
	}
}
