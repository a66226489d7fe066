package persistence

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"carillon/actors/call"
)

func secret(t *testing.T, p *Postgres, name, proposed string) string {
	t.Helper()
	got, err := p.Secret(t.Context(), name, []byte(proposed))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// TestSecret: the first proposal counts, for everybody and after a restart, under its own name only.
func TestSecret(t *testing.T) {
	for _, plain := range []bool{false, true} {
		dsn := database(t, plain)
		p := mustOpenPostgres(t, Config{DSN: dsn})
		same(t, "the first", secret(t, p, "server", "one\x00\xff"), "one\x00\xff")
		same(t, "a later proposal", secret(t, p, "server", "two"), "one\x00\xff")
		same(t, "another name", secret(t, p, "other", "three"), "three")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p = closing(t, mustOpenPostgres(t, Config{DSN: dsn}))
		same(t, "after a restart", secret(t, p, "server", "four"), "one\x00\xff")
	}
}

func TestSecretNeedsANameAndAValue(t *testing.T) {
	p := mustOpenPostgres(t, Config{DSN: database(t, false)})
	for name, proposed := range map[string][]byte{"": []byte("one"), "empty": nil, "long": make([]byte, maxSecret+1)} {
		if got, err := p.Secret(t.Context(), name, proposed); err == nil {
			t.Errorf("%q, %d bytes: got %x", name, len(proposed), got)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Secret(t.Context(), "server", []byte("one")); !errors.Is(err, call.ErrUnavailable) {
		t.Errorf("of a closed store: %v", err)
	}
}

// TestSecretRace: nodes that propose at once all get the same, one of their proposals.
func TestSecretRace(t *testing.T) {
	const rounds, proposals = 30, 8
	a, b := twoStores(t)
	for round := range rounds {
		got := make([]string, proposals)
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				p := []*Postgres{a, b}[i%2]
				<-begin
				value, err := p.Secret(t.Context(), fmt.Sprint("round ", round), fmt.Appendf(nil, "proposal %d", i))
				if err != nil {
					t.Error(err)
				}
				got[i] = string(value)
			})
		}
		close(begin)
		wg.Wait()
		if all := slices.Compact(slices.Clone(got)); len(all) != 1 || !strings.HasPrefix(all[0], "proposal ") {
			t.Fatalf("round %d: %q", round, got)
		}
	}
}

// TestSecretCut: a connection that dies, before or after the proposal has arrived, changes nothing.
func TestSecretCut(t *testing.T) {
	for _, where := range []cut{atRequest, inRequest, atAnswer} {
		t.Run(where.String(), func(t *testing.T) {
			p, r, direct := behindRelay(t)
			r.arm(where, "mine", nil)
			same(t, "proposed", secret(t, p, "server", "mine"), "mine")
			if r.count() != 1 {
				t.Fatal("nothing was cut")
			}
			same(t, "elsewhere", secret(t, direct, "server", "theirs"), "mine")
			r.arm(where, "mine", nil)
			same(t, "once more", secret(t, p, "second", "also mine"), "also mine")
		})
	}
}

// TestSecretOvertaken: somebody else's proposal gets through first.
func TestSecretOvertaken(t *testing.T) {
	p, r, direct := behindRelay(t)
	r.arm(atRequest, "mine", func() {
		if got, err := direct.Secret(t.Context(), "server", []byte("theirs")); err != nil || !bytes.Equal(got, []byte("theirs")) {
			t.Errorf("%q, %v", got, err)
		}
	})
	same(t, "overtaken", secret(t, p, "server", "mine"), "theirs")
}
