package link

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// ends are two ends of a TCP connection.
func ends(t *testing.T) (worker, coordinator net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	coordinator, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	worker, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { worker.Close(); coordinator.Close() })
	return worker, coordinator
}

var known = Party{Secret: "a secret of some length", Program: "one"}

// meet has two parties greet each other.
func meet(t *testing.T, worker, coordinator Party) (w, c *Conn, refused, failed error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			refused = err
			return
		}
		w, refused = Accept(raw, worker)
	}()
	c, failed = Dial(t.Context(), l.Addr().String(), coordinator)
	<-done
	return w, c, refused, failed
}

func TestFramesBothWays(t *testing.T) {
	w, c, refused, failed := meet(t, known, known)
	if refused != nil || failed != nil {
		t.Fatal(refused, failed)
	}
	defer w.Close()
	defer c.Close()
	for _, one := range []struct{ from, to *Conn }{{w, c}, {c, w}} {
		long := strings.Repeat("x", 1<<20)
		sent := make(chan error, 1)
		go func() { sent <- errors.Join(one.from.Send("hello"), one.from.Send(long)) }()
		var first, second string
		if err := errors.Join(one.to.Receive(&first), one.to.Receive(&second), <-sent); err != nil || first != "hello" || second != long {
			t.Fatalf("%v: %q and %d bytes", err, first, len(second))
		}
	}
	c.Close()
	if err := w.Receive(new(string)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after the end: %v", err)
	}
}

// Both sides learn why they do not fit.
func TestStrangers(t *testing.T) {
	for name, tc := range map[string]struct {
		coordinator  Party
		worker, dial string
	}{
		"another secret": {Party{Secret: "another", Program: "one"}, "secrets differ", "secrets differ"},
		"no secret":      {Party{Program: "one"}, "secrets differ", "secrets differ"},
		"another build":  {Party{Secret: known.Secret, Program: "two"}, "", `another build, "one"`},
	} {
		w, c, refused, failed := meet(t, known, tc.coordinator)
		if w != nil || c != nil || refused == nil || failed == nil || !strings.Contains(refused.Error(), tc.worker) || !strings.Contains(failed.Error(), tc.dial) {
			t.Errorf("%s: the worker says %v, the coordinator %v", name, refused, failed)
		}
	}
}

// A worker that is of another version, is no worker or does not know the secret gets no orders.
func TestBadWorkers(t *testing.T) {
	frame := func(text string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text }
	nonce := `"nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`
	greeting := frame(`{"purpose":"carillon load test","version":1,"program":"one",` + nonce + `}`)
	for name, tc := range map[string]struct{ says, want string }{
		"a later version":  {frame(`{"purpose":"carillon load test","version":2,"program":"one",` + nonce + `}`), "version 2"},
		"another purpose":  {frame(`{"purpose":"carillon",` + nonce + `}`), "no frame of a load test"},
		"no nonce":         {frame(`{"purpose":"carillon load test","version":1,"program":"one"}`), "no frame of a load test"},
		"not JSON":         {frame(`hello`), "no frame of a load test"},
		"a web server":     {"HTTP/1.1 400 Bad Request\r\n\r\n", "no frame of a load test"},
		"too long":         {string([]byte{0, 1, 0, 0}), "it would have 65536 bytes"},
		"half a frame":     {frame(`{}`)[:3], "closed"},
		"nothing":          {"", "closed"},
		"a false proof":    {greeting + frame(`{"proof":"AAAA"}`), "does not know the secret"},
		"no proof":         {greeting + frame(`{}`), "does not know the secret"},
		"a refusal":        {greeting + frame(`{"refused":"no\u001b[2J"}`), `refused: "no\x1b[2J"`},
		"gone after hello": {greeting, "closed"},
	} {
		worker, coordinator := ends(t)
		if _, err := worker.Write([]byte(tc.says)); err != nil {
			t.Fatal(err)
		}
		if tcp, ok := worker.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		if err := known.introduce(coordinator); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// Whoever else connects to a worker is refused, with a reason, and costs it no memory.
func TestGarbageAtTheWorker(t *testing.T) {
	for name, says := range map[string]string{
		"a browser":  "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"zeros":      strings.Repeat("\x00", 100),
		"much":       "\xff\xff\xff\xff" + strings.Repeat("x", 100),
		"empty":      "\x00\x00\x00\x02{}",
		"no reading": "\x00\x00\x00\x05hello",
	} {
		worker, guest := ends(t)
		if _, err := guest.Write([]byte(says)); err != nil {
			t.Fatal(err)
		}
		_, err := Accept(worker, known)
		if !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
		heard, _ := io.ReadAll(guest) // a reset may cut it short
		if name == "empty" && !strings.Contains(string(heard), "no frame of a load test") {
			t.Errorf("%s: was told %q", name, heard)
		}
	}
}

// Who says nothing, or stops in a frame, is gone after a while.
func TestSilence(t *testing.T) {
	for _, says := range []string{"", "\x00", "\x00\x00\x00\x05hel"} {
		from, to := ends(t)
		if _, err := to.Write([]byte(says)); err != nil {
			t.Fatal(err)
		}
		if err := read(from, new(string), 100, 20*time.Millisecond, 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "nothing was heard") {
			t.Errorf("after %q: %v", says, err)
		}
	}
	worker, _ := ends(t)
	if err := write(worker, strings.Repeat("x", 100), 50, time.Second); err == nil || !strings.Contains(err.Error(), "more than 50") {
		t.Errorf("a frame that is too long: %v", err)
	}
}

// A proof is of one side, for one pair of nonces.
func TestProof(t *testing.T) {
	a, b := []byte("a"), []byte("b")
	proofs := map[string]bool{}
	for _, p := range []Party{known, {Secret: "x"}} {
		for _, side := range []string{"worker", "coordinator"} {
			proofs[string(p.proof(side, a, b))] = true
			proofs[string(p.proof(side, b, a))] = true
		}
	}
	if len(proofs) != 8 {
		t.Errorf("%d different proofs of 8", len(proofs))
	}
}

func TestDialIsInterrupted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		raw, err := l.Accept() // and says nothing
		if err == nil {
			defer raw.Close()
		}
		cancel()
		<-t.Context().Done()
	}()
	if _, err := Dial(ctx, l.Addr().String(), known); err == nil {
		t.Error("a worker that says nothing was accepted")
	}
}
