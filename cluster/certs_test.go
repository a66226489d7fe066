package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// meet lets two ends with these configurations greet each other over TLS.
func meet(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(a, server)
		_, err := conn.Write([]byte("x"))
		_ = a.Close()
		served <- err
	}()
	conn := tls.Client(b, client)
	_, err := io.ReadFull(conn, make([]byte, 1))
	_ = b.Close()
	return errors.Join(err, <-served)
}

func load(t *testing.T, dir, node string) *tls.Config {
	t.Helper()
	cfg, err := LoadTLS(TLSFiles{
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, node+".pem"), Key: filepath.Join(dir, node+"-key.pem"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestCertificates(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if err := Certs(d, []string{"a"}, "127.0.0.1", "example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if err := Certs(dir, []string{"b"}); err != nil { // by the same CA, later
		t.Fatal(err)
	}
	a, b, stranger := load(t, dir, "a"), load(t, dir, "b"), load(t, other, "a")
	if err := meet(t, a, b); err != nil {
		t.Errorf("two nodes of one CA: %v", err)
	}
	if err := meet(t, a, stranger); err == nil {
		t.Error("a node of another CA was let in")
	}
	anonymous := b.Clone()
	anonymous.Certificates = nil
	if err := meet(t, a, anonymous); err == nil {
		t.Error("a client without a certificate was let in")
	}
	for _, key := range []string{"ca-key.pem", "a-key.pem"} {
		info, err := os.Stat(filepath.Join(dir, key))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, info.Mode(), err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	if err := Certs(dir, []string{"c"}); err == nil {
		t.Error("a CA without its key was replaced")
	}
	fresh := filepath.Join(t.TempDir(), "certs")
	for _, name := range []string{"", "ca", "ca-key", "a-key", "../x", "..", ".", "a/b", `a\b`, "C:a", "a\nb", strings.Repeat("a", maxName+1)} {
		if err := Certs(fresh, []string{"good", name}); err == nil {
			t.Errorf("a node was named %q", name)
		}
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a bad name left files behind")
	}
}

func TestCertificatesOfOthersAreRefused(t *testing.T) {
	dir := t.TempDir()
	ca, err := openIssuer(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := Certs(dir, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	web := &x509.Certificate{
		DNSNames: []string{"example.org"}, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if _, err := ca.issue(web, time.Now(), filepath.Join(dir, "web")); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "web.pem"), filepath.Join(dir, "web-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	a := load(t, dir, "a")
	client := a.Clone()
	client.Certificates = []tls.Certificate{pair}
	if err := meet(t, a, client); err == nil {
		t.Error("a certificate of the same CA that is no node's was let in")
	}
	_, err = LoadTLS(TLSFiles{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "web.pem"), Key: filepath.Join(dir, "web-key.pem")})
	if err == nil || !strings.Contains(err.Error(), "web.pem") {
		t.Errorf("a certificate that is no node's was loaded: %v", err)
	}
	if _, err := LoadTLS(TLSFiles{CA: filepath.Join(dir, "a-key.pem")}); err == nil {
		t.Error("a key was taken for a CA")
	}
}
