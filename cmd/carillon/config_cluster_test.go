package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// inCluster is a file with these keys of its cluster section, and all else that a cluster needs.
func inCluster(keys string) string {
	return "persistence: {engine: postgres, dsn: 'postgres://db/calls'}\ncluster: {enabled: true, " + keys + "}\n"
}

func TestClusterConfigJoinIsAList(t *testing.T) {
	want := []string{"n1:7946", "10.0.0.2:7946", "[fd00::3]:7946"}
	joined := func(join string) string { return inCluster("join: " + join) }
	for name, from := range map[string]Sources{
		"list":          {File: write(t, joined("['n1:7946', '10.0.0.2:7946', '[fd00::3]:7946']"))},
		"text":          {File: write(t, joined("'n1:7946, 10.0.0.2:7946,[fd00::3]:7946'"))},
		"environment":   {File: write(t, joined("['x:1']")), Env: []string{"CARILLON_CLUSTER_JOIN=n1:7946,10.0.0.2:7946, [fd00::3]:7946"}},
		"flag":          {File: write(t, joined("['x:1']")), Flags: flagsWith(t, "join", "n1:7946,10.0.0.2:7946,[fd00::3]:7946")},
		"flags":         {File: write(t, joined("")), Flags: flagsWith(t, "join", "n1:7946,10.0.0.2:7946", "join", "[fd00::3]:7946")},
		"flag over env": {File: write(t, joined("")), Env: []string{"CARILLON_CLUSTER_JOIN=x:1"}, Flags: flagsWith(t, "join", strings.Join(want, ","))},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Load(from)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(c.Cluster.Join, want) {
				t.Errorf("joins %q", c.Cluster.Join)
			}
		})
	}
	for name, from := range map[string]Sources{
		"default":    {},
		"empty list": {File: write(t, joined("[]"))},
		"empty text": {File: write(t, joined("''"))},
		"empty flag": {File: write(t, joined("['x:1']")), Flags: flagsWith(t, "join", "")},
	} {
		if c, err := Load(from); err != nil || len(c.Cluster.Join) > 0 {
			t.Errorf("%s: joins %q, %v", name, c.Cluster.Join, err)
		}
	}
}

func TestConfigNameHasAFlag(t *testing.T) {
	c, err := Load(Sources{File: write(t, "node: {name: n1}\n"), Flags: flagsWith(t, "name", "n2")})
	if err != nil || c.Node.Name != "n2" {
		t.Errorf("named %q, %v", c.Node.Name, err)
	}
}

