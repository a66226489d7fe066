package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"carillon/actors/call"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testRun{m}) }

// admin serves on a free port until the test ends and gives the address of it.
func admin(t *testing.T, cfg AdminConfig, reg *prometheus.Registry, ready func() error) string {
	t.Helper()
	return adminWithStatus(t, cfg, reg, ready, nil)
}

func adminWithStatus(
	t *testing.T, cfg AdminConfig, reg *prometheus.Registry, ready func() error, status func(context.Context) Status,
) string {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	a, err := NewAdmin(cfg, reg, ready, status)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve() }()
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + a.Addr().String()
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestAdminHealthAndReadiness(t *testing.T) {
	var sick error
	url := admin(t, AdminConfig{}, prometheus.NewRegistry(), func() error { return sick })
	if code, body := fetch(t, url+"/healthz"); code != http.StatusOK || body != "alive\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, body := fetch(t, url+"/readyz"); code != http.StatusOK || body != "ready\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
	sick = errors.New("draining")
	if code, body := fetch(t, url+"/readyz"); code != http.StatusServiceUnavailable || body != "draining\n" {
		t.Errorf("readyz while draining: %d %q", code, body)
	}
}

func TestAdminProfilerIsBehindItsSwitch(t *testing.T) {
	for _, on := range []bool{false, true} {
		url := admin(t, AdminConfig{PProf: on}, prometheus.NewRegistry(), func() error { return nil })
		if code, _ := fetch(t, url+"/debug/pprof/cmdline"); (code == http.StatusOK) != on {
			t.Errorf("pprof %v: status %d", on, code)
		}
	}
}

func TestAdminNamesThePortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = NewAdmin(AdminConfig{Listen: taken.Addr().String()}, prometheus.NewRegistry(), nil, nil)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("got %v", err)
	}
}

func TestAdminWithoutListener(t *testing.T) {
	a, err := NewAdmin(AdminConfig{}, prometheus.NewRegistry(), nil, nil)
	if err != nil || a.Addr() != nil {
		t.Fatalf("%v, %v", a.Addr(), err)
	}
	served := make(chan error)
	go func() { served <- a.Serve() }()
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestAdminBoundsItsConnections: with all slots taken by silent connections a further one waits until one is released.
func TestAdminBoundsItsConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	listener := &boundedListener{Listener: inner, slots: make(chan struct{}, 1), closed: closed}
	defer listener.Close()
	for range 2 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	first, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if len(listener.slots) != 1 {
		t.Fatal("the accepted connection takes no slot")
	}
	first.Close()
	first.Close() // gives back one slot, not two
	second, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	close(closed)
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a full, closed listener accepts: %v", err)
	}
}

func TestMetricsShowWhatHappened(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	m.Read(Readings{
		Connections: func() int { return 7 },
		Devices:     func() int { return 5 },
		OpenCalls:   func() map[string]int { return map[string]int{"ringing": 2, "answered": 1} },
		Closed:      func() map[string]int { return map[string]int{"5": 1} },
		Queues:      map[string]func() int{"store": func() int { return 3 }},
		Admission: func() Admission {
			return Admission{Limit: 75, Underway: 12, Admitted: 1000, Refused: map[string]int{"overload": 40}}
		},
	})
	m.Operation("callInvite", call.OK, time.Millisecond)
	m.Operation("callInvite", call.NoUser, time.Millisecond)
	m.Rang(20 * time.Millisecond)
	m.Committed(4, 300*time.Microsecond)
	m.Decided("kicked_out")
	_, body := fetch(t, admin(t, AdminConfig{}, reg, func() error { return nil })+"/metrics")
	for _, line := range []string{
		"carillon_connections 7",
		"carillon_devices 5",
		`carillon_open_calls{state="ringing"} 2`,
		`carillon_open_calls{state="answered"} 1`,
		`carillon_queue_length{queue="store"} 3`,
		"carillon_admission_limit 75",
		"carillon_admission_underway 12",
		"carillon_admission_admitted_total 1000",
		`carillon_admission_refused_total{cause="overload"} 40`,
		`carillon_operations_total{op="callInvite"} 2`,
		`carillon_refusals_total{code="6000281",op="callInvite"} 1`,
		`carillon_operation_seconds_count{op="callInvite"} 2`,
		"carillon_invite_to_ring_seconds_count 1",
		`carillon_commit_seconds_bucket{le="0.0005"} 1`,
		"carillon_commit_group_size_sum 4",
		`carillon_connections_closed_total{code="5"} 1`,
		`carillon_decisions_total{decision="kicked_out"} 1`,
		"carillon_goroutines ",
		"carillon_build_info{version=",
		"go_gc_duration_seconds",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}
