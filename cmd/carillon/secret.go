package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const (
	secretBytes   = 32
	secretFile    = "secret"
	secretTimeout = 15 * time.Second // for the database to give it
)

// vault is a store that keeps what all nodes on it share.
type vault interface {
	Secret(ctx context.Context, name string, proposed []byte) ([]byte, error)
}

// sharedSecret gives the secret of all nodes on one database. A node that was on it before there was one proposes its own,
// so that the calls it knows keep their IDs.
func sharedSecret(v vault, dir string, log *slog.Logger) ([]byte, error) {
	own, err := readSecret(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	proposed := own
	if own == nil {
		proposed = newSecret()
	}
	ctx, cancel := context.WithTimeout(context.Background(), secretTimeout)
	defer cancel()
	secret, err := v.Secret(ctx, "server", proposed)
	if err != nil {
		return nil, fmt.Errorf("persistence.dsn: the secret that all nodes share: %w", err)
	}
	if len(secret) != secretBytes {
		return nil, fmt.Errorf("persistence.dsn: the secret that all nodes share has %d bytes, must have %d; restore the table secrets from a backup",
			len(secret), secretBytes)
	}
	if own != nil && !bytes.Equal(own, secret) {
		log.Warn("the database's secret counts, not the one in persistence.dir: an invite of before, retried, does not meet its call",
			"file", filepath.Join(dir, secretFile))
	}
	return secret, nil
}

// nodeSecret is made of the shared one for what one node alone must be able to do. Two nodes that could make each other's
// stateless resets would let an attacker end the connections of the one by way of the other (RFC 9000, 21.11).
func nodeSecret(shared []byte, node string) []byte {
	mac := hmac.New(sha256.New, shared)
	mac.Write([]byte("node " + node))
	return mac.Sum(nil)
}

// loadSecret gives the node's secret, which keys call IDs, stateless resets and address tokens. It is made at the first
// start and must survive: with another one a retried callInvite would not meet its first call.
func loadSecret(dir string) ([]byte, error) {
	secret, err := readSecret(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return makeSecret(dir, filepath.Join(dir, secretFile))
	}
	return secret, err
}

// readSecret gives the secret in the directory; fs.ErrNotExist when there is none.
func readSecret(dir string) ([]byte, error) {
	file := filepath.Join(dir, secretFile)
	secret, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("persistence.dir: %w", err)
	}
	if len(secret) != secretBytes {
		return nil, fmt.Errorf("persistence.dir: %s has %d bytes, must have %d; restore it from a backup", file, len(secret), secretBytes)
	}
	return secret, nil
}

// makeSecret writes a new secret so that a crash leaves either none or a whole one.
func makeSecret(dir, file string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("persistence.dir: %w", err)
	}
	secret := newSecret()
	tmp, err := os.CreateTemp(dir, "secret-*")
	if err != nil {
		return nil, fmt.Errorf("persistence.dir: %w", err)
	}
	_, err = tmp.Write(secret)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("persistence.dir: %w", err), os.Remove(tmp.Name()))
	}
	return secret, syncDir(dir)
}

func newSecret() []byte {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return secret
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("persistence.dir: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
