//go:build unix

package main

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestLocalClusterSettings(t *testing.T) {
	t.Parallel()
	o := clusterOptions{nodes: 9, dir: filepath.Join(t.TempDir(), "c"), basePort: 7443}
	key, err := o.prepare()
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string]bool{o.addr(postgresOffset): true}
	for i := range o.nodes {
		cfg, err := Load(Sources{Env: o.environment(i, key, "postgres://db/x")})
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Cluster.Join) != o.nodes || cfg.Cluster.SecretKey != key {
			t.Errorf("%s joins %v with key %q", cfg.Node.Name, cfg.Cluster.Join, cfg.Cluster.SecretKey)
		}
		for _, a := range []string{cfg.Transport.Listen, cfg.Admin.Listen, cfg.Cluster.Bind, cfg.Cluster.RemoteBind} {
			if addresses[a] {
				t.Errorf("%s: %s is taken", cfg.Node.Name, a)
			}
			addresses[a] = true
		}
	}
	if again, err := o.prepare(); err != nil || again != key {
		t.Errorf("the second start has key %q, %v; the first had %q", again, err, key)
	}
}

func TestLocalClusterOptions(t *testing.T) {
	t.Parallel()
	for o, flag := range map[clusterOptions]string{
		{nodes: 0, basePort: 7443}:  "--nodes",
		{nodes: 10, basePort: 7443}: "--nodes",
		{nodes: 3, basePort: 0}:     "--base-port",
		{nodes: 3, basePort: 65535}: "--base-port",
	} {
		if err := o.check(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestLocalClusterNamesThePortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.LocalAddr().(*net.UDPAddr).Port
	o := clusterOptions{nodes: 3, dir: filepath.Join(t.TempDir(), "c"), basePort: port - 1}
	if _, err := newLocalCluster(o, nil, &lines{}); err == nil || !strings.Contains(err.Error(), fmt.Sprint("port ", port)) {
		t.Errorf("port %d is in use: %v", port, err)
	}
}

func TestLinesOfSeveral(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := &lines{out: &out}
	a, b := l.named("a", plain), l.named("b", plain)
	fmt.Fprint(a, "one\ntw")
	fmt.Fprint(b, "three\n")
	fmt.Fprint(a, "o\n\n")
	fmt.Fprint(b, strings.Repeat("x", maxLine+1))
	want := "a | one\nb | three\na | two\na | \nb | " + strings.Repeat("x", maxLine+1) + "\n" // too long to wait for its end
	if out.String() != want {
		t.Errorf("written %.200q", out.String())
	}
	l.color = true
	out.Reset()
	fmt.Fprint(l.named("a", green), "one\n")
	if out.String() != "\x1b[32ma |\x1b[0m one\n" {
		t.Errorf("in colour: %q", out.String())
	}
}
