package relay

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every set-up that is offered is done, and what follows an offer is not counted in the next.
func TestSetup(t *testing.T) {
	s, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := Gather(t.Context(), s.Addr(), 20)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, rate := range []float64{100, 200} {
		got, err := c.Offer(t.Context(), rate, 500*time.Millisecond)
		if want := int(rate / 2); err != nil || got.Asked != want || got.Done != want || got.Took < 500*time.Millisecond {
			t.Errorf("%+v of %d, %v", got, want, err)
		}
	}
}

// Without a server nothing is gathered; a server that goes fails the offer.
func TestServerGone(t *testing.T) {
	s, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Gather(t.Context(), s.Addr(), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, p := range c.users {
		<-p.conn.Context().Done()
	}
	if got, err := c.Offer(t.Context(), 100, time.Second); err == nil {
		t.Errorf("offered %+v to nobody", got)
	}
}

func TestFrames(t *testing.T) {
	var b []byte
	var want []message
	for k := hello; k <= told; k++ {
		m := message{k, uint32(k) + 7, number(int(k)+9, 3)}
		want = append(want, m)
		b = appendFrame(b, m)
	}
	var got []message
	err := readFrames(iotest.OneByteReader(bytes.NewReader(b)), func(m message) error {
		got = append(got, m)
		return nil
	})
	if !errors.Is(err, io.EOF) || len(got) != len(want) {
		t.Fatalf("%d frames, %v", len(got), err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, not %+v", got[i], want[i])
		}
	}
	for name, bad := range map[string][]byte{
		"too long": {0xff, 0xff}, "too short": {0, 1, 0}, "kind": appendFrame(nil, message{})[:2],
	} {
		if name == "kind" {
			bad = append(bad, 200)
			bad = append(bad, make([]byte, sizes[hello]-1)...)
		}
		if err := readFrames(bytes.NewReader(bad), func(message) error { return nil }); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListen(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "nowhere", "192.0.2.1:1"} {
		if s, err := Listen(addr); err == nil {
			s.Close()
			t.Errorf("listens on %s", addr)
		}
	}
	for _, n := range []int{1, maxUsers + 1} {
		if _, err := Gather(t.Context(), "127.0.0.1:1", n); err == nil {
			t.Errorf("gathers %d users", n)
		}
	}
}
