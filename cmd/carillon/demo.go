package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"carillon/transport/client"
)

// The demo's clock: short, so that a person waits for it.
const (
	demoHeartbeat = 400 * time.Millisecond
	demoTimeout   = 2 * time.Second // silence after which a device is gone
	demoSilence   = 4 * time.Second // watched for things that must not happen; longer than it takes to find a device gone
	demoAfterglow = 300 * time.Millisecond
	demoPatience  = 10 * time.Second // for what must happen
	demoHeard     = 256              // events that a device has heard and nobody has looked at
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Watch a three-user call play by itself, checked event by event",
		Long: "Start a node of its own on free ports, with a temporary data directory, and play on it: a call of three users on four\n" +
			"devices whose caller loses his network, and a second one that is cancelled because its caller has gone. What each\n" +
			"device hears is printed as it happens and checked; anything unexpected ends the demo with exit code 1.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runDemo(command.Context(), command.OutOrStdout(), command.ErrOrStderr())
		},
	}
}

// runDemo plays the demo on a node that lives as long as it does.
func runDemo(ctx context.Context, out, log io.Writer) error {
	quietUDP()
	dir, err := os.MkdirTemp("", "carillon-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the system's temporary directory: no harm if it stays
	cfg := demoConfig(dir)
	node, err := OpenNode(cfg, newLogger(cfg.Log, cfg.Node.Name, log))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- errors.Join(node.Run(running), node.Close()) }()
	d := &demo{out: out, start: time.Now(), addresses: []string{node.Addr().String()}}
	d.say("Carillon's demo: one node on %s, calls kept in %s.", node.Addr(), dir)
	d.say("A device that is silent for %v counts as gone.", demoTimeout)
	err = d.play(ctx)
	d.hangUp()
	stop()
	if err = errors.Join(err, <-stopped); err == nil {
		d.say("\nEvery device heard what the specification says, and nothing else.")
	}
	return err
}

func demoConfig(dir string) Config {
	cfg := Default()
	cfg.Node.Name, cfg.Log.Level = "demo", "error"
	cfg.Transport.Listen, cfg.Admin.Listen, cfg.Persistence.Dir = "127.0.0.1:0", "127.0.0.1:0", dir
	cfg.Heartbeat = HeartbeatConfig{Interval: demoHeartbeat, Timeout: demoTimeout}
	cfg.Drain = DrainConfig{Timeout: time.Second}
	return cfg
}

// demo plays, prints and checks.
type demo struct {
	out       io.Writer
	addresses []string // of the nodes it plays on
	start     time.Time
	devices   []*demoDevice

	mu sync.Mutex // of out
}

// demoDevice is one device on the stage.
type demoDevice struct {
	name, user string
	cable      cable
	client     *client.Client
	heard      chan string // what it heard, one word for each fact
}

// connect logs a device in.
func (d *demo) connect(ctx context.Context, user, kind string) (*demoDevice, error) {
	dev := &demoDevice{name: user + " " + kind, user: user, heard: make(chan string, demoHeard)}
	c, err := client.Dial(ctx, client.Config{
		Addresses: d.addresses, UserID: user, DeviceID: kind, Insecure: true, Listen: dev.cable.listen,
		DialTimeout: time.Second, BackoffMin: 50 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
		OnEvent: func(e client.Event) { d.hear(dev, e) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s cannot log in: %w", dev.name, err)
	}
	dev.client = c
	d.devices = append(d.devices, dev)
	return dev, nil
}

func (d *demo) hangUp() {
	for _, dev := range d.devices {
		_ = dev.client.Close() // the node is about to stop
	}
}

func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}

// row prints one aligned line of what happens.
func (d *demo) row(device, arrow, what, detail string) {
	line := fmt.Sprintf("%7.3fs  %-13s %s %-24s %s", time.Since(d.start).Seconds(), device, arrow, what, detail)
	d.say("%s", strings.TrimRight(line, " "))
}

// does announces what a device does.
func (d *demo) does(dev *demoDevice, what, detail string) { d.row(dev.name, "->", what, detail) }

// hear prints what a device hears and keeps it for expect.
func (d *demo) hear(dev *demoDevice, event client.Event) {
	kind, facts := demoFacts(event)
	if kind == "" {
		return
	}
	d.row(dev.name, "  ", kind, strings.Join(facts, ", "))
	for _, fact := range facts {
		select {
		case dev.heard <- fact:
		default: // a device that hears so much fails expect anyway
		}
	}
}

// demoFacts is an event's name and the facts that it states.
func demoFacts(event client.Event) (kind string, facts []string) {
	switch e := event.(type) {
	case client.CallInvitationCreated:
		return "callInvitationCreated", []string{"created"}
	case client.CallInvitationReceived:
		return "callInvitationReceived", []string{"rings, invited by " + e.Call.Inviter}
	case client.CallInvitationCancelled:
		return "callInvitationCancelled", []string{"stops ringing" + because(e.Reason)}
	case client.CallInvitationTimeout:
		return "callInvitationTimeout", []string{"stops ringing (timeout)"}
	case client.CallInvitationEnded:
		if e.Local {
			return "callInvitationEnded", []string{"ended, says the sync"}
		}
		return "callInvitationEnded", []string{"ended by " + e.OperatedUserID}
	case client.CallUserStateChanged:
		for _, u := range e.Users {
			fact := u.UserID + " " + u.State.String()
			if e.Reason == client.ReasonAnsweredElsewhere || e.Reason == client.ReasonMovedToOtherDevice {
				fact += because(e.Reason)
			}
			facts = append(facts, fact)
		}
		return "callUserStateChanged", facts
	default:
		return "", nil
	}
}

// expect waits until the device has heard these facts, in any order, and fails on any other.
func (d *demo) expect(ctx context.Context, dev *demoDevice, facts ...string) error {
	late := time.NewTimer(demoPatience)
	defer late.Stop()
	missing := slices.Clone(facts)
	for len(missing) > 0 {
		select {
		case fact := <-dev.heard:
			i := slices.Index(missing, fact)
			if i < 0 {
				return fmt.Errorf("%s heard %q, but should have heard %q", dev.name, fact, missing)
			}
			missing = slices.Delete(missing, i, i+1)
		case <-late.C:
			return fmt.Errorf("%s did not hear %q within %v", dev.name, missing, demoPatience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// silence fails if one of the devices has heard anything that was not expected.
func (d *demo) silence(devices ...*demoDevice) error {
	for _, dev := range devices {
		select {
		case fact := <-dev.heard:
			return fmt.Errorf("%s heard %q, but should have heard nothing", dev.name, fact)
		default:
		}
	}
	return nil
}
