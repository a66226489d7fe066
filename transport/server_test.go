package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"carillon/transport/wire"
)

func TestEcho(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		c.beat()
		if h := c.recv().GetHeartbeat(); len(h.GetPadding()) != wire.MinHeartbeat {
			t.Errorf("echo %v, want the padding back", h)
		}
		if code := c.response(c.send(&wire.ClientFrame{})).GetCode(); code != 0 {
			t.Errorf("a frame without a body did not reach the handler: %d", code)
		}
		_ = c.stream.Close()
		if reason := c.wantClose(wire.CloseLoggedOut); reason != "client has left" {
			t.Errorf("reason %q", reason)
		}
		<-g.closed
		if s := r.server.Stats(); s.FramesIn.Load() != 3 || s.FramesOut.Load() != 3 || s.Accepted.Load() != 1 {
			t.Errorf("%d frames in, %d out, %d accepted", s.FramesIn.Load(), s.FramesOut.Load(), s.Accepted.Load())
		}
	})
}

func TestLoginTimeout(t *testing.T) {
	for name, begin := range map[string]func(*client){
		"no stream": func(*client) {},
		"no login":  func(c *client) { c.beat() },
		"half a login": func(c *client) {
			b := encode(loginFrame("alice", "token"))
			c.write(b[:len(b)-1])
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(cfg *Config) { cfg.Limits.FrameTimeout = time.Minute }, func(t *testing.T, r *rig) {
				c := r.dial()
				begin(c)
				<-c.conn.Context().Done()
				if reason := c.wantClose(wire.CloseProtocol); reason != "no login within 5s" {
					t.Errorf("reason %q", reason)
				}
			})
		})
	}
}

// TestLoginInTimeStays says that the login's deadline is lifted by the Login frame.
func TestLoginInTimeStays(t *testing.T) {
	inBubble(t, nil, func(_ *testing.T, r *rig) {
		c, _ := r.login("alice", "")
		for range 6 {
			elapse(10 * time.Second)
			c.beat()
			c.recv()
		}
	})
}

func TestProtocolErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		in     []byte
		reason string
	}{
		{"garbage", []byte{3, 0xff, 0xff, 0xff}, "does not parse"},
		{"wrong wire type", []byte{2, 0x0d, 0}, "does not parse"},
		{"frame too long", binary.AppendUvarint(nil, wire.MaxClientFrame+1), "65537 bytes, limit 65536"},
		{"endless prefix", bytes.Repeat([]byte{0xff}, 20), "length prefix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				c, g := r.login("alice", "")
				c.write(tt.in)
				if reason := c.wantClose(wire.CloseProtocol); !strings.Contains(reason, tt.reason) {
					t.Errorf("reason %q, want %q in it", reason, tt.reason)
				}
				<-g.closed
				if g.handled.Load() != 0 {
					t.Error("the handler saw a frame")
				}
			})
		})
	}
}

// A network may stall in the middle of a frame: the client is to come back, not to give up.
func TestHalfAFrame(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, g := r.login("alice", "")
		c.write([]byte{10, 1, 2})
		if reason := c.wantClose(wire.CloseSlowConsumer); reason != "half a frame for 5s" {
			t.Errorf("reason %q", reason)
		}
		<-g.closed
	})
}

func TestStreamEndsInsideAFrame(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "")
		c.write([]byte{10, 1, 2})
		_ = c.stream.Close()
		if reason := c.wantClose(wire.CloseProtocol); reason != "stream ended inside a frame" {
			t.Errorf("reason %q", reason)
		}
	})
}

// TestSlowFrameInPieces says that a frame has FrameTimeout from its own first byte, not from an earlier frame's.
func TestSlowFrameInPieces(t *testing.T) {
	inBubble(t, nil, func(_ *testing.T, r *rig) {
		c, _ := r.login("alice", "")
		beat := encode(&wire.ClientFrame{Body: &wire.ClientFrame_Heartbeat{Heartbeat: &wire.Heartbeat{Padding: make([]byte, 40)}}})
		c.write(beat[:10])
		for range 3 { // each write ends one frame and begins the next
			elapse(4 * time.Second)
			c.write(append(bytes.Clone(beat[10:]), beat[:10]...))
			c.recv()
		}
	})
}

func TestClientResets(t *testing.T) {
	inBubble(t, nil, func(_ *testing.T, r *rig) {
		c, g := r.login("alice", "")
		c.stream.CancelWrite(77)
		<-g.closed
		c.wantClose(wire.CloseLoggedOut)
	})
}

func TestSecondStream(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "")
		second, err := c.conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := second.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		if reason := c.wantClose(wire.CloseProtocol); !strings.Contains(reason, "second stream") {
			t.Errorf("reason %q", reason)
		}
	})
}

func TestUnidirectionalStreamsAreRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "")
		var limit *quic.StreamLimitReachedError
		if _, err := c.conn.OpenUniStream(); !errors.As(err, &limit) {
			t.Errorf("a unidirectional stream: %v, want a stream limit of 0", err)
		}
	})
}

