package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

const manual = "../../config.yaml"

func TestManualAndStructAgree(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	file := viper.New()
	file.SetConfigType("yaml")
	if err := file.ReadConfig(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	want := Default()
	var keys []string
	for _, s := range settings(&want) {
		keys = append(keys, s.key)
		if !file.InConfig(s.key) {
			t.Errorf("config.yaml lacks the key %s (default %v)", s.key, s.value.Interface())
			continue
		}
		got := Default()
		for _, g := range settings(&got) {
			if g.key != s.key {
				continue
			}
			if err := decode(g.value, file.Get(s.key)); err != nil {
				t.Errorf("config.yaml: %s: %v", s.key, err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("config.yaml: %s is %v, but the default is %v", s.key, file.Get(s.key), s.value.Interface())
		}
	}
	for _, key := range file.AllKeys() {
		if !slices.Contains(keys, key) {
			t.Errorf("config.yaml: key %s is no setting", key)
		}
	}
}

func TestEveryKeyOfTheManualIsExplained(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	explained := false
	for i, line := range strings.Split(string(text), "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "#"):
			explained = true
		case trimmed == "" || strings.HasSuffix(trimmed, ":"):
			explained = false
		case !explained:
			t.Errorf("config.yaml:%d: %s has no comment above it", i+1, trimmed)
		}
	}
}

func TestEveryCheckBelongsToAKey(t *testing.T) {
	c := Default()
	var keys []string
	for _, s := range settings(&c) {
		keys = append(keys, s.key)
		if check := checks[s.key]; check != nil {
			if err := check(s.value.Interface()); err != nil {
				t.Errorf("the default of %s is refused: %v", s.key, err)
			}
		}
	}
	for key := range checks {
		if !slices.Contains(keys, key) {
			t.Errorf("a check speaks of %s, which is no setting", key)
		}
	}
	for key := range flagKeys {
		if !slices.Contains(keys, key) {
			t.Errorf("a flag speaks of %s, which is no setting", key)
		}
	}
}

func TestLoadPrecedence(t *testing.T) {
	file := write(t, "transport:\n  listen: 127.0.0.1:1\n")
	flags := serveFlags()
	env := []string{"CARILLON_TRANSPORT_LISTEN=127.0.0.1:2"}
	listen := func(from Sources) string {
		t.Helper()
		c, err := Load(from)
		if err != nil {
			t.Fatal(err)
		}
		return c.Transport.Listen
	}
	if got := listen(Sources{}); got != "127.0.0.1:7443" {
		t.Errorf("default: %s", got)
	}
	if got := listen(Sources{File: file}); got != "127.0.0.1:1" {
		t.Errorf("file over default: %s", got)
	}
	if got := listen(Sources{File: file, Env: env}); got != "127.0.0.1:2" {
		t.Errorf("environment over file: %s", got)
	}
	if got := listen(Sources{File: file, Env: env, Flags: flags}); got != "127.0.0.1:2" {
		t.Errorf("a flag that was not given must not count: %s", got)
	}
	if err := flags.Set("listen", "127.0.0.1:3"); err != nil {
		t.Fatal(err)
	}
	if got := listen(Sources{File: file, Env: env, Flags: flags}); got != "127.0.0.1:3" {
		t.Errorf("flag over environment: %s", got)
	}
}

func TestEveryKeyCanBeSetByEnvironment(t *testing.T) {
	c := Default()
	for _, s := range settings(&c) {
		value := fmt.Sprint(s.value.Interface())
		if s.value.Kind() == reflect.Slice || value == "" {
			continue
		}
		if _, err := Load(Sources{Env: []string{s.env() + "=" + value}}); err != nil {
			t.Errorf("%s=%s: %v", s.env(), value, err)
		}
	}
	got, err := Load(Sources{Env: []string{
		"CARILLON_LIMITS_QUEUE_BYTES=1048576", "CARILLON_HEARTBEAT_TIMEOUT=1m", "CARILLON_ADMIN_PPROF=true",
		"CARILLON_AUTH_TOKEN04_APP_ID=4294967295", "CARILLON_NODE_NAME=n1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Limits.QueueBytes != 1<<20 || got.Heartbeat.Timeout != time.Minute || !got.Admin.PProf ||
		got.Auth.Token04.AppID != 1<<32-1 || got.Node.Name != "n1" {
		t.Errorf("not all values arrived: %+v", got)
	}
}

func TestLoadAcceptsWhatKubernetesAdds(t *testing.T) {
	env := []string{"CARILLON_SERVICE_HOST=10.0.0.1", "CARILLON_PORT=udp://10.0.0.1:7443", "CARILLON_PORT_7443_UDP_ADDR=10.0.0.1", "PATH=/bin"}
	if _, err := Load(Sources{Env: env}); err != nil {
		t.Error(err)
	}
}

func TestLoadAcceptsAnEmptySectionAndFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "transport:\n", "auth:\n  jwt:\n"} {
		if _, err := Load(Sources{File: write(t, text)}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNodeNameDefaultsToTheHost(t *testing.T) {
	c, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Node.Name == "" {
		t.Error("the node has no name")
	}
}

// TestLoadRefuses: each error must be a sentence with all of the given words.
func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		file, flag string
		env        string
		words      []string
	}{
		"unknown key":         {file: "transport:\n  lisen: x\n", words: []string{".yaml", "transport.lisen", "did you mean transport.listen"}},
		"unknown section":     {file: "carrier: {pigeon: 1}\n", words: []string{".yaml", "carrier.pigeon"}},
		"section as value":    {file: "transport: 7443\n", words: []string{"transport", "section"}},
		"value as section":    {file: "log: {level: {a: 1}}\n", words: []string{"log.level.a"}},
		"not yaml":            {file: "transport: [\n", words: []string{".yaml", "not YAML"}},
		"key twice":           {file: "log:\n  level: info\n  level: warn\n", words: []string{".yaml", "level"}},
		"duration as number":  {file: "heartbeat: {timeout: 35}\n", words: []string{"heartbeat.timeout", "duration", "35s"}},
		"number as text":      {file: "auth: {jwt: {hs256_secret: 0123}}\n", words: []string{"auth.jwt.hs256_secret", "quotes"}},
		"short secret":        {file: "auth: {jwt: {hs256_secret: short}}\n", words: []string{"auth.jwt.hs256_secret", "32..4096 bytes and has 5"}},
		"fraction":            {file: "limits: {invitees: 1.5}\n", words: []string{"limits.invitees", "whole number"}},
		"below range":         {file: "limits: {invitees: 0}\n", words: []string{"limits.invitees", "1..100"}},
		"negative app":        {file: "auth: {token04: {app_id: -1}}\n", words: []string{"auth.token04.app_id"}},
		"not a truth":         {file: "admin: {pprof: maybe}\n", words: []string{"admin.pprof", "true nor false"}},
		"address":             {file: "transport: {listen: '7443'}\n", words: []string{"transport.listen", "host:port"}},
		"port":                {file: "admin: {listen: 'localhost:99999'}\n", words: []string{"admin.listen", "0..65535"}},
		"fraction of second":  {file: "call: {default_timeout: 1500ms}\n", words: []string{"call.default_timeout", "whole"}},
		"postgres, nowhere":   {file: "persistence: {engine: postgres}\n", words: []string{"persistence.engine", "persistence.dsn"}},
		"endpoint":            {file: "trace: {otlp_endpoint: 'localhost:4318'}\n", words: []string{"trace.otlp_endpoint", "URL"}},
		"half of tls":         {file: "transport: {tls: {cert: a.pem}}\n", words: []string{"transport.tls.cert", "transport.tls.key"}},
		"heartbeat":           {file: "heartbeat: {interval: 20s}\n", words: []string{"heartbeat.timeout", "heartbeat.interval"}},
		"burst":               {file: "limits: {requests_burst: 5}\n", words: []string{"limits.requests_burst", "limits.requests_per_second"}},
		"none off loopback":   {file: "transport: {listen: '0.0.0.0:7443'}\n", words: []string{"auth.mode", "0.0.0.0:7443", "allow_none_off_loopback"}},
		"none on all":         {file: "transport: {listen: ':7443'}\n", words: []string{"auth.mode", "loopback"}},
		"jwt without key":     {file: "auth: {mode: jwt}\n", words: []string{"auth.jwt.hs256_secret"}},
		"jwt with two keys":   {file: "auth: {mode: jwt, jwt: {jwks_file: a, public_key_file: b}}\n", words: []string{"exactly one", "2"}},
		"token04 without key": {file: "auth: {mode: token04}\n", words: []string{"auth.token04.secret"}},
		"unknown variable":    {env: "CARILLON_TRANSPORT_LISTE=x", words: []string{"CARILLON_TRANSPORT_LISTE names", "CARILLON_TRANSPORT_LISTEN?"}},
		"bad variable":        {env: "CARILLON_LOG_LEVEL=loud", words: []string{"CARILLON_LOG_LEVEL", "log.level", "loud", "debug, info"}},
		"bad flag":            {flag: "engine=sqlite", words: []string{"--engine", "persistence.engine", "sqlite"}},
	} {
		t.Run(name, func(t *testing.T) {
			from := Sources{Flags: serveFlags()}
			if tc.file != "" {
				from.File = write(t, tc.file)
			}
			if tc.env != "" {
				from.Env = []string{tc.env}
			}
			if flag, value, ok := strings.Cut(tc.flag, "="); ok {
				if err := from.Flags.Set(flag, value); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(from)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, word := range tc.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestLoadNamesAMissingFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := Load(Sources{File: missing}); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v", err)
	}
}

func TestNoneOffLoopbackCanBeForced(t *testing.T) {
	_, err := Load(Sources{Env: []string{"CARILLON_TRANSPORT_LISTEN=0.0.0.0:7443", "CARILLON_AUTH_ALLOW_NONE_OFF_LOOPBACK=true"}})
	if err != nil {
		t.Error(err)
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		"0.0.0.0:1": false, ":1": false, "[::]:1": false, "192.0.2.1:1": false, "example.org:1": false, "127.0.0.1": false,
	} {
		if got := loopback(address); got != want {
			t.Errorf("loopback(%s) = %v", address, got)
		}
	}
}

func serveFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	addServeFlags(flags)
	return flags
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "carillon.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
