package cluster

import (
	"net"
	"strconv"
	"strings"
	"testing"
)

func TestOpenNamesTheAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := &rig{t: t}
	free := net.JoinHostPort("127.0.0.1", strconv.Itoa(r.freePort()))
	cfg := Config{Name: "a", Bind: free, RemoteBind: taken.Addr().String(), Deliver: func(uint16, uint8, []byte) {}}
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), cfg.RemoteBind) {
		t.Errorf("RemoteBind is taken: %v", err)
	}
	cfg.Bind, cfg.RemoteBind = cfg.RemoteBind, cfg.Bind
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), cfg.Bind) {
		t.Errorf("Bind is taken: %v", err)
	}
}
