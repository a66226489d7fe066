package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const secretBytes = 32

// loadSecret gives the node's secret, which keys call IDs, stateless resets and address tokens. It is made at the first
// start and must survive: with another one a retried callInvite would not meet its first call.
func loadSecret(dir string) ([]byte, error) {
	file := filepath.Join(dir, "secret")
	secret, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeSecret(dir, file)
	}
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
