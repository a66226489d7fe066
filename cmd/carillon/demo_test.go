package main

import (
	"context"
	"io"
	"strings"
	"testing"
)

func TestDemoPlaysToItsEnd(t *testing.T) {
	out, log := &transcript{}, &transcript{}
	if err := runDemo(context.Background(), out, log); err != nil {
		t.Fatalf("%v\n%s%s", err, out, log)
	}
	if log.String() != "" {
		t.Errorf("the node logged errors: %s", log)
	}
	wantInOrder(t, "the demo", out.String(),
		"alice laptop  -> callInvite               bob, carol",
		"bob phone     -> callAccept",
		"bob accepted (answered_elsewhere)",
		"bob accepted (moved_to_other_device)",
		"(network lost)", "callEnd", "ended by bob", "(network back)", "ended, says the sync",
		"stops ringing (caller_offline)",
		"Every device heard what the specification says",
	)
}

func TestDemoFailsOnWhatItDoesNotExpect(t *testing.T) {
	d := &demo{out: io.Discard}
	dev := &demoDevice{name: "bob phone", heard: make(chan string, demoHeard)}
	dev.heard <- "bob accepted"
	if err := d.expect(context.Background(), dev, "bob rejected"); err == nil || !strings.Contains(err.Error(), "bob phone heard") {
		t.Errorf("a wrong event passes: %v", err)
	}
	dev.heard <- "bob accepted"
	if err := d.silence(dev); err == nil {
		t.Error("an event passes for silence")
	}
	if err := d.silence(dev); err != nil {
		t.Errorf("silence fails: %v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.expect(gone, dev, "bob accepted"); err == nil {
		t.Error("an event that never came passes")
	}
}
