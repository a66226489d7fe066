package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carillon/transport/wire"
)

// safe is a vault with one secret, once somebody has proposed it.
type safe struct {
	secret []byte
	err    error
}

func (s *safe) Secret(_ context.Context, _ string, proposed []byte) ([]byte, error) {
	if s.secret == nil {
		s.secret = proposed
	}
	return s.secret, s.err
}

func writeSecret(t *testing.T, secret []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, secretFile), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSecretSharedByNodes(t *testing.T) {
	own, other := bytes.Repeat([]byte("o"), secretBytes), bytes.Repeat([]byte("x"), secretBytes)
	empty := t.TempDir()
	for name, tc := range map[string]struct {
		dir   string
		vault safe
		want  []byte // nil: a new one
		warns bool
	}{
		"nobody has one":                {dir: empty},
		"this node had one":             {dir: writeSecret(t, own), want: own},
		"another node was first":        {dir: empty, vault: safe{secret: other}, want: other},
		"another node had another":      {dir: writeSecret(t, own), vault: safe{secret: other}, want: other, warns: true},
		"this node's was the first one": {dir: writeSecret(t, own), vault: safe{secret: own}, want: own},
	} {
		var log bytes.Buffer
		got, err := sharedSecret(&tc.vault, tc.dir, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil || len(got) != secretBytes || tc.want != nil && !bytes.Equal(got, tc.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if (log.Len() > 0) != tc.warns {
			t.Errorf("%s: the log says %q", name, &log)
		}
		if bytes.Contains(log.Bytes(), own) || bytes.Contains(log.Bytes(), other) {
			t.Errorf("%s: the log tells the secret", name)
		}
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
		t.Errorf("the secret of the database was written to the disk: %v, %v", left, err)
	}
}

func TestSecretSharedByNodesRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		dir   string
		vault safe
		word  string
	}{
		"short file":  {writeSecret(t, []byte("short")), safe{}, "persistence.dir"},
		"short value": {t.TempDir(), safe{secret: []byte("short")}, "persistence.dsn"},
		"no answer":   {t.TempDir(), safe{err: errors.New("gone away")}, "gone away"},
	} {
		if got, err := sharedSecret(&tc.vault, tc.dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tc.word) {
			t.Errorf("%s: %q, %v does not say %s", name, got, err, tc.word)
		}
	}
}

func TestSecretOfOneNode(t *testing.T) {
	shared := bytes.Repeat([]byte("o"), secretBytes)
	a, b := nodeSecret(shared, "a"), nodeSecret(shared, "b")
	if len(a) != secretBytes || bytes.Equal(a, b) || bytes.Equal(a, shared) || !bytes.Equal(a, nodeSecret(shared, "a")) {
		t.Errorf("%x and %x", a, b)
	}
}

// TestSecretOutlivesItsNode: an invite that is retried on another node of the database meets its call.
func TestSecretOutlivesItsNode(t *testing.T) {
	t.Parallel()
	tune := onPostgres(database(t))
	first := newNode(t, tune)
	k := newCast(t, first)
	invite := frameOf(&wire.CallInvite{Invitees: k.names("b")})
	answered := k.join("a", "a1").doFrame(invite)
	if answered.GetCode() != 0 {
		t.Fatalf("invite answered %v", answered)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := newNode(t, tune)
	k.on = second
	a := k.join("a", "a1")
	sameOutcome(t, "other node", answered, a.doFrame(again(invite, nil)))
	if calls := a.must(&wire.QueryCallInvitationList{}).GetList().GetCalls(); len(calls) != 1 {
		t.Errorf("twice the same intent made %v", calls)
	}
	if left, err := filepath.Glob(filepath.Join(second.cfg.Persistence.Dir, secretFile+"*")); err != nil || len(left) > 0 {
		t.Errorf("the secret of the database was written to the disk: %v, %v", left, err)
	}
}
