package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"carillon/transport/client"
)

// demoStage is the devices of the demo.
type demoStage struct{ alice, phone, tablet, carol *demoDevice }

// play is the whole demo: two calls.
func (d *demo) play(ctx context.Context) error {
	var s demoStage
	for _, who := range []struct {
		device     **demoDevice
		user, kind string
	}{{&s.alice, "alice", "laptop"}, {&s.phone, "bob", "phone"}, {&s.tablet, "bob", "tablet"}, {&s.carol, "carol", "phone"}} {
		device, err := d.connect(ctx, who.user, who.kind)
		if err != nil {
			return err
		}
		*who.device = device
	}
	if err := d.first(ctx, s); err != nil {
		return err
	}
	if err := d.second(ctx, s); err != nil {
		return err
	}
	if err := pause(ctx, demoAfterglow); err != nil {
		return err
	}
	return d.silence(s.alice, s.phone, s.tablet, s.carol)
}

// acts are things that happen one after the other.
type acts []func() error

func (a acts) play() error {
	for _, part := range a {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// first is an advanced call of three that goes on although its caller has lost his network.
func (d *demo) first(ctx context.Context, s demoStage) error {
	var id client.CallID
	hears := func(dev *demoDevice, facts ...string) func() error {
		return func() error { return d.expect(ctx, dev, facts...) }
	}
	title := func(text string) func() error { return func() error { d.say("\n%s", text); return nil } }
	return acts{
		title("1. Alice invites Bob and Carol into an advanced call. Bob has two devices, and both ring."),
		func() (err error) { id, err = d.invite(ctx, s.alice, client.Advanced, "bob", "carol"); return err },
		hears(s.alice, "alice accepted", "bob inviting", "carol inviting", "created", "bob received", "carol received"),
		hears(s.phone, "rings, invited by alice", "bob received", "carol received"),
		hears(s.tablet, "rings, invited by alice", "bob received", "carol received"),
		hears(s.carol, "rings, invited by alice", "bob received", "carol received"),
		title("2. Bob answers on his phone; his tablet stops ringing and hears no more of the call."),
		func() error {
			d.does(s.phone, "callAccept", "")
			_, err := s.phone.client.CallAccept(ctx, id, client.CallAcceptConfig{})
			return explain(s.phone, "callAccept", err)
		},
		hears(s.alice, "bob accepted"), hears(s.phone, "bob accepted"), hears(s.carol, "bob accepted"),
		hears(s.tablet, "bob accepted (answered_elsewhere)"),
		title("3. Bob takes the call over to his tablet. Nobody but his phone is told."),
		func() error {
			d.does(s.tablet, "callJoin", "")
			_, err := s.tablet.client.CallJoin(ctx, id, client.CallJoinConfig{})
			return explain(s.tablet, "callJoin", err)
		},
		hears(s.phone, "bob accepted (moved_to_other_device)"),
		title("4. Carol answers."),
		func() error {
			d.does(s.carol, "callAccept", "")
			_, err := s.carol.client.CallAccept(ctx, id, client.CallAcceptConfig{})
			return explain(s.carol, "callAccept", err)
		},
		hears(s.alice, "carol accepted"), hears(s.tablet, "carol accepted"), hears(s.carol, "carol accepted"),
		title(fmt.Sprintf("5. Alice loses her network. The call has been answered, so it goes on: %v of silence.", demoSilence)),
		func() error { return d.unplug(ctx, s.alice, demoSilence) },
		func() error { return d.silence(s.alice, s.phone, s.tablet, s.carol) },
		title("6. Bob ends the call for all. Alice has her network back and learns what she missed."),
		func() error {
			d.does(s.tablet, "callEnd", "")
			_, err := s.tablet.client.CallEnd(ctx, id, client.CallEndConfig{})
			return explain(s.tablet, "callEnd", err)
		},
		hears(s.tablet, "ended by bob"), hears(s.carol, "ended by bob"),
		func() error { d.plugIn(s.alice); return nil },
		hears(s.alice, "ended, says the sync"),
	}.play()
}

// second is a common call whose caller goes while it rings.
func (d *demo) second(ctx context.Context, s demoStage) error {
	hears := func(dev *demoDevice, facts ...string) func() error {
		return func() error { return d.expect(ctx, dev, facts...) }
	}
	title := func(text string) func() error { return func() error { d.say("\n%s", text); return nil } }
	return acts{
		title("7. Alice rings Bob. Before he answers, her network is gone."),
		func() error { _, err := d.invite(ctx, s.alice, client.Common, "bob"); return err },
		hears(s.alice, "alice accepted", "bob inviting", "created", "bob received"),
		hears(s.phone, "rings, invited by alice", "bob received"),
		hears(s.tablet, "rings, invited by alice", "bob received"),
		func() error { return d.unplug(ctx, s.alice, 0) },
		title(fmt.Sprintf("8. After %v without a sign of her the server takes the invitation back: nothing rings without an end.", demoTimeout)),
		hears(s.phone, "stops ringing (caller_offline)"), hears(s.tablet, "stops ringing (caller_offline)"),
		title("9. Alice has her network back, and learns that her call is over."),
		func() error { d.plugIn(s.alice); return nil },
		hears(s.alice, "alice cancelled", "bob be_cancelled"),
	}.play()
}

func (d *demo) invite(ctx context.Context, dev *demoDevice, mode client.Mode, users ...string) (client.CallID, error) {
	d.does(dev, "callInvite", strings.Join(users, ", "))
	result, err := dev.client.CallInvite(ctx, users, client.CallInviteConfig{Mode: mode})
	return result.CallID, explain(dev, "callInvite", err)
}

// unplug cuts a device off and waits.
func (d *demo) unplug(ctx context.Context, dev *demoDevice, wait time.Duration) error {
	dev.cable.cut.Store(true)
	d.does(dev, "(network lost)", "")
	return pause(ctx, wait)
}

func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *demo) plugIn(dev *demoDevice) {
	d.does(dev, "(network back)", "")
	dev.cable.cut.Store(false)
}

func explain(dev *demoDevice, operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s was refused: %w", dev.name, operation, err)
}
