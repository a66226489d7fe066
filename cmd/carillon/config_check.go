package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checks says what a value of a key may be, seen alone; what must hold between keys is in Config.check.
var checks = map[string]func(any) error{
	"node.name":                      textBytes(0, 63),
	"log.level":                      oneOf("debug", "info", "warn", "error"),
	"log.format":                     oneOf("text", "json"),
	"transport.listen":               address,
	"transport.advertise":            optional(reachable),
	"transport.login_timeout":        between(100*time.Millisecond, time.Minute),
	"transport.frame_timeout":        between(100*time.Millisecond, time.Minute),
	"transport.write_timeout":        between(100*time.Millisecond, time.Minute),
	"admin.listen":                   optional(address),
	"auth.mode":                      oneOf("none", "jwt", "token04"),
	"auth.jwt.hs256_secret":          optional(textBytes(32, 4096)),
	"auth.token04.secret":            optional(textBytes(32, 32)),
	"users.registration":             oneOf("open", "strict"),
	"heartbeat.interval":             between(100*time.Millisecond, 10*time.Minute),
	"heartbeat.timeout":              between(300*time.Millisecond, time.Hour),
	"call.default_timeout":           wholeSeconds(1, 600),
	"call.not_received_after":        between(100*time.Millisecond, 10*time.Minute),
	"call.max_duration":              between(time.Second, 720*time.Hour),
	"call.member_lease":              between(0, 720*time.Hour),
	"call.retention":                 between(time.Minute, 87_600*time.Hour),
	"call.join_policy":               oneOf("anyone", "invited"),
	"persistence.engine":             oneOf("pebble", "memory", "postgres"),
	"persistence.dir":                textBytes(1, 4096),
	"persistence.dsn":                textBytes(0, 4096),
	"persistence.min_free_mib":       count(1, 1<<20),
	"cluster.bind":                   peerAddress,
	"cluster.remote_bind":            peerAddress,
	"cluster.advertise":              optional(hostOnly),
	"cluster.join":                   each(64, reachable),
	"cluster.secret_key":             optional(textBytes(32, 4096)),
	"limits.connections":             count(1, 10_000_000),
	"limits.connections_per_address": count(1, 10_000_000),
	"limits.handshakes":              count(1, 1_000_000),
	"limits.handshakes_per_second":   count(1, 1_000_000),
	"limits.frames_per_second":       count(1, 1_000_000),
	"limits.devices_per_user":        count(1, 100),
	"limits.requests_per_second":     count(1, 100_000),
	"limits.requests_burst":          count(1, 100_000),
	"limits.invitees":                count(1, 100),
	"limits.users_in_call":           count(2, 100),
	"limits.extended_data_bytes":     count(0, 16_384),
	"limits.push_title_bytes":        count(0, 16_384),
	"limits.push_content_bytes":      count(0, 16_384),
	"limits.push_payload_bytes":      count(0, 16_384),
	"limits.in_flight_per_device":    count(1, 1024),
	"limits.in_flight":               count(1, 1_000_000),
	"limits.queue_bytes":             count(1<<10, 64<<20),
	"limits.target_wait":             between(0, 10*time.Second),
	"drain.timeout":                  between(0, 10*time.Minute),
	"drain.spread":                   between(0, 10*time.Minute),
	"trace.otlp_endpoint":            optional(webURL),
}

// check is what must hold between settings.
func (c *Config) check() error {
	if (c.Transport.TLS.Cert == "") != (c.Transport.TLS.Key == "") {
		return errors.New("transport.tls.cert and transport.tls.key go together: set both or neither")
	}
	if c.Heartbeat.Timeout < 2*c.Heartbeat.Interval {
		return fmt.Errorf("heartbeat.timeout (%v) must be at least twice heartbeat.interval (%v), or one lost heartbeat makes a device offline",
			c.Heartbeat.Timeout, c.Heartbeat.Interval)
	}
	if c.Limits.RequestsBurst < c.Limits.RequestsPerSecond {
		return fmt.Errorf("limits.requests_burst (%d) must not be below limits.requests_per_second (%d)",
			c.Limits.RequestsBurst, c.Limits.RequestsPerSecond)
	}
	if c.Limits.ConnectionsPerAddress > c.Limits.Connections {
		return fmt.Errorf("limits.connections_per_address (%d) must not be above limits.connections (%d)",
			c.Limits.ConnectionsPerAddress, c.Limits.Connections)
	}
	if c.Persistence.Engine == "postgres" && c.Persistence.DSN == "" {
		return errors.New("persistence.engine is postgres, so persistence.dsn must say which database")
	}
	if err := c.checkCluster(); err != nil {
		return err
	}
	return c.checkAuth()
}

