package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"carillon/transport/wire"
)

// threeMembers is a healthy cluster.
func threeMembers() Status {
	const view = "9f3c01d2a4b5e678"
	return Status{Node: "n1", View: view, Members: []MemberStatus{
		{Name: "n1", Version: "v0.4.0", State: "alive", Client: "10.0.0.1:7443", View: view, Shards: 1365, OpenCalls: map[string]int{"ringing": 12, "answered": 1}, Devices: 1204, Store: "ok"},
		{Name: "n2", Version: "v0.4.0", State: "alive", Client: "10.0.0.2:7443", View: view, Shards: 1402, OpenCalls: map[string]int{"ringing": 3, "resting": 40}, Devices: 988, Store: "ok"},
		{Name: "n3", Version: "v0.4.1", State: "leaving", Client: "10.0.0.3:7443", View: view, Shards: 1329, Devices: 1, Store: "ok"},
	}}
}

func TestStatusTable(t *testing.T) {
	ill := threeMembers()
	ill.Members[1].Store, ill.Members[1].View = "unavailable: the database doesn't answer: timeout", "17"
	ill.Members[2] = MemberStatus{Name: "n3", State: "alive", Client: "10.0.0.3:7443", Shards: 1329, Error: "context deadline exceeded"}
	long := threeMembers()
	long.Members[1].Name, long.Members[1].Version = "carillon-2.carillon.calls.svc.cluster.local", "v0.4.0-112-g0123456-dirty"
	long.Members[1].Client = "carillon-2.calls.example.org:7443"
	alone := Status{Node: "n1", Members: []MemberStatus{{
		Name: "n1", Version: "devel", State: "alive", Client: "127.0.0.1:7443", Shards: 4096, OpenCalls: map[string]int{"ringing": 1}, Devices: 2, Store: "ok",
	}}}
	for name, tc := range map[string]struct {
		status Status
		want   string
	}{
		"healthy": {threeMembers(), `
NAME  VERSION  STATE    CLIENTS        SHARDS  CALLS  DEVICES  STORE
n1    v0.4.0   alive    10.0.0.1:7443    1365     13     1204  ok
n2    v0.4.0   alive    10.0.0.2:7443    1402     43      988  ok
n3    v0.4.1   leaving  10.0.0.3:7443    1329      0        1  ok

view 9f3c01d2a4b5e678, all 3 members agree
4096 of 4096 shards, 56 open calls (15 ringing, 1 answered, 40 resting), 2193 devices
`},
		"ill": {ill, `
NAME  VERSION  STATE  CLIENTS        SHARDS  CALLS  DEVICES  STORE
n1    v0.4.0   alive  10.0.0.1:7443    1365     13     1204  ok
n2    v0.4.0   alive  10.0.0.2:7443    1402     43      988  not ok
n3    -        alive  10.0.0.3:7443    1329      -        -  no answer

n2: store: unavailable: the database doesn't answer: timeout
n3: no answer: context deadline exceeded
view 9f3c01d2a4b5e678 of n1, but n2 has 17, n3 did not answer
4096 of 4096 shards, 56 open calls (15 ringing, 1 answered, 40 resting), 2192 devices
`},
		"long": {long, `
NAME                    VERSION       STATE    CLIENTS                 SHARDS  CALLS  DEVICES  STORE
n1                      v0.4.0        alive    10.0.0.1:7443             1365     13     1204  ok
carillon-2.carillon.c…  v0.4.0-112-…  alive    carillon-2.calls.exam…    1402     43      988  ok
n3                      v0.4.1        leaving  10.0.0.3:7443             1329      0        1  ok

view 9f3c01d2a4b5e678, all 3 members agree
4096 of 4096 shards, 56 open calls (15 ringing, 1 answered, 40 resting), 2193 devices
`},
		"alone": {alone, `
NAME  VERSION  STATE  CLIENTS         SHARDS  CALLS  DEVICES  STORE
n1    devel    alive  127.0.0.1:7443    4096      1        2  ok

n1 is not in a cluster
4096 of 4096 shards, 1 open call (1 ringing), 2 devices
`},
		"not joined": {Status{Node: "n1"}, `
NAME  VERSION  STATE  CLIENTS  SHARDS  CALLS  DEVICES  STORE

n1 has not joined its cluster yet
0 of 4096 shards, 0 open calls, 0 devices
`},
	} {
		t.Run(name, func(t *testing.T) {
			got := "\n" + tc.status.table()
			if got != tc.want {
				t.Errorf("printed%s\nwant%s", got, tc.want)
			}
			for line := range strings.Lines(got) {
				if n := utf8.RuneCountInString(line) - 1; n > tableWidth && !strings.HasPrefix(line, "view") {
					t.Errorf("%d characters wide: %s", n, line)
				}
			}
		})
	}
}

