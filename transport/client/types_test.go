package client

import (
	"errors"
	"testing"
	"time"
)

func TestCallID(t *testing.T) {
	for _, id := range []CallID{1, 1<<64 - 1} {
		if got, err := ParseCallID(id.String()); err != nil || got != id {
			t.Errorf("%d becomes %d, %v", id, got, err)
		}
	}
	for _, bad := range []string{"", "0", "-1", "x", "18446744073709551616"} {
		if id, err := ParseCallID(bad); !errors.Is(err, BadParameter) {
			t.Errorf("%q gives %d, %v", bad, id, err)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Advanced.String(): "advanced", Ended.String(): "ended", NotYetReceived.String(): "not_yet_received", UserState(99).String(): "unknown 99",
		ReasonMovedToOtherDevice.String(): "moved_to_other_device", ReasonConnectionLost.String(): "connection_lost", Disconnected.String(): "disconnected",
		UserState(-1).String(): "unknown -1", NoSuchCall.String(): "no such call", Code(42).String(): "code 42", NoSuchCall.Error(): "6000276: no such call",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]uint32{
		0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, 600 * time.Second: 600, -1: 1<<32 - 1, 1<<63 - 1: 1<<32 - 1,
	} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v is %d, want %d", d, got, want)
		}
	}
}
