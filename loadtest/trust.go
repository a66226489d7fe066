package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"carillon/transport/wire"
)

const (
	minTokenSecret = 32             // bytes: RFC 7518, section 3.2
	tokenLife      = 48 * time.Hour // longer than any run, so that no server asks for a new one
	maxSecretFile  = 64 << 10       // bytes
)

// trust is which servers the users take for theirs, and how they prove who they are.
type trust struct {
	insecure bool           // any certificate, also off loopback
	roots    *x509.CertPool // nil: any certificate, on loopback
	secret   []byte         // signs tokens with HS256; nil: users log in without
}

// admits says why an address may not be attacked. The flags named are the ones that allow it.
func (t trust) admits(to string, ip net.IP) error {
	if ip.IsLoopback() || t.insecure || t.roots != nil {
		return nil
	}
	return fmt.Errorf("%s is not a loopback address: say which certificates are trusted there, -ca FILE or -insecure", to)
}

// config is TLS's for a server.
func (t trust) config(to string) *tls.Config {
	host, _, err := net.SplitHostPort(to)
	if err != nil {
		host = to
	}
	c := &tls.Config{ServerName: host, NextProtos: []string{wire.ALPN}, MinVersion: tls.VersionTLS13, RootCAs: t.roots}
	c.InsecureSkipVerify = t.roots == nil // admits has looked at the address
	return c
}

// token is what a user logs in with.
func (t trust) token(user string, now time.Time) (string, error) {
	if t.secret == nil {
		return "", nil
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: user, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
	}).SignedString(t.secret)
}

// newTrust reads what the flags name.
func newTrust(ca string, insecure bool, secret string) (t trust, err error) {
	t.insecure = insecure
	if ca != "" && insecure {
		return t, errors.New("-ca and -insecure contradict each other")
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return t, fmt.Errorf("-ca: %w", err)
		}
		if t.roots = x509.NewCertPool(); !t.roots.AppendCertsFromPEM(pem) {
			return t, fmt.Errorf("-ca %s: has no certificate in PEM", ca)
		}
	}
	if secret != "" {
		if len(secret) < minTokenSecret {
			return t, fmt.Errorf("-token-secret: %d bytes, at least %d are needed", len(secret), minTokenSecret)
		}
		t.secret = []byte(secret)
	}
	return t, nil
}
