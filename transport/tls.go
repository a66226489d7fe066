package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The development certificate's files and its life.
const (
	devCertFile = "dev-cert.pem"
	devKeyFile  = "dev-key.pem"
	devCertLife = 365 * 24 * time.Hour
	devCertRest = 7 * 24 * time.Hour // remade when less is left
)

// LoadCertificate reads a certificate chain and its key from PEM files; errors name the file. ECDSA P-256 is the best
// choice: a handshake with RSA-2048 costs the server three times as much.
func LoadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	if certFile == "" || keyFile == "" {
		return tls.Certificate{}, errors.New("transport: TLS needs a certificate file and a key file")
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("transport: TLS certificate %s, key %s: %w", certFile, keyFile, err)
	}
	return cert, nil
}

// DevCertificate gives the self-signed ECDSA P-256 certificate in dir (dev-cert.pem, dev-key.pem), for localhost,
// 127.0.0.1, ::1 and this host's name. It makes dir and the files if there are none, and new files when the certificate
// has less than a week left. Clients trust it by its file.
func DevCertificate(dir string) (tls.Certificate, error) {
	certFile, keyFile := filepath.Join(dir, devCertFile), filepath.Join(dir, devKeyFile)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return tls.Certificate{}, fmt.Errorf("transport: development certificate %s, key %s (delete both to have new ones made): %w",
			certFile, keyFile, err)
	case time.Until(cert.Leaf.NotAfter) > devCertRest:
		return cert, nil
	}
	if err := makeDevCertificate(dir, certFile, keyFile); err != nil {
		return tls.Certificate{}, fmt.Errorf("transport: make development certificate: %w", err)
	}
	return LoadCertificate(certFile, keyFile)
}

func makeDevCertificate(dir, certFile, keyFile string) error {
	der, key, err := selfSigned(time.Now())
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := replaceFile(keyFile, "PRIVATE KEY", keyDER, 0o600); err != nil {
		return err
	}
	return replaceFile(certFile, "CERTIFICATE", der, 0o644)
}

func selfSigned(now time.Time) (der []byte, key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Carillon development"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(devCertLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              devNames(),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return der, key, err
}

func devNames() []string {
	names := []string{"localhost"}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		names = append(names, host)
	}
	return names
}

// replaceFile writes a PEM block beside file and renames it, so that nobody reads half of it.
func replaceFile(file, kind string, der []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // fails once renamed
	err = pem.Encode(tmp, &pem.Block{Type: kind, Bytes: der})
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
