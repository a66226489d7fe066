package main

import (
	"io"
	"net"
	"strings"
	"testing"
)

// TestMigrateSaysWhatIsWrong: without a database, and with one that isn't there.
func TestMigrateSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ dsn, want string }{
		"no database": {"", "persistence.dsn is empty"},
		"no server":   {"postgres://carillon:secret@" + nobody + "/calls?sslmode=disable", "persistence.dsn"},
		"no sense":    {"postgres://%", "persistence.dsn"},
	} {
		t.Run(name, func(t *testing.T) {
			command := migrateCommand()
			command.SetArgs([]string{"--config", write(t, "persistence: {dsn: '"+tc.dsn+"'}\n")})
			command.SetOut(io.Discard)
			command.SetErr(io.Discard)
			err := command.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Fatalf("the password is in %q", err)
			}
		})
	}
}
