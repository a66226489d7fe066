//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Two workers play a run on a server that checks tokens and has a certificate; it comes out as one report.
func TestDistributed(t *testing.T) {
	if testing.Short() {
		t.Skip("builds cmd/carillon and runs it")
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, cert, key)
	one, _ := startWorkerWith(t, cert)
	two, said := startWorkerWith(t, cert)
	binary := filepath.Join(dir, "carillon")
	if b, err := exec.Command("go", "build", "-o", binary, "carillon/cmd/carillon").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	args := []string{
		"-binary", binary, "-workers", one + "," + two, "-spawn", "1", "-users", "60", "-rate", "50", "-warmup", "500ms", "-duration", "2s", "-data", dir,
		"-out", filepath.Join(dir, "out"), "-token-secret", longSecret, "-set", "CARILLON_TRANSPORT_TLS_CERT=" + cert + ",CARILLON_TRANSPORT_TLS_KEY=" + key,
	}
	for range 2 { // the workers are there for more than one run
		var out, notes strings.Builder
		code, err := command(t.Context(), args, &out, &notes)
		t.Log(notes.String(), out.String())
		if err != nil || code != exitPassed {
			t.Fatalf("exit code %d: %v\n%s", code, err, said.tail())
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "out", "*.json"))
	if err != nil || len(found) != 2 {
		t.Fatalf("reports %v %v", found, err)
	}
	r, err := loadReport("", found[0])
	if err != nil {
		t.Fatal(err)
	}
	if r.Calls.Offered != 100 || r.Calls.Right != 100 || r.Audit.Calls != 100+12 || r.Servers.CPUPer1000 <= 0 || r.Scenario.Users != 60 {
		t.Errorf("%+v, audit %+v, servers %+v", r.Calls, r.Audit, r.Servers)
	}
	if l := r.latency(ringMetric.String()); l.Count != 100 || l.P50 <= 0 || r.latency("login").Count != 60 {
		t.Errorf("ring %+v", l)
	}
	begun, online := 0, 0
	for _, s := range r.Seconds {
		begun, online = begun+s.Begun, max(online, s.Online)
	}
	if begun != 100 || online != 60 || r.Seconds[0].Memory == 0 {
		t.Errorf("%d calls in the seconds, %d online, %+v", begun, online, r.Seconds)
	}
	if b, err := os.ReadFile(found[0]); err != nil || strings.Contains(string(b), longSecret) {
		t.Errorf("the report shows the secret, or is not there: %v", err)
	}
}
