package persistence

import (
	"encoding/binary"
	"errors"
	"fmt"

	"carillon/actors/call"
)

// recordVersion is the first byte of every record. A change of the fields below, even an added one, takes the next number
// and keeps reading the old one; a node that meets a higher number answers call.ErrNewer.
const recordVersion = 1

// errCorrupt is within every error about a record that can't be read.
var errCorrupt = errors.New("the record is damaged")

// encode appends the record of s: the version, the revision (so that a compare-and-set need not read more), the state.
func encode(b []byte, s *call.State) ([]byte, error) {
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, s.Revision)
	c := coder{out: b}
	stateFields(&c, s)
	if c.err != nil {
		return b, fmt.Errorf("call %s: %w", s.ID, c.err)
	}
	if len(c.out) > maxRecord {
		return b, fmt.Errorf("call %s: its record has %d bytes, more than %d", s.ID, len(c.out), maxRecord)
	}
	return c.out, nil
}

// decode reads the record of call id. The texts of the State share one copy of b. Errors wrap call.ErrNewer or errCorrupt.
func decode(id call.ID, b []byte) (call.State, error) {
	revision, body, err := header(id, b)
	if err != nil {
		return call.State{}, err
	}
	s := call.State{Revision: revision}
	c := coder{in: body, text: string(body), reading: true}
	stateFields(&c, &s)
	if c.err == nil && c.at != len(body) {
		c.err = fmt.Errorf("%d bytes follow its end", len(body)-c.at)
	}
	if c.err == nil && s.ID != id {
		c.err = fmt.Errorf("it is the record of call %s", s.ID)
	}
	if c.err != nil {
		return call.State{}, fmt.Errorf("call %s: %w: %w", id, errCorrupt, c.err)
	}
	for i := range s.Users {
		s.Users[i].Sent = s.Users[i].Told // nothing is under way to anyone
	}
	return s, nil
}

// header reads the revision and gives what follows it.
func header(id call.ID, b []byte) (revision uint64, body []byte, err error) {
	if len(b) == 0 {
		return 0, nil, fmt.Errorf("call %s: %w: it is empty", id, errCorrupt)
	}
	if b[0] > recordVersion {
		return 0, nil, fmt.Errorf("call %s: its record has version %d, this node reads up to %d: %w", id, b[0], recordVersion, call.ErrNewer)
	}
	if b[0] != recordVersion {
		return 0, nil, fmt.Errorf("call %s: %w: version %d never was", id, errCorrupt, b[0])
	}
	revision, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return 0, nil, fmt.Errorf("call %s: %w: no revision", id, errCorrupt)
	}
	return revision, b[1+n:], nil
}

// The fields of a record in their order, which is the format: append only, and only with a new recordVersion.

func stateFields(c *coder, s *call.State) {
	f := c.open()
	number(c, &s.ID)
	number(c, &s.Version)
	number(c, &s.Seq)
	instant(c, &s.Created)
	c.base = s.Created
	number(c, &s.Mode)
	text(c, &s.Caller)
	command(c, &s.InviteCommand)
	signed(c, &s.Timeout)
	many(c, &s.Users, participantFields)
	many(c, &s.Outcomes, outcomeFields)
	ruleFields(c, &s.Rules)
	text(c, &s.ExtendedData)
	many(c, &s.InviteErrors, errorFields)
	signed(c, &s.AloneTimeout)
	flag(c, &s.CheckReceived)
	instant(c, &s.Ended)
	number(c, &s.EndReason)
	number(c, &s.EndSeq)
	text(c, &s.EndedBy)
	text(c, &s.EndDevice)
	flag(c, &s.EverAccepted)
	instant(c, &s.AloneSince)
	flag(c, &s.Closed)
	c.close(f)
}

func ruleFields(c *coder, r *call.Rules) {
	if !c.field(*r != call.Rules{}) {
		return
	}
	f := c.open()
	signed(c, &r.NotReceivedAfter)
	signed(c, &r.MaxDuration)
	signed(c, &r.MemberLease)
	flag(c, &r.InvitedOnly)
	signed(c, &r.MaxInvitees)
	signed(c, &r.MaxUsers)
	c.close(f)
}

// participantFields leaves out the soft fields, which only the living owner knows.
func participantFields(c *coder, p *call.Participant) {
	f := c.open()
	text(c, &p.User)
	number(c, &p.State)
	text(c, &p.Inviter)
	changeFields(c, &p.Change)
	number(c, &p.Told)
	flag(c, &p.Invited)
	number(c, &p.InvitedSeq)
	instant(c, &p.InvitedAt)
	signed(c, &p.InvitedFor)
	instant(c, &p.Deadline)
	number(c, &p.AnsweredSeq)
	instant(c, &p.AcceptedAt)
	text(c, &p.Main)
	instant(c, &p.QuitAt)
	number(c, &p.JoinedSeq)
	number(c, &p.MovedSeq)
	text(c, &p.MovedFrom)
	text(c, &p.ExtendedData)
	text(c, &p.InviteData)
	c.close(f)
}

func changeFields(c *coder, h *call.Change) {
	if !c.field(*h != call.Change{}) {
		return
	}
	f := c.open()
	number(c, &h.Seq)
	text(c, &h.By)
	text(c, &h.Device)
	number(c, &h.Reason)
	instant(c, &h.At)
	c.close(f)
}

func outcomeFields(c *coder, o *call.Outcome) {
	f := c.open()
	text(c, &o.User)
	command(c, &o.Command)
	number(c, &o.Op)
	number(c, &o.Code)
	text(c, &o.Message)
	many(c, &o.Errors, errorFields)
	instant(c, &o.Times.Created)
	instant(c, &o.Times.Accepted)
	instant(c, &o.Times.Joined)
	instant(c, &o.Times.Quit)
	instant(c, &o.Times.Ended)
	c.close(f)
}

func errorFields(c *coder, e *call.UserError) {
	f := c.open()
	text(c, &e.User)
	number(c, &e.Code)
	c.close(f)
}
