package call

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// start is the instant at which every test's call is made.
var start = time.UnixMilli(1_700_000_000_000)

func defaults() Rules {
	return Rules{NotReceivedAfter: 5 * time.Second, MaxDuration: 24 * time.Hour, MaxInvitees: 9, MaxUsers: 10}
}

// play drives one call through Step.
type play struct {
	s   State
	now time.Time
	ids uint64 // command IDs given out

	config Invite
	ring   time.Duration // timeout of the call
}

func newPlay(mode Mode) *play {
	return &play{now: start, config: Invite{ID: 7, Mode: mode, Rules: defaults()}, ring: 90 * time.Second}
}

// step applies a command as it is.
func (p *play) step(c Command) ([]Event, error) {
	next, events, err := Step(p.s, c, p.now)
	p.s = next
	return events, err
}

// command completes a user's operation with a fresh command ID, and callInvite with its configuration.
func (p *play) command(op Op, d DeviceID, users ...UserID) Command {
	p.ids++
	c := Command{Op: op, User: owner(d), Device: d, Users: users}
	binary.BigEndian.PutUint64(c.Command[:], p.ids)
	if op == OpInvite {
		config := p.config
		c.Invite, c.Timeout = &config, p.ring
	}
	return c
}

// do lets a device act, and acknowledges all that was told.
func (p *play) do(op Op, d DeviceID, users ...UserID) ([]Event, error) {
	events, err := p.step(p.command(op, d, users...))
	p.acknowledge(events)
	return events, err
}

// tick moves the clock and lets time alone act, once, however much is due.
func (p *play) tick(d time.Duration) []Event {
	p.now = p.now.Add(d)
	events, _ := p.step(Command{Op: OpTick})
	p.acknowledge(events)
	return events
}

// acknowledge is what the sessions say to what they were told.
func (p *play) acknowledge(events []Event) {
	for _, e := range events {
		if e.Seq > 0 {
			p.s, _, _ = Step(p.s, Command{Op: OpTold, User: e.To, From: e.From, Seq: e.Seq}, p.now)
		}
	}
}

// owner is the user of a device: test devices are named A1, A2, B1.
func owner(d DeviceID) UserID { return UserID(d[:len(d)-1]) }

func codeOf(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return OK
}

// heard are the events of a kind that are for a device.
func heard(events []Event, d DeviceID, k Kind) []Event {
	return slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Kind != k || !e.reaches(d) })
}

func (e *Event) reaches(d DeviceID) bool {
	if e.To != owner(d) {
		return false
	}
	switch e.Devices {
	case AllDevices:
		return true
	case OnlyDevice:
		return e.Device == d
	case OtherThan:
		return e.Device != d
	}
	return false
}

// awake drops what no device hears.
func awake(events []Event) []Event {
	return slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Kind == EventWatch })
}
