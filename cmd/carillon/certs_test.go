package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"carillon/cluster"
)

func runCerts(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	command := root()
	command.SetOut(&out)
	command.SetErr(&out)
	command.SetArgs(append([]string{"certs"}, args...))
	err := command.Execute()
	return out.String(), err
}

// TestCertsAreWhatItSays: the printed settings, put into a file as they are, give a node's certificate.
func TestCertsAreWhatItSays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	out, err := runCerts(t, "--dir", dir, "node1", "node2", "--host", "10.0.0.1", "--host", "calls.example.org")
	if err != nil {
		t.Fatal(err)
	}
	wantInOrder(t, "certs", out, "node1, node2", dir, "made now", "ca-key.pem", "node1", "node2")
	blocks := regexp.MustCompile(`(?m)(?:^    cluster\.tls\..*\n){3}`).FindAllString(out, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d nodes have three lines each:\n%s", len(blocks), out)
	}
	for i, node := range []string{"node1", "node2"} {
		cfg, err := Load(Sources{File: write(t, strings.ReplaceAll(blocks[i], "    ", ""))})
		if err != nil {
			t.Fatal(err)
		}
		used, err := cluster.LoadTLS(cluster.TLSFiles(cfg.Cluster.TLS))
		if err != nil {
			t.Fatal(err)
		}
		leaf := used.Certificates[0].Leaf
		if leaf.Subject.CommonName != node || leaf.VerifyHostname("10.0.0.1") != nil || leaf.VerifyHostname("calls.example.org") != nil {
			t.Errorf("%s has the certificate of %s for %v %v", node, leaf.Subject, leaf.DNSNames, leaf.IPAddresses)
		}
	}
}

func TestCertsKeepsItsCA(t *testing.T) {
	dir := t.TempDir()
	if _, err := runCerts(t, "--dir", dir, "node1"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := runCerts(t, "--dir", dir, "node2")
	if err != nil || !strings.Contains(out, "which was there") {
		t.Errorf("%v: %s", err, out)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "ca.pem")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("another CA than before: %v", err)
	}
}

func TestCertsRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		word string
	}{
		"nobody":         {nil, "which nodes"},
		"twice":          {[]string{"a", "b", "a"}, `"a" is named twice`},
		"the CA":         {[]string{"a", "ca"}, `"ca"`},
		"the CA's key":   {[]string{"ca-key"}, `"ca-key"`},
		"elsewhere":      {[]string{"../a"}, `"../a"`},
		"host with port": {[]string{"a", "--host", "10.0.0.1:7946"}, "--host"},
		"no host":        {[]string{"a", "--host", `""`}, "--host"},
	} {
		dir := filepath.Join(t.TempDir(), "certs")
		if out, err := runCerts(t, append([]string{"--dir", dir}, tc.args...)...); err == nil || !strings.Contains(err.Error(), tc.word) {
			t.Errorf("%s: %v does not say %s\n%s", name, err, tc.word, out)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: it left files behind", name)
		}
	}
}
