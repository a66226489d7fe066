package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const longSecret = "0123456789abcdef0123456789abcdef"

// Off loopback somebody must have said which certificates are trusted.
func TestTrust(t *testing.T) {
	dir := t.TempDir()
	ca, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, ca, key)
	far, near := net.ParseIP("192.0.2.1"), net.ParseIP("127.0.0.1")
	for name, tc := range map[string]struct {
		ca        string
		insecure  bool
		far, skip bool
	}{"nothing": {"", false, false, true}, "-insecure": {"", true, true, true}, "-ca": {ca, false, true, false}} {
		tr, err := newTrust(tc.ca, tc.insecure, "")
		if err != nil {
			t.Fatal(name, err)
		}
		if err := tr.admits("x:1", far); (err == nil) != tc.far || tr.admits("x:1", near) != nil {
			t.Errorf("%s: far away: %v", name, err)
		}
		if c := tr.config("x.test:1"); c.InsecureSkipVerify != tc.skip || c.ServerName != "x.test" {
			t.Errorf("%s: skips %v, name %s", name, c.InsecureSkipVerify, c.ServerName)
		}
		if token, err := tr.token("ann", noon); token != "" || err != nil {
			t.Errorf("%s: a token without a secret: %q %v", name, token, err)
		}
	}
	if _, err := newTrust(ca, true, ""); err == nil {
		t.Error("-ca with -insecure")
	}
	if _, err := newTrust(key, false, ""); err == nil || !strings.Contains(err.Error(), "has no certificate") {
		t.Errorf("a key for a certificate: %v", err)
	}
	if _, err := newTrust("", false, "short"); err == nil || !strings.Contains(err.Error(), "-token-secret: 5 bytes") {
		t.Errorf("a short secret: %v", err)
	}
}

// A token says who it is of, is signed by HS256, and outlives every run.
func TestTokens(t *testing.T) {
	tr, err := newTrust("", false, longSecret)
	if err != nil {
		t.Fatal(err)
	}
	token, err := tr.token("ann", noon)
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.RegisteredClaims
	at := func() time.Time { return noon.Add(maxDuration + time.Hour) }
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(at), jwt.WithExpirationRequired())
	if _, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return []byte(longSecret), nil }); err != nil || claims.Subject != "ann" {
		t.Errorf("%v: %+v", err, claims)
	}
}

func TestSecretText(t *testing.T) {
	file, empty := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(file, []byte(longSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{"": "", "text": "text", "@" + file: longSecret} {
		if got, err := secretText("-secret", value); got != want || err != nil {
			t.Errorf("%q: %q %v", value, got, err)
		}
	}
	for _, value := range []string{"@" + empty, "@", "@" + file + "x"} {
		if _, err := secretText("-secret", value); err == nil || !strings.HasPrefix(err.Error(), "-secret: ") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// A report shows its command, but no secret.
func TestRedacted(t *testing.T) {
	args := []string{
		"-secret", "one", "--secret=two", "-token-secret", "@file", "-token-secret=three", "-users", "5",
		"-set", "CARILLON_AUTH_JWT_HS256_SECRET=four,CARILLON_CLUSTER_SECRET_KEY=five,CARILLON_X=6",
	}
	want := []string{
		"-secret", "…", "-secret=…", "-token-secret", "@file", "-token-secret=…", "-users", "5",
		"-set", "CARILLON_AUTH_JWT_HS256_SECRET=…,CARILLON_CLUSTER_SECRET_KEY=…,CARILLON_X=6",
	}
	if got := redacted(args); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// writeCertificate makes a certificate for 127.0.0.1 that is its own authority.
func writeCertificate(t *testing.T, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
