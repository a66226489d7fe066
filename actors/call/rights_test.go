package call

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rights is SPEC 1, "Who may do what in which state", with the refusals of SPEC 4 in place of the crosses, on a started
// advanced call. "inviter", "join" and "device" are asked further in mayCancel and mayJoin.
const rights = `
state              callCancel callAccept callReject callingInvite callQuit callEnd callJoin
Inviting           inviter    ok         ok         6000287       6000287  6000287 ok
Received           inviter    ok         ok         6000287       6000287  6000287 ok
NotYetReceived     inviter    ok         ok         6000287       6000287  6000287 ok
Accepted           inviter    6000274    6000274    ok            ok       ok      device
Rejected           inviter    6000274    6000274    6000287       6000287  6000287 join
Cancelled          inviter    6000274    6000274    6000287       6000287  6000287 join
BeCancelled        inviter    6000274    6000274    6000287       6000287  6000287 join
Timeout            inviter    6000274    6000274    6000287       6000287  6000287 join
Quit               inviter    6000274    6000274    6000287       6000287  6000287 join
not-a-participant  6000273    6000274    6000274    6000274       6000274  6000274 join
`

// cells is the table by state and operation.
func cells() map[string]map[string]string {
	lines := strings.Split(strings.TrimSpace(rights), "\n")
	heads := strings.Fields(lines[0])
	out := map[string]map[string]string{}
	for _, line := range lines[1:] {
		row := strings.Fields(line)
		out[row[0]] = map[string]string{}
		for i := 1; i < len(row); i++ {
			out[row[0]][heads[i]] = row[i]
		}
	}
	return out
}

// verdict is what the tables of the spec say of a command on s, whose deadlines have been applied.
func verdict(s *State, c Command, table map[string]map[string]string, everAccepted bool) Code {
	switch {
	case s.Version == 0 || !s.Open():
		return NoSuchCall
	case s.Mode == Common && (c.Op == OpAdd || c.Op == OpJoin || c.Op == OpQuit || c.Op == OpEnd):
		return AdvancedOnly
	}
	cell := table[strings.ReplaceAll(s.StateOf(c.User).String(), " ", "-")][c.Op.String()]
	switch cell {
	case "ok":
		if c.Op == OpAdd {
			return mayInvite(s, c.User, c.Users[0])
		}
		return OK
	case "inviter":
		return mayCancel(s, c, everAccepted)
	case "device":
		if s.Find(c.User).Main == c.Device {
			return AlreadyMain
		}
		return OK
	case "join":
		return mayJoin(s, c.User)
	}
	code, err := strconv.Atoi(cell)
	if err != nil {
		panic("no cell for " + s.StateOf(c.User).String() + ", " + c.Op.String())
	}
	return Code(code)
}

func mayInvite(s *State, who, whom UserID) Code {
	switch {
	case whom == who, s.StateOf(whom).Live():
		return BadParameter
	case s.live() >= s.Rules.MaxUsers:
		return TooMany
	}
	return OK
}

func mayJoin(s *State, u UserID) Code {
	p := s.Find(u)
	switch {
	case s.Rules.InvitedOnly && (p == nil || (p.InvitedAt == 0 && u != s.Caller)):
		return NotInvited
	case s.live() >= s.Rules.MaxUsers:
		return TooMany
	}
	return OK
}

func mayCancel(s *State, c Command, everAccepted bool) Code {
	invited := c.User == s.Caller
	for i := range s.Users {
		invited = invited || s.Users[i].Inviter == c.User
	}
	switch {
	case !invited:
		return NotInviter
	case len(c.Users) == 0 && everAccepted:
		return CannotCancel
	case len(c.Users) == 0:
		return OK
	}
	target := s.Find(c.Users[0])
	switch {
	case target == nil:
		return NotInvited
	case target.State == Accepted:
		return CannotCancel
	case target.State.Pending() && (c.User == s.Caller || target.Inviter == c.User):
		return OK
	}
	return NotInvited
}

// becomes is the state that an allowed operation puts the acting user into; others stay as they are.
var becomes = map[Op]UserState{OpAccept: Accepted, OpReject: Rejected, OpJoin: Accepted, OpQuit: Quit}

// drawPlain is any operation on the call by anybody, on at most one user; half of the time one that his state allows.
func drawPlain(t *rapid.T, p *play) Command {
	if rapid.Bool().Draw(t, "likely") {
		c := drawLikely(t, p)
		if c.Op != OpInvite && c.Op < OpReceipt && len(c.Errors) == 0 && len(c.Users) <= 1 && (c.Op != OpAdd || len(c.Users) == 1) {
			return c
		}
	}
	c := p.command(rapid.SampledFrom([]Op{OpCancel, OpAccept, OpReject, OpAdd, OpJoin, OpQuit, OpEnd}).Draw(t, "op"), drawDevice(t))
	if c.Op == OpAdd || (c.Op == OpCancel && rapid.Bool().Draw(t, "one")) {
		c.Users = []UserID{rapid.SampledFrom(people).Draw(t, "whom")}
	}
	return c
}

// The code refuses and allows exactly what the spec's tables do.
func TestRightsAreThoseOfTheSpec(t *testing.T) {
	table := cells()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlay(t)
		everAccepted := false
		if rapid.IntRange(0, 3).Draw(t, "common") > 0 {
			p.config.Mode = Advanced
		}
		if rapid.IntRange(0, 9).Draw(t, "stranger") > 0 {
			_, _ = p.do(OpInvite, "A1", people[1:rapid.IntRange(2, 3).Draw(t, "invitees")]...)
		}
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			drawPause(t, p)
			p.tick(0)
			c := drawPlain(t, p)
			want := verdict(&p.s, c, table, everAccepted)
			was := p.s.StateOf(c.User)
			_, err := p.step(c)
			if got := codeOf(err); got != want {
				t.Fatalf("%s by %s, %s, on %v: %d (%v), the spec says %d", c.Op, c.Device, was, c.Users, got, err, want)
			}
			if to, moves := becomes[c.Op]; want == OK && moves && p.s.StateOf(c.User) != to {
				t.Fatalf("%s by %s, %s: now %s, the spec says %s", c.Op, c.User, was, p.s.StateOf(c.User), to)
			}
			if want == OK && (c.Op == OpAccept || c.Op == OpJoin) && c.User != "A" {
				everAccepted = true
			}
		}
	})
}