func TestVanishedClient(t *testing.T) {
	inBubble(t, func(cfg *Config) { cfg.HeartbeatTimeout = 35 * time.Second }, func(t *testing.T, r *rig) {
		_, g := r.login("alice", "")
		synctest.Wait()
		r.net.lose.Store(true)
		<-g.closed
		synctest.Wait()
		if n := r.server.Stats().Open.Load(); n != 0 {
			t.Errorf("%d connections are open", n)
		}
	})
}

func TestWrongALPN(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		tr, closeTransport := r.dialer()
		t.Cleanup(closeTransport)
		conf := clientTLS()
		conf.NextProtos = []string{"h3"}
		_, err := tr.Dial(t.Context(), serverAddr, conf, nil)
		var te *quic.TransportError
		if !errors.As(err, &te) || !te.ErrorCode.IsCryptoError() {
			t.Errorf("dial with ALPN h3: %v, want a TLS alert", err)
		}
	})
}

// TestStatelessReset says that a client notices a restarted server by its next heartbeat, if the secret is the same.
func TestStatelessReset(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		c, _ := r.login("alice", "")
		r.serve(r.config(nil)) // the old one gets no packet any more
		c.beat()
		var reset *quic.StatelessResetError
		if err := c.end(); !errors.As(err, &reset) {
			t.Errorf("connection ended with %v, want a stateless reset", err)
		}
	})
}

// TestNoise says that packets which are no QUIC cost no connection, and no more than a packet in return each.
func TestNoise(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		noisy := r.net.endpoint(&net.UDPAddr{IP: net.IPv4(10, 0, 2, 1).To4(), Port: 9})
		defer noisy.Close()
		sizes := []int{0, 1, 20, 42, 43, 600, 1200, 1350}
		for first := range 256 {
			for _, size := range sizes {
				p := bytes.Repeat([]byte{byte(first)}, size)
				if _, err := noisy.WriteTo(p, serverAddr); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		c, _ := r.login("alice", "")
		c.beat()
		c.recv()
		if n := r.server.Stats().Accepted.Load(); n != 1 {
			t.Errorf("%d connections accepted, want 1", n)
		}
		if got := noisy.Stats(); got.BytesRcvd > got.BytesSent {
			t.Errorf("%d bytes of noise were answered with %d", got.BytesSent, got.BytesRcvd)
		}
	})
}

func TestListenNamesTheAddress(t *testing.T) {
	taken, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := (&rig{}).config(func(cfg *Config) { cfg.Listen = taken.LocalAddr().String() })
	if _, err = Listen(cfg); err == nil || !strings.Contains(err.Error(), taken.LocalAddr().String()) {
		t.Errorf("error %v, want one that names %v", err, taken.LocalAddr())
	}
}

func TestConfigErrors(t *testing.T) {
	for want, spoil := range map[string]func(*Config){
		"Config.Open":               func(cfg *Config) { cfg.Open = nil },
		"Config.Authenticator":      func(cfg *Config) { cfg.Authenticator = nil },
		"Config.Secret has 3":       func(cfg *Config) { cfg.Secret = []byte("abc") },
		"Config.Listen":             func(cfg *Config) { cfg.Listen = "" },
		"Config.HeartbeatTimeout":   func(cfg *Config) { cfg.HeartbeatTimeout = -1 },
		"Limits.QueueBytes":         func(cfg *Config) { cfg.Limits.QueueBytes = -1 },
		"listen on nowhere:x":       func(cfg *Config) { cfg.Listen = "nowhere:x" },
		"certificate file":          func(cfg *Config) { cfg.TLS = nil },
		"missing.pem, key gone.pem": func(cfg *Config) { cfg.TLS, cfg.CertFile, cfg.KeyFile = nil, "missing.pem", "gone.pem" },
	} {
		cfg := (&rig{}).config(func(cfg *Config) { cfg.Listen = "127.0.0.1:0" })
		spoil(&cfg)
		if _, err := Listen(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// TestRealSocket goes over loopback once: the rest of the tests use a simulated network.
func TestRealSocket(t *testing.T) {
	r := &rig{t: t, gateways: make(chan *gateway, 1)}
	s, err := Listen(r.config(func(cfg *Config) { cfg.Listen = "127.0.0.1:0" }))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := quic.DialAddr(t.Context(), s.Addr().String(), clientTLS(), nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn, stream: stream, frames: wire.NewReader(stream, wire.MaxServerFrame)}
	if code := c.login("alice", ""); code != 0 {
		t.Fatal(code)
	}
	g := <-r.gateways
	if got, want := g.conn.RemoteAddr().(*net.UDPAddr).Port, conn.LocalAddr().(*net.UDPAddr).Port; got != want {
		t.Errorf("remote port %d, want %d", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.wantClose(wire.CloseGoingAway)
}
