package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"carillon/transport/wire"
)

const crashPlayers = 50

// killedUnderLoad kills the server at random moments while fifty players play, now and then lets it stop properly, starts
// it again where it was, and then holds every acknowledged answer against what the server knows. CARILLON_CRASH_ROUNDS
// says how often (3).
func killedUnderLoad(t *testing.T, p program) {
	rounds := 3
	if s := os.Getenv("CARILLON_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("CARILLON_CRASH_ROUNDS: %v", err)
		}
		rounds = n
	}
	dir := t.TempDir()
	settings := []string{
		"HEARTBEAT_INTERVAL=500ms", "HEARTBEAT_TIMEOUT=10s", "LIMITS_REQUESTS_PER_SECOND=1000", "LIMITS_REQUESTS_BURST=1000",
		"DRAIN_TIMEOUT=200ms",
	}
	s := p.start(t, dir, "127.0.0.1:0", settings...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := newGame(s.addr, seed)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	g.begin(ctx)
	for round := range rounds {
		time.Sleep(time.Duration(300+g.chance.IntN(1200)) * time.Millisecond)
		if round%3 == 1 {
			s.signal(syscall.SIGTERM)
			if err := s.wait(); err != nil {
				t.Errorf("after SIGTERM under load: %v\n%s", err, &s.stderr)
			}
		} else {
			s.signal(syscall.SIGKILL)
			_ = s.wait() // killed
		}
		s = p.start(t, dir, s.addr, settings...)
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	if err := g.wait(); err != nil {
		t.Fatal(err)
	}
	g.settle(t)
	g.check(t)
}

// game is fifty players.
type game struct {
	chance  *rand.Rand
	players []*player
	running sync.WaitGroup
	errs    []error // of each player
	lists   []map[uint64]*wire.CallSnapshot
}

func newGame(addr string, seed uint64) *game {
	g := &game{chance: rand.New(rand.NewPCG(seed, 0)), errs: make([]error, crashPlayers), lists: make([]map[uint64]*wire.CallSnapshot, crashPlayers)}
	users, doors := numbered("u", crashPlayers), make(chan struct{}, 16)
	for i, u := range users {
		g.players = append(g.players, &player{
			user: u, others: slices.Delete(slices.Clone(users), i, i+1), addr: addr, doors: doors,
			chance: rand.New(rand.NewPCG(seed, uint64(i+1))), calls: map[uint64]*outlook{},
		})
	}
	return g
}

// each lets every player do something at the same time.
func (g *game) each(act func(i int, p *player) error) {
	for i, p := range g.players {
		g.running.Go(func() {
			if err := act(i, p); err != nil {
				g.errs[i] = err
			}
		})
	}
}

func (g *game) begin(ctx context.Context) {
	g.each(func(_ int, p *player) error { return p.play(ctx) })
}

func (g *game) wait() error {
	g.running.Wait()
	for _, err := range g.errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// settle waits until nothing rings any more, for anybody, and every player has read his list.
func (g *game) settle(t *testing.T) {
	t.Helper()
	g.each(func(i int, p *player) error {
		for deadline := time.Now().Add(patience); ; {
			if err := p.listen(100 * time.Millisecond); err != nil {
				return err
			}
			list, err := p.list()
			if err != nil {
				return err
			}
			open := 0
			for _, s := range list {
				if slices.ContainsFunc(s.GetUsers(), func(u *wire.CallUser) bool { return pending(u.GetState()) && s.GetEndTimeMs() == 0 }) {
					open++
				}
			}
			if ringing := p.ringing(); open == 0 && len(ringing) == 0 {
				g.lists[i] = list
				return nil
			} else if time.Now().After(deadline) {
				return fmt.Errorf("%s: %d of his calls never end, and these ring for ever on his device: %v", p.user, open, ringing)
			}
		}
	})
	if err := g.wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range g.players {
		if p.conn != nil {
			p.leave()
		}
	}
}

func (g *game) check(t *testing.T) {
	t.Helper()
	calls := map[uint64]*wire.CallSnapshot{}
	applied := map[uint64]uint64{} // operations on each call that were answered with success
	deeds, retried := 0, 0
	for i, p := range g.players {
		for _, f := range p.faults {
			t.Error(f)
		}
		g.agree(t, i, calls)
		made := 0
		for _, d := range p.deeds {
			deeds++
			if d.attempts > 1 {
				retried++
			}
			if d.frame.GetCallInvite() != nil {
				made++
			}
			checkDeed(t, p, d, g.lists[i])
			if d.answer.GetCode() == 0 {
				applied[d.answer.GetCall().GetCallId()]++
			}
		}
		own := 0
		for _, s := range g.lists[i] {
			if s.GetCaller() == p.user {
				own++
			}
		}
		if own != made {
			t.Errorf("%s made %d invitations and is the caller of %d calls", p.user, made, own)
		}
	}
	for _, s := range calls {
		checkCall(t, s, g)
		checkVersion(t, s, applied[s.GetCallId()])
	}
	t.Logf("%d calls, %d operations, %d of them answered after a retry", len(calls), deeds, retried)
	if len(calls) < crashPlayers || retried == 0 {
		t.Errorf("too quiet to show anything: %d calls, %d retries", len(calls), retried)
	}
}

// agree holds a player's list against the others': all sides see the same call.
func (g *game) agree(t *testing.T, i int, calls map[uint64]*wire.CallSnapshot) {
	for id, s := range g.lists[i] {
		first := calls[id]
		if first == nil {
			calls[id] = s
			continue
		}
		a, b := proto.Clone(first).(*wire.CallSnapshot), proto.Clone(s).(*wire.CallSnapshot)
		for _, s := range []*wire.CallSnapshot{a, b} { // what differs by viewer
			s.ViewState, s.Inviter, s.IsMainDevice, s.RemainingMs = 0, "", false, 0
		}
		if !proto.Equal(a, b) {
			t.Errorf("%s sees call %d as\n\t%v\nanother one as\n\t%v", g.players[i].user, id, b, a)
		}
	}
}

// checkCall: everybody in the call has it in his list, and it ended when and as it had to.
func checkCall(t *testing.T, s *wire.CallSnapshot, g *game) {
	for _, u := range s.GetUsers() {
		i := slices.IndexFunc(g.players, func(p *player) bool { return p.user == u.GetUserId() })
		if g.lists[i][s.GetCallId()] == nil {
			t.Errorf("call %d is missing in the list of %s", s.GetCallId(), u.GetUserId())
		}
		if u.GetState() == wire.UserState_USER_STATE_TIMEOUT && u.GetReason() != wire.Reason_REASON_NO_ANSWER {
			t.Errorf("call %d: %s timed out with reason %v", s.GetCallId(), u.GetUserId(), u.GetReason())
		}
	}
	ended := s.GetState() == wire.CallState_CALL_STATE_ENDED
	if s.GetMode() == common && !ended {
		t.Errorf("call %d has nobody pending and goes on: %v", s.GetCallId(), s)
	}
	if took := s.GetEndTimeMs() - s.GetCreateTimeMs(); s.GetEndReason() == wire.Reason_REASON_NO_ANSWER && took != int64(s.GetTimeoutS())*1000 {
		t.Errorf("call %d rang %d ms of %d s", s.GetCallId(), took, s.GetTimeoutS())
	}
}

// checkVersion: a call's version counts its durable changes, so it tells whether something was applied twice or not at
// all. All invitees of a call have one deadline here, so all time-outs are one change.
func checkVersion(t *testing.T, s *wire.CallSnapshot, applied uint64) {
	want := applied
	if slices.ContainsFunc(s.GetUsers(), func(u *wire.CallUser) bool { return u.GetState() == wire.UserState_USER_STATE_TIMEOUT }) {
		want++
	}
	if s.GetEndReason() == wire.Reason_REASON_CALLER_OFFLINE {
		want++
	}
	if s.GetVersion() != want {
		t.Errorf("call %d has version %d after %d changes: %v", s.GetCallId(), s.GetVersion(), want, s)
	}
}

// effects are the states that an answer's user may be in at the end when it was accepted.
var effects = map[string][]wire.UserState{
	"accept": {wire.UserState_USER_STATE_ACCEPTED, wire.UserState_USER_STATE_QUIT},
	"reject": {wire.UserState_USER_STATE_REJECTED},
	"quit":   {wire.UserState_USER_STATE_QUIT},
	"cancel": {wire.UserState_USER_STATE_CANCELLED},
}

// checkDeed: what was acknowledged is so, and what was refused is not. Each player does each of these once per call, so
// his last state tells whether it was applied.
func checkDeed(t *testing.T, p *player, d deed, list map[uint64]*wire.CallSnapshot) {
	var id uint64
	var kind string
	switch f := d.frame; {
	case f.GetCallInvite() != nil:
		if d.answer.GetCode() != 0 || list[d.answer.GetCall().GetCallId()] == nil {
			t.Errorf("%s: an invitation answered %d with call %d, which is not in his list", p.user, d.answer.GetCode(), d.answer.GetCall().GetCallId())
		}
		return
	case f.GetCallAccept() != nil:
		id, kind = f.GetCallAccept().GetCallId(), "accept"
	case f.GetCallReject() != nil:
		id, kind = f.GetCallReject().GetCallId(), "reject"
	case f.GetCallQuit() != nil:
		id, kind = f.GetCallQuit().GetCallId(), "quit"
	case f.GetCallCancel() != nil:
		id, kind = f.GetCallCancel().GetCallId(), "cancel"
	default:
		return
	}
	s := list[id]
	if s == nil {
		t.Errorf("%s: call %d, which he answered, is not in his list", p.user, id)
		return
	}
	i := slices.IndexFunc(s.GetUsers(), func(u *wire.CallUser) bool { return u.GetUserId() == p.user })
	state := s.GetUsers()[i].GetState()
	applied := slices.Contains(effects[kind], state)
	if kind == "cancel" {
		applied = applied && s.GetEndReason() == wire.Reason_REASON_CANCELLED
	}
	if applied != (d.answer.GetCode() == 0) {
		t.Errorf("%s: his %s of call %d was answered %d %s after %d attempts, and he is %v:\n\t%v", p.user, kind, id, d.answer.GetCode(), d.answer.GetMessage(), d.attempts, state, s)
	}
}
