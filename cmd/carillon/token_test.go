package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"carillon/transport"
)

const secret32 = "0123456789abcdef0123456789abcdef"

func TestTokenIsAccepted(t *testing.T) {
	jwt, err := transport.JWTFromSecret([]byte(secret32))
	if err != nil {
		t.Fatal(err)
	}
	token04, err := transport.Token04FromSecret([]byte(secret32), 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		env   []string
		check transport.Authenticator
	}{
		{[]string{"CARILLON_AUTH_MODE=jwt", "CARILLON_AUTH_JWT_HS256_SECRET=" + secret32}, jwt},
		{[]string{"CARILLON_AUTH_MODE=token04", "CARILLON_AUTH_TOKEN04_SECRET=" + secret32, "CARILLON_AUTH_TOKEN04_APP_ID=7"}, token04},
	} {
		t.Run(tc.env[0], func(t *testing.T) {
			for _, line := range tc.env {
				name, value, _ := strings.Cut(line, "=")
				t.Setenv(name, value)
			}
			var out bytes.Buffer
			command := root()
			command.SetOut(&out)
			command.SetArgs([]string{"token", "--user", "alice", "--ttl", "10m"})
			if err := command.Execute(); err != nil {
				t.Fatal(err)
			}
			token, now := strings.TrimSpace(out.String()), time.Now()
			expires, err := tc.check.Verify("alice", token, now)
			if err != nil {
				t.Fatal(err)
			}
			if left := expires.Sub(now); left > 10*time.Minute || left < 9*time.Minute {
				t.Errorf("valid for %v, asked for 10m", left)
			}
			if _, err := tc.check.Verify("bob", token, now); err == nil {
				t.Error("accepted for another user")
			}
		})
	}
}

func TestTokenRefuses(t *testing.T) {
	hs256 := AuthConfig{Mode: "jwt", JWT: JWTConfig{HS256Secret: secret32}}
	for name, tc := range map[string]struct {
		auth AuthConfig
		user string
		life time.Duration
		word string
	}{
		"mode none":   {AuthConfig{Mode: "none"}, "alice", time.Hour, "auth.mode is none"},
		"public key":  {AuthConfig{Mode: "jwt", JWT: JWTConfig{PublicKeyFile: "a.pem"}}, "alice", time.Hour, "auth.jwt.hs256_secret"},
		"no user":     {hs256, "", time.Hour, "--user"},
		"long user":   {hs256, strings.Repeat("a", 33), time.Hour, "--user"},
		"no life":     {hs256, "alice", 0, "--ttl"},
		"eternal":     {hs256, "alice", 1e4 * time.Hour, "--ttl"},
		"short of 04": {AuthConfig{Mode: "token04", Token04: Token04Config{Secret: "short"}}, "alice", time.Hour, "32"},
	} {
		if _, err := newToken(tc.auth, tc.user, tc.life, time.Now()); err == nil || !strings.Contains(err.Error(), tc.word) {
			t.Errorf("%s: %v does not say %s", name, err, tc.word)
		}
	}
}
