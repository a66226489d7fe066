package cluster

import (
	"cmp"
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
	"strings"
	"time"
	"unicode"
)

// NodeServerName is a DNS name in every node's certificate. It makes a certificate that of a node, whatever its address:
// both sides of a connection demand it, so that a certificate that the same CA made for something else does not pass.
const NodeServerName = "node.carillon"

// How long what Certs makes is valid.
const (
	caValidity   = 10 * 365 * 24 * time.Hour
	nodeValidity = 2 * 365 * 24 * time.Hour
)

// TLSFiles names PEM files: the CA that signs all nodes, and this node's certificate and key.
type TLSFiles struct {
	CA, Cert, Key string
}

// LoadTLS makes a configuration for both ends of the connections between nodes: TLS 1.3, and each demands a certificate
// of the other that the CA has signed and that has the DNS name NodeServerName. Errors name the file.
func LoadTLS(files TLSFiles) (*tls.Config, error) {
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, fmt.Errorf("cluster: CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("cluster: CA: no certificate in %s", files.CA)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("cluster: certificate %s, key %s: %w", files.Cert, files.Key, err)
	}
	if err := pair.Leaf.VerifyHostname(NodeServerName); err != nil {
		return nil, fmt.Errorf("cluster: %s is not a node's certificate: %w", files.Cert, err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ServerName: NodeServerName,
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("cluster: the peer has no certificate")
			}
			return state.PeerCertificates[0].VerifyHostname(NodeServerName)
		},
	}, nil
}

// Certs makes certificates for development and for clusters without a CA of their own: in dir ca.pem and ca-key.pem, unless
// they are there, and for each node <name>.pem and <name>-key.pem (ECDSA P-256, for both ends), which are replaced. The
// keys are readable by their owner only. Hosts are put in beside the names, for those who check them. A name that is no
// name for files, or that of another file here, is an error before anything is written.
func Certs(dir string, nodes []string, hosts ...string) error {
	for _, node := range nodes {
		if err := checkFileName(node); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cluster: certificates: %w", err)
	}
	now := time.Now()
	ca, err := openIssuer(dir, now)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		template := &x509.Certificate{
			Subject:  pkix.Name{CommonName: node},
			DNSNames: []string{NodeServerName},
			NotAfter: now.Add(nodeValidity), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		for _, host := range hosts {
			if ip := net.ParseIP(host); ip != nil {
				template.IPAddresses = append(template.IPAddresses, ip)
			} else {
				template.DNSNames = append(template.DNSNames, host)
			}
		}
		if _, err := ca.issue(template, now, filepath.Join(dir, node)); err != nil {
			return err
		}
	}
	return nil
}

func checkFileName(node string) error {
	unfit := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(`/\:`, r) }
	switch {
	case node == "" || len(node) > maxName || strings.HasPrefix(node, ".") || strings.ContainsFunc(node, unfit):
		return fmt.Errorf("cluster: certificates: %q is no name for a node's files", node)
	case node == "ca" || strings.HasSuffix(node, "-key"):
		return fmt.Errorf("cluster: certificates: %q cannot be a node's name here: %s.pem is another file's name", node, node)
	}
	return nil
}

// issuer is a CA, or nothing yet, which signs itself.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// openIssuer loads the CA, or makes one where there is neither its certificate nor its key.
func openIssuer(dir string, now time.Time) (issuer, error) {
	cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")
	if missing(cert) && missing(key) {
		return makeIssuer(dir, now)
	}
	return loadIssuer(cert, key)
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func loadIssuer(certPath, keyPath string) (issuer, error) {
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err != nil {
		return issuer{}, fmt.Errorf("cluster: certificates: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return issuer{}, fmt.Errorf("cluster: certificates: %s is not a CA with an ECDSA key", certPath)
	}
	return issuer{pair.Leaf, key}, nil
}

func makeIssuer(dir string, now time.Time) (issuer, error) {
	return issuer{}.issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "Carillon development CA"},
		NotAfter: now.Add(caValidity), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}, now, filepath.Join(dir, "ca"))
}

// issue signs a certificate for a new key and writes both.
func (ca issuer) issue(template *x509.Certificate, now time.Time, base string) (issuer, error) {
	const skew = time.Hour // between clocks
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return issuer{}, fmt.Errorf("cluster: certificates: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return issuer{}, fmt.Errorf("cluster: certificates: %w", err)
	}
	template.SerialNumber, template.NotBefore = serial, now.Add(-skew)
	der, err := x509.CreateCertificate(rand.Reader, template, cmp.Or(ca.cert, template), &key.PublicKey, cmp.Or(ca.key, key))
	if err != nil {
		return issuer{}, fmt.Errorf("cluster: certificates: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return issuer{}, fmt.Errorf("cluster: certificates: %w", err)
	}
	if err := writePEM(base+"-key.pem", "PRIVATE KEY", secret, 0o600); err != nil {
		return issuer{}, err
	}
	if err := writePEM(base+".pem", "CERTIFICATE", der, 0o644); err != nil {
		return issuer{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return issuer{}, fmt.Errorf("cluster: certificates: %w", err)
	}
	return issuer{cert, key}, nil
}

func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return fmt.Errorf("cluster: certificates: %w", err)
	}
	return nil
}