func TestStatusCannotSteerTheTerminal(t *testing.T) {
	s := threeMembers()
	s.Node, s.View, s.Members[0].Name, s.Members[1].Version = "n\x1b[1", "v\x1b[2", "n\x1b[3\n", "\x1b[4"
	s.Members[1].Store, s.Members[2].Error = "\x1b[5\n", "\x1b[6"
	s.Members[0].OpenCalls["\x1b[7"] = 1
	if got := s.table(); strings.Contains(got, "\x1b") || strings.Count(got, "\n") != strings.Count(threeMembers().table(), "\n")+2 {
		t.Errorf("printed %q", got)
	}
}

func runStatus(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	command := root()
	command.SetOut(&out)
	command.SetErr(&out)
	command.SetArgs(append([]string{"status"}, args...))
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

// TestStatusOfANode: the command against a node that serves.
func TestStatusOfANode(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(cfg *Config) {
		cfg.Admin.Listen, cfg.Transport.Advertise, cfg.Drain.Timeout = "127.0.0.1:0", "calls.example.org:443", 0
	})
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	k := newCast(t, n)
	a, b := k.join("a", "a1"), k.join("b", "b1")
	id := a.must(&wire.CallInvite{Invitees: k.names("b")}).GetCall().GetCallId()
	b.skip(id)
	admin := n.AdminAddr().String()
	out, err := runStatus(t, "--admin", admin)
	if err != nil {
		t.Fatal(err)
	}
	wantInOrder(t, "status", out, "NAME", "\nn1 ", "alive", "calls.example.org:443", "4096", "1", "2  ok", "n1 is not in a cluster", "1 open call (1 ringing), 2 devices")
	out, err = runStatus(t, "--admin", admin, "--json")
	var got Status
	if err != nil || json.Unmarshal([]byte(out), &got) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := Status{Node: "n1", Members: []MemberStatus{{
		Name: "n1", State: "alive", Client: "calls.example.org:443", Shards: 4096, Devices: 2, Store: "ok",
		Version: got.Members[0].Version, OpenCalls: map[string]int{"ringing": 1, "answered": 0, "ending": 0, "resting": 0},
	}}}
	if !reflect.DeepEqual(got, want) || got.Members[0].Version == "" {
		t.Errorf("told %+v, want %+v", got, want)
	}
	if !strings.Contains(out, "\n  \"members\": [\n") || !strings.Contains(out, `"open_calls": {`) {
		t.Errorf("printed %s", out)
	}
}

func TestStatusSaysWhyThereIsNone(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	stands, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer stands.Close()
	without := strings.TrimPrefix(admin(t, AdminConfig{}, prometheus.NewRegistry(), func() error { return nil }), "http://")
	says := func(code int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	for name, tc := range map[string]struct {
		admin, timeout string
		words          []string
	}{
		"nobody there":    {gone.Addr().String(), "5s", []string{"no node can be reached at " + gone.Addr().String(), "--admin", "refused"}},
		"stands still":    {stands.Addr().String(), "100ms", []string{"no answer from the node at " + stands.Addr().String(), "in time"}},
		"older":           {without, "5s", []string{without, "older"}},
		"busy":            {says(http.StatusServiceUnavailable, "too many\x1b\nmore"), "5s", []string{"503", "too many?"}},
		"elsewhere":       {says(http.StatusFound, "x"), "5s", []string{"302"}},
		"something else":  {says(http.StatusOK, "hello"), "5s", []string{"no Carillon node"}},
		"some other JSON": {says(http.StatusOK, "{}"), "5s", []string{"no Carillon node"}},
		"no address":      {"7480", "5s", []string{"--admin", "host:port"}},
		"no time":         {without, "1ms", []string{"--timeout", "100ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runStatus(t, "--admin", tc.admin, "--timeout", tc.timeout)
			if err == nil || out != "" {
				t.Fatalf("%v, printed %s", err, out)
			}
			for _, word := range tc.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

// TestAdminGathersFewStatusesAtOnce, each for a limited time.
func TestAdminGathersFewStatusesAtOnce(t *testing.T) {
	entered, leave := make(chan error), make(chan struct{})
	url := adminWithStatus(t, AdminConfig{}, prometheus.NewRegistry(), nil, func(ctx context.Context) Status {
		var err error
		if _, limited := ctx.Deadline(); !limited {
			err = errors.New("a status may be gathered for ever")
		}
		entered <- err
		<-leave
		return threeMembers()
	})
	answers := make(chan int)
	for range adminStatusAtOnce {
		go func() {
			code, _ := fetch(t, url+"/status")
			answers <- code
		}()
		if err := <-entered; err != nil {
			t.Error(err)
		}
	}
	if code, _ := fetch(t, url+"/status"); code != http.StatusServiceUnavailable {
		t.Errorf("one more gets %d", code)
	}
	close(leave)
	for range adminStatusAtOnce {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("one that was let in gets %d", code)
		}
	}
}
