package cluster

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

func TestConfigNamesWhatIsWrong(t *testing.T) {
	good := Config{Name: "a", Bind: "127.0.0.1:7946", RemoteBind: "[::1]:7950", Deliver: func(uint16, uint8, []byte) {}}
	if _, err := good.filled(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want   string // in the error; empty: none
		change func(*Config)
	}{
		{"Name", func(c *Config) { c.Name = "" }},
		{"Name", func(c *Config) { c.Name = strings.Repeat("x", maxName+1) }},
		{"Deliver", func(c *Config) { c.Deliver = nil }},
		{"SecretKey", func(c *Config) { c.SecretKey = make([]byte, 17) }},
		{"Bind", func(c *Config) { c.Bind = "127.0.0.1" }},
		{"Bind", func(c *Config) { c.Bind = "127.0.0.1:x" }},
		{"RemoteBind", func(c *Config) { c.RemoteBind = "127.0.0.1:0" }},
		{"Join", func(c *Config) { c.Join = []string{"127.0.0.1:7946", "x"} }},
		{"SecretKey", func(c *Config) { c.Bind = "0.0.0.0:7946" }},
		{"TLS", func(c *Config) { c.RemoteBind = "10.0.0.1:7950" }},
		{"", func(c *Config) { c.Bind, c.SecretKey = "0.0.0.0:7946", make([]byte, 32) }},
		{"", func(c *Config) { c.RemoteBind, c.TLS = "10.0.0.1:7950", &tls.Config{MinVersion: tls.VersionTLS13} }},
	} {
		c := good
		tc.change(&c)
		_, err := c.filled()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("want %q, got %v", tc.want, err)
		}
	}
}

func TestMetadataFits(t *testing.T) {
	long := announcement{Remote: strings.Repeat("r", 300), Client: strings.Repeat("c", 300)}
	if _, err := long.encode(); err == nil || !strings.Contains(err.Error(), "Meta") {
		t.Errorf("600 bytes: %v", err)
	}
	want := announcement{Remote: "10.0.0.1:7950", Client: "example.org:7443", Version: "v1", Leaving: true, Boot: 5}
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	b = append([]byte(`{"x":"of a newer version",`), b[1:]...)
	if got, err := decodeAnnouncement(b); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := decodeAnnouncement([]byte("{}")); err == nil {
		t.Error("metadata of another program was taken")
	}
}

func TestStandstillByEitherClock(t *testing.T) {
	now := time.Now()
	if got := standstill(now, now.Add(3*time.Second)); got != 3*time.Second {
		t.Errorf("both clocks went on: %v", got)
	}
	// A suspended machine: only the wall clock went on.
	if got := standstill(now.Add(-time.Hour).Round(0), now); got != time.Hour {
		t.Errorf("the wall clock went on: %v", got)
	}
	if got := standstill(now.Add(time.Hour).Round(0), now); got > 0 {
		t.Errorf("the wall clock was set back: %v", got)
	}
}