func TestClusterConfigAccepts(t *testing.T) {
	const tls = "tls: {ca: a, cert: b, key: c}"
	for name, file := range map[string]string{
		"loopback":      inCluster(""),
		"with name":     inCluster("bind: 'localhost:1', remote_bind: '[::1]:2'"),
		"off loopback":  inCluster("bind: '10.0.0.1:7946', remote_bind: '10.0.0.1:7950', secret_key: '" + secret32 + "', " + tls),
		"everywhere":    inCluster("bind: ':7946', remote_bind: '[::]:7950', advertise: n1.example.org, secret_key: '" + secret32 + "', " + tls),
		"IPv6 host":     inCluster("advertise: 'fd00::1'"),
		"clients, told": inCluster("") + "transport: {listen: '0.0.0.0:7443', advertise: 'calls.example.org:7443'}\nauth: {allow_none_off_loopback: true}\n",
		"off, alone":    "cluster: {bind: '0.0.0.0:7946', remote_bind: '0.0.0.0:7950'}\n",
		"told, alone":   "transport: {advertise: 'calls.example.org:443'}\n",
	} {
		if _, err := Load(Sources{File: write(t, file)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClusterConfigRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		file  string
		words []string
	}{
		"enabled on pebble":   {"cluster: {enabled: true}\n", []string{"cluster.enabled", "persistence.engine is pebble", "same calls", "one process", "postgres"}},
		"enabled on memory":   {"cluster: {enabled: true}\npersistence: {engine: memory}\n", []string{"cluster.enabled", "persistence.engine is memory"}},
		"join on pebble":      {"cluster: {join: ['n1:1']}\n", []string{"cluster.join", "persistence.engine is pebble", "same calls"}},
		"join, not enabled":   {strings.Replace(inCluster("join: ['n1:1']"), "true", "false", 1), []string{"cluster.join", "cluster.enabled is false"}},
		"join as number":      {inCluster("join: [7946]"), []string{"cluster.join", "entry 1", "7946", "quotes"}},
		"join as a number":    {inCluster("join: 7946"), []string{".yaml: key cluster.join", "7946", "neither a list"}},
		"join as section":     {inCluster("join: {n1: 7946}"), []string{"cluster.join.n1"}},
		"join, empty entry":   {inCluster("join: 'n1:1,,n2:1'"), []string{"cluster.join", "entry 2 is empty"}},
		"join, no port":       {inCluster("join: [n1]"), []string{"cluster.join", "n1", "host:port"}},
		"join, port 0":        {inCluster("join: ['n1:0']"), []string{"cluster.join", "1..65535"}},
		"join, no host":       {inCluster("join: ['0.0.0.0:7946']"), []string{"cluster.join", "reached"}},
		"join, too many":      {inCluster("join: '" + strings.Repeat("n1:1,", 64) + "n1:1'"), []string{"cluster.join", "65", "64"}},
		"bind, no key":        {inCluster("bind: '10.0.0.1:7946'"), []string{"cluster.bind", "10.0.0.1:7946", "cluster.secret_key", "anyone could join"}},
		"remote, no tls":      {inCluster("remote_bind: '10.0.0.1:7950'"), []string{"cluster.remote_bind", "10.0.0.1:7950", "cluster.tls.ca", "carillon certs"}},
		"bind anywhere":       {inCluster("bind: '0.0.0.0:7946', secret_key: '" + secret32 + "'"), []string{"cluster.bind is 0.0.0.0:7946", "cluster.advertise"}},
		"bind anywhere else":  {inCluster("remote_bind: ':7950', tls: {ca: a, cert: b, key: c}"), []string{"cluster.remote_bind is :7950", "cluster.advertise"}},
		"bind, port 0":        {inCluster("bind: '127.0.0.1:0'"), []string{"cluster.bind", "1..65535"}},
		"short key":           {inCluster("secret_key: short"), []string{"cluster.secret_key", "32..4096 bytes and has 5"}},
		"third of tls":        {inCluster("tls: {ca: a}"), []string{"cluster.tls.ca", "cluster.tls.cert", "cluster.tls.key", "all three or none"}},
		"advertise, port":     {inCluster("advertise: '10.0.0.1:7946'"), []string{"cluster.advertise", "host alone"}},
		"advertise, brackets": {inCluster("advertise: '[::1]'"), []string{"cluster.advertise", "host alone"}},
		"advertise, anywhere": {inCluster("advertise: '::'"), []string{"cluster.advertise", "reached"}},
		"clients nowhere": {
			inCluster("") + "transport: {listen: '[::]:7443'}\nauth: {allow_none_off_loopback: true}\n",
			[]string{"cluster.enabled", "transport.listen is [::]:7443", "transport.advertise"},
		},
		"clients, any port": {
			inCluster("") + "transport: {listen: '127.0.0.1:0'}\n",
			[]string{"cluster.enabled", "transport.listen is 127.0.0.1:0", "transport.advertise"},
		},
		"clients anywhere": {"transport: {advertise: '0.0.0.0:7443'}\n", []string{"transport.advertise", "reached"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Sources{File: write(t, tc.file)})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, word := range tc.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), secret32) {
				t.Errorf("%q tells the secret", err)
			}
		})
	}
	_, err := Load(Sources{File: write(t, inCluster("")), Env: []string{"CARILLON_CLUSTER_JOIN=n1"}})
	if err == nil || !strings.Contains(err.Error(), "CARILLON_CLUSTER_JOIN (cluster.join)") {
		t.Errorf("from the environment: %v", err)
	}
	_, err = Load(Sources{Flags: flagsWith(t, "join", "n1:7946")})
	if err == nil || !strings.Contains(err.Error(), "persistence.engine is pebble") {
		t.Errorf("--join with the embedded store: %v", err)
	}
}

func TestClusterConfigKey(t *testing.T) {
	if key := (ClusterConfig{}).key(); key != nil {
		t.Errorf("a key without a secret: %x", key)
	}
	a, b := ClusterConfig{SecretKey: secret32}.key(), ClusterConfig{SecretKey: secret32 + "x"}.key()
	if len(a) != 32 || len(b) != 32 || bytes.Equal(a, b) || bytes.Contains(a, []byte(secret32)) {
		t.Errorf("keys %x and %x", a, b)
	}
}

// flagsWith are the flags of serve with pairs of a name and a value set.
func flagsWith(t *testing.T, pairs ...string) *pflag.FlagSet {
	t.Helper()
	flags := serveFlags()
	for pair := range slices.Chunk(pairs, 2) {
		if err := flags.Set(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	return flags
}
