package call

import (
	"testing"
	"time"
)

// FuzzStep reads bytes as a script: who, with which device, does what to whom, after how long. Nothing may panic, and no
// call may lose its deadline or grow without bound.
func FuzzStep(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x00, 0x11, 0x06, 0x01, 0x03, 0x00, 0x00, 0x07, 0x01, 0x00})
	f.Add([]byte{0x01, 0x01, 0x1e, 0x02, 0x03, 0x00, 0x05, 0x05, 0x18, 0x02, 0x07, 0x00, 0x00, 0x08, 0x00})
	f.Add([]byte{0x03, 0x01, 0x06, 0x04, 0x14, 0x00, 0xff, 0x15, 0x00, 0x04, 0x03, 0x00})
	f.Add([]byte{0x07, 0x01, 0x0e, 0x00, 0x17, 0x00, 0x80, 0x15, 0x00, 0x02, 0x06, 0x00, 0x00, 0x16, 0xff})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 600 {
			return
		}
		p := newPlay(Common)
		if len(script) > 0 {
			p.option(script[0])
			script = script[1:]
		}
		_, _ = p.step(p.command(OpInvite, "A1", "B", "C"))
		for ; len(script) >= 3; script = script[3:] {
			p.interpret(script[0], script[1], script[2])
			s := &p.s
			if d := s.Deadline(); !s.Closed && !d.After(p.now) {
				t.Fatalf("deadline %v at %v", d, p.now)
			}
			if len(s.Users) > MaxRecorded || len(s.Outcomes) > MaxOutcomes || s.live() > s.Rules.MaxUsers {
				t.Fatalf("%d users, %d outcomes, %d live", len(s.Users), len(s.Outcomes), s.live())
			}
		}
	})
}

// option sets the call's mode and options from bits.
func (p *play) option(b byte) {
	if b&1 != 0 {
		p.config.Mode = Advanced
	}
	p.config.CheckReceived = b&2 != 0
	if b&4 != 0 {
		p.config.AloneTimeout, p.config.Rules.MemberLease = 10*time.Second, 20*time.Second
	}
	p.config.Rules.InvitedOnly = b&8 != 0
	p.config.Rules.MaxUsers = 3 + int(b>>4)%8
	p.config.Rules.MaxDuration = 10 * time.Minute
}

// interpret does one thing: who is user, device and pause; op any number; whom a set of users, or an acknowledgement.
func (p *play) interpret(who, op, whom byte) {
	p.now = p.now.Add(time.Duration(who>>4) * time.Duration(who>>4) * 500 * time.Millisecond)
	u := people[int(who&7)%len(people)]
	d := DeviceID(u) + DeviceID('1'+rune(who>>3&1))
	c := p.command(Op(op%28), d)
	for i, other := range people {
		if whom>>i&1 != 0 {
			c.Users = append(c.Users, other)
		}
	}
	c.From, c.Seq = uint64(whom>>4), uint64(whom)
	if whom&0x80 != 0 {
		c.Errors = []UserError{{"~", NoUser}}
		p.s = p.s.Resume()
	}
	_, _ = p.step(c)
}