func (c *Config) checkAuth() error {
	switch c.Auth.Mode {
	case "jwt":
		if n := c.Auth.JWT.keys(); n != 1 {
			return fmt.Errorf("auth.mode is jwt, so exactly one of auth.jwt.hs256_secret, auth.jwt.public_key_file, auth.jwt.jwks_file must be set, not %d (a JWKS holds several keys)", n)
		}
	case "token04":
		if c.Auth.Token04.Secret == "" || c.Auth.Token04.AppID == 0 {
			return errors.New("auth.mode is token04, so auth.token04.secret (32 bytes) and auth.token04.app_id must be set")
		}
	case "none":
		if !loopback(c.Transport.Listen) && !c.Auth.AllowNoneOffLoopback {
			return fmt.Errorf("auth.mode is none, which lets anyone be anyone, and transport.listen is %s, which is not loopback: "+
				"set auth.mode to jwt or token04, or force it with auth.allow_none_off_loopback: true", c.Transport.Listen)
		}
	}
	return nil
}

// keys counts the sources of keys.
func (c JWTConfig) keys() int {
	n := 0
	for _, source := range []string{c.HS256Secret, c.PublicKeyFile, c.JWKSFile} {
		if source != "" {
			n++
		}
	}
	return n
}

// loopback reports whether only this machine can reach the address. A name counts when it is localhost: what else it may
// resolve to is not known before it is listened on.
func loopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func oneOf(values ...string) func(any) error {
	return func(v any) error {
		if !slices.Contains(values, v.(string)) {
			return fmt.Errorf("%q is not one of %s", v, strings.Join(values, ", "))
		}
		return nil
	}
}

func between(least, most time.Duration) func(any) error {
	return func(v any) error {
		if d := v.(time.Duration); d < least || d > most {
			return fmt.Errorf("%v is not in %v..%v", d, least, most)
		}
		return nil
	}
}

func wholeSeconds(least, most int) func(any) error {
	inRange := between(time.Duration(least)*time.Second, time.Duration(most)*time.Second)
	return func(v any) error {
		if d := v.(time.Duration); d%time.Second != 0 {
			return fmt.Errorf("%v is not a whole number of seconds", d)
		}
		return inRange(v)
	}
}

func count(least, most int) func(any) error {
	return func(v any) error {
		if n := v.(int); n < least || n > most {
			return fmt.Errorf("%d is not in %d..%d", n, least, most)
		}
		return nil
	}
}

// textBytes bounds the length in bytes. The value is not repeated: it may be a secret.
func textBytes(least, most int) func(any) error {
	return func(v any) error {
		n := len(v.(string))
		switch {
		case n >= least && n <= most:
			return nil
		case least == most:
			return fmt.Errorf("must have %d bytes and has %d", least, n)
		default:
			return fmt.Errorf("must have %d..%d bytes and has %d", least, most, n)
		}
	}
}

func optional(check func(any) error) func(any) error {
	return func(v any) error {
		if v == "" {
			return nil
		}
		return check(v)
	}
}

func address(v any) error {
	_, port, err := net.SplitHostPort(v.(string))
	if err != nil {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:7443 or [::]:7443", v)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port must be a number in 0..65535, where 0 takes any free one", v)
	}
	return nil
}

func webURL(v any) error {
	u, err := url.Parse(v.(string))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%q is not a URL such as http://127.0.0.1:4318/v1/traces", v)
	}
	return nil
}
