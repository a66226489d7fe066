package main

import (
	"flag"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"carillon/transport/wire"
)

// The tests of a node wait for time-outs more than they compute, so more of them run at once than there are processors.
// A -parallel on the command line still counts.
func init() {
	testing.Init()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
}

// newNode opens a node on a free port of loopback and closes it with the test. tune, if not nil, changes its settings.
func newNode(t testing.TB, tune func(*Config)) *Node {
	t.Helper()
	return openTestNode(t, loopbackConfig(t, tune))
}

// loopbackConfig is the default configuration on free ports, in memory, in a directory of the test.
func loopbackConfig(t testing.TB, tune func(*Config)) Config {
	t.Helper()
	cfg := Default()
	cfg.Node.Name = "n1"
	cfg.Transport.Listen, cfg.Admin.Listen = "127.0.0.1:0", ""
	cfg.Persistence.Engine, cfg.Persistence.Dir, cfg.Persistence.MinFreeMiB = "memory", t.TempDir(), 1
	cfg.Limits.RequestsPerSecond, cfg.Limits.RequestsBurst = 10_000, 10_000
	cfg.Limits.TargetWait = 0 // a machine that is busy with other tests refuses nothing for it
	if tune != nil {
		tune(&cfg)
	}
	return cfg
}

func openTestNode(t testing.TB, cfg Config) *Node {
	t.Helper()
	n, err := OpenNode(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// pebble is a tune that keeps calls on the disk.
func pebble(cfg *Config) { cfg.Persistence.Engine = "pebble" }

// venue is where people meet: a node, or several.
type venue interface {
	address(user string) string // that the user connects to
	heartbeat() HeartbeatConfig
}

func (n *Node) address(string) string      { return n.Addr().String() }
func (n *Node) heartbeat() HeartbeatConfig { return n.cfg.Heartbeat }

// at is the one address of a server process.
type at string

func (a at) address(string) string    { return string(a) }
func (at) heartbeat() HeartbeatConfig { return Default().Heartbeat }

// cast is the people of one test: several tests share a node, so their names carry the test's number on the wire.
type cast struct {
	t    testing.TB
	on   venue
	mask string
	beat time.Duration // 0 = nobody sends heartbeats
}

var casts atomic.Int64

func newCast(t testing.TB, on venue) *cast {
	k := &cast{t: t, on: on, mask: fmt.Sprintf(".%d", casts.Add(1))}
	if h := on.heartbeat(); h.Timeout < patience {
		k.beat = h.Interval
	}
	return k
}

// name is a user's ID on the wire.
func (k *cast) name(user string) string { return user + k.mask }

func (k *cast) names(users ...string) []string {
	var out []string
	for _, u := range users {
		out = append(out, k.name(u))
	}
	return out
}

// dial connects a device without logging it in.
func (k *cast) dial(user, device string) *rawClient {
	k.t.Helper()
	c := dialRaw(k.t, k.on.address(user))
	c.user, c.device, c.mask = user, device, k.mask
	return c
}

// join logs a device in; the calls are those that it knows.
func (k *cast) join(user, device string, known ...*wire.KnownCall) *rawClient {
	k.t.Helper()
	c := k.dial(user, device)
	r := c.must(&wire.Login{UserId: k.name(user), DeviceId: device, Platform: wire.Platform_PLATFORM_LINUX, KnownCalls: known})
	if c.login = r.GetLogin(); c.login == nil {
		k.t.Fatalf("%s/%s: login answered without a result", user, device)
	}
	if k.beat > 0 {
		c.beat(k.beat)
	}
	return c
}

// expect takes the next frames, which must be these lines.
func (c *rawClient) expect(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		if got := c.print(c.next()); got != want {
			c.t.Fatalf("%s/%s heard\n\t%s\nwant\n\t%s", c.user, c.device, got, want)
		}
	}
}

// markers are the answers a marker may get: it asks to cancel a user who is not there, and is always refused.
var markers = map[uint32]bool{6000273: true, 6000274: true, 6000276: true}

// mark sends a command that changes nothing the way every command goes, gateway, call, session and back. Whatever the
// call told this device before comes before the answer.
func (c *rawClient) mark(call uint64) {
	c.t.Helper()
	c.send(&wire.CallCancel{CallId: call, Invitees: []string{"nobody"}})
}

func (c *rawClient) isMarker(f *wire.ServerFrame) bool {
	r := f.GetResponse()
	return r != nil && r.GetRequestId() == c.requests && markers[r.GetCode()]
}

// silent proves that nothing has come: the next frame answers a marker.
func (c *rawClient) silent(call uint64) {
	c.t.Helper()
	c.mark(call)
	if f := c.next(); !c.isMarker(f) {
		c.t.Fatalf("%s/%s heard\n\t%s\nwant nothing", c.user, c.device, c.print(f))
	}
}

// skip drops what has come until now.
func (c *rawClient) skip(call uint64) {
	c.t.Helper()
	c.mark(call)
	for !c.isMarker(c.next()) {
		continue
	}
}

func TestTwoUsersCall(t *testing.T) {
	t.Parallel()
	for engine, tune := range map[string]func(*Config){"memory": nil, "pebble": pebble} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			k := newCast(t, newNode(t, tune))
			a, b := k.join("a", "a1"), k.join("b", "b1")
			a.send(&wire.CallInvite{Invitees: k.names("b"), ExtendedData: "hi"})
			a.expect(
				`USC v1 by a/a1: [a ACCEPTED "hi", b INVITING] started`,
				`Created v1 by a/a1: common a v1 90s "hi" [a ACCEPTED "hi", b INVITING] started/started main`,
			)
			r := a.next().GetResponse()
			if r.GetCode() != 0 || r.GetTimes().GetCreateTimeMs() == 0 || r.GetTimes().GetTimeoutS() != 90 {
				t.Fatalf("invite answered %v", r)
			}
			id := r.GetCall().GetCallId()
			b.expect(`Received v1 by a/a1: common a v1 90s "hi" [a ACCEPTED "hi", b INVITING] started/started inviter a ringing`)
			b.send(&wire.InvitationReceipt{CallId: id})
			b.expect(`USC v1 by b/b1: [b RECEIVED] started`)
			a.expect(`USC v1 by b/b1: [b RECEIVED] started`)
			b.send(&wire.CallAccept{CallId: id, ExtendedData: "yes"})
			a.expect(`USC v2 by b/b1: [b ACCEPTED "yes"] ended`)
			b.must(&wire.QueryCallInvitationList{})
		})
	}
}
