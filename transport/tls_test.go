package transport

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDevCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "tls")
	cert := must(DevCertificate(dir))
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", must(os.Hostname())} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if mode := must(os.Stat(filepath.Join(dir, devKeyFile))).Mode(); mode.Perm() != 0o600 {
		t.Errorf("the key's mode is %v", mode)
	}
	if again := must(DevCertificate(dir)); !bytes.Equal(again.Certificate[0], cert.Certificate[0]) {
		t.Error("the certificate was made twice")
	}
	if entries := must(os.ReadDir(dir)); len(entries) != 2 {
		t.Errorf("files %v, want two", entries)
	}
}

// TestDevCertificateIsRemade says that one that is about to expire, or whose key is lost, is replaced.
func TestDevCertificateIsRemade(t *testing.T) {
	dir := t.TempDir()
	der, key, err := selfSigned(time.Now().Add(devCertRest - devCertLife - time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(filepath.Join(dir, devKeyFile), "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(filepath.Join(dir, devCertFile), "CERTIFICATE", der, 0o644); err != nil {
		t.Fatal(err)
	}
	remade := must(DevCertificate(dir))
	if bytes.Equal(remade.Certificate[0], der) || time.Until(remade.Leaf.NotAfter) < devCertRest {
		t.Error("the old certificate is still there")
	}
	if err := os.Remove(filepath.Join(dir, devKeyFile)); err != nil {
		t.Fatal(err)
	}
	if again := must(DevCertificate(dir)); bytes.Equal(again.Certificate[0], remade.Certificate[0]) {
		t.Error("the certificate without a key is still there")
	}
}

func TestDevCertificateErrors(t *testing.T) {
	dir := t.TempDir()
	must(DevCertificate(dir))
	key := filepath.Join(dir, devKeyFile)
	if err := os.WriteFile(key, []byte("scribble"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := DevCertificate(dir); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("error %v, want one that names %s", err, key)
	}
	if _, err := DevCertificate(filepath.Join(key, "below-a-file")); err == nil {
		t.Error("a certificate was made below a file")
	}
}
