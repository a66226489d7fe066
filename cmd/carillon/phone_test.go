package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/term"

	"carillon/transport/client"
)

// testConfig is a node on free ports of loopback that keeps nothing.
func testConfig(t *testing.T) Config {
	t.Helper()
	c, err := Load(Sources{Env: []string{
		"CARILLON_TRANSPORT_LISTEN=127.0.0.1:0", "CARILLON_ADMIN_LISTEN=127.0.0.1:0", "CARILLON_PERSISTENCE_ENGINE=memory",
		"CARILLON_PERSISTENCE_DIR=" + t.TempDir(), "CARILLON_DRAIN_SPREAD=0s", "CARILLON_DRAIN_TIMEOUT=1s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startNode runs a node until the test ends and gives its address.
func startNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	node, err := OpenNode(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- node.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, node.Close()); err != nil {
			t.Error(err)
		}
	})
	return node
}

// transcript collects what a phone prints, and can be read meanwhile.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// playPhone runs a script on a phone and gives its printed lines, without times, and its error.
func playPhone(ctx context.Context, node *Node, user, device, script string) (string, error) {
	out := &transcript{}
	s := &screen{out: out, now: func() time.Time { return time.Unix(0, 0).UTC() }, restore: func() {}}
	o := phoneOptions{user: user, device: device, addresses: []string{node.Addr().String()}}
	err := runPhone(ctx, o, s, strings.NewReader(script))
	return strings.ReplaceAll(out.String(), "00:00:00  ", ""), err
}

func TestTwoPhonesRingAnswerAndEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	node := startNode(t, testConfig(t))
	bob, bobError := "", error(nil)
	var playing sync.WaitGroup
	playing.Go(func() {
		bob, bobError = playPhone(ctx, node, "bob", "b1", "wait ring 20s\naccept --data 'hi there'\nwait idle 20s\nlist 1\n")
	})
	alice, err := playPhone(ctx, node, "alice", "a1",
		"invite bob --advanced --data hello\nwait answer 20s\ncalls\nadd bob\nend --data bye\nwait idle 20s\n")
	playing.Wait()
	if bobError != nil {
		t.Errorf("bob: %v", bobError)
	}
	if err == nil || !strings.Contains(err.Error(), "commands that failed: 1") {
		t.Errorf("alice's script has one refused command, and she ends with %v", err)
	}
	wantInOrder(t, "alice", alice,
		"connected to "+node.Addr().String(),
		"#1 you started an advanced call  [you in the call, bob invited] \"hello\"; call ID ",
		"#1 bob accepted \"hi there\"  [you in the call, bob in the call]",
		"#1 advanced, from you  [you in the call, bob in the call]",
		"refused: 6000001",
		"#1 is over: you ended it \"bye\"",
		"logged out",
	)
	wantInOrder(t, "bob", bob,
		"#1 RING: alice invites you to an advanced call, 90 s left: accept or reject  [alice in the call, you invited] \"hello\"; call ID ",
		"#1 you accepted \"hi there\"  [alice in the call, you in the call]",
		"#1 is over: alice ended it \"bye\"",
		"advanced  ended    from alice",
		"logged out",
	)
}

func TestPhoneCancelsTheLatestCall(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	node := startNode(t, testConfig(t))
	var carol string
	var carolError error
	var playing sync.WaitGroup
	playing.Go(func() { carol, carolError = playPhone(ctx, node, "carol", "c1", "wait ring 20s\nwait idle 20s\n") })
	alice, err := playPhone(ctx, node, "alice", "a1", "invite carol\nwait 100ms\ncancel\nwait idle 20s\naccept\n")
	playing.Wait()
	if err == nil || carolError != nil {
		t.Errorf("alice: %v, carol: %v", err, carolError)
	}
	wantInOrder(t, "alice", alice, "#1 you started a common call", "you cancelled the call, the invitation of carol was taken back")
	wantInOrder(t, "alice", alice, "there is no call that rings here")
	wantInOrder(t, "carol", carol, "#1 RING: alice", "#1 stops ringing: alice took the invitation back")
}

func TestPhoneMovesACallBetweenDevices(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	node := startNode(t, testConfig(t))
	var playing sync.WaitGroup
	var phone, laptop string
	var errs [2]error
	playing.Go(func() {
		phone, errs[0] = playPhone(ctx, node, "bob", "phone", "wait ring 20s\naccept\nwait idle 20s\n")
	})
	playing.Go(func() {
		laptop, errs[1] = playPhone(ctx, node, "bob", "laptop", "wait ring 20s\nwait idle 20s\njoin\nend\nwait idle 20s\n")
	})
	alice, err := playPhone(ctx, node, "alice", "a1", "wait 300ms\ninvite bob --advanced\nwait answer 20s\nwait idle 20s\n")
	playing.Wait()
	if err := errors.Join(err, errs[0], errs[1]); err != nil {
		t.Fatalf("%v\nalice:\n%s\nphone:\n%s\nlaptop:\n%s", err, alice, phone, laptop)
	}
	wantInOrder(t, "phone", phone, "#1 you accepted", "you went on with device laptop")
	wantInOrder(t, "laptop", laptop, "#1 RING", "#1 you answered on device phone", "#1 you joined", "#1 is over: you ended it")
	wantInOrder(t, "alice", alice, "#1 bob accepted", "#1 is over: bob ended it")
}

// wantInOrder checks that the lines contain each of the words, in this order.
func wantInOrder(t *testing.T, who, text string, words ...string) {
	t.Helper()
	rest := text
	for _, word := range words {
		i := strings.Index(rest, word)
		if i < 0 {
			t.Errorf("%s lacks, in this order, %q:\n%s", who, word, text)
			return
		}
		rest = rest[i+len(word):]
	}
}

// A phone that knows two nodes says where it is, and where it goes when the first one drains.
func TestPhoneMovesToAnotherNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	one, two := testConfig(t), testConfig(t)
	one.Node.Name, two.Node.Name = "one", "two"
	first, second := startNode(t, one), startNode(t, two)
	out := &transcript{}
	typed, keyboard := io.Pipe()
	played := make(chan error, 1)
	go func() {
		s := &screen{out: out, now: time.Now, restore: func() {}}
		o := phoneOptions{user: "alice", device: "a1", addresses: []string{first.Addr().String(), " " + second.Addr().String()}}
		played <- runPhone(ctx, o, s, typed)
	}()
	waitFor(ctx, t, out, "connected to "+first.Addr().String()+" (node one)")
	first.Drain(time.Second)
	waitFor(ctx, t, out, "moved to "+second.Addr().String()+" (node two)")
	_ = keyboard.Close()
	if err := <-played; err != nil {
		t.Error(err)
	}
	wantInOrder(t, "alice", out.String(), "calling "+first.Addr().String()+", "+second.Addr().String(), "connected to", "sends this phone on, in", "moved to", "logged out")
}

// waitFor waits until a phone has printed the words.
func waitFor(ctx context.Context, t *testing.T, out *transcript, words string) {
	t.Helper()
	tick := time.NewTicker(waitStep)
	defer tick.Stop()
	for !strings.Contains(out.String(), words) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it does not say %q:\n%s", words, out)
		}
	}
}

// Addresses may be given by flags and within them.
func TestPhoneTakesSeveralAddresses(t *testing.T) {
	command := phoneCommand()
	if err := command.ParseFlags([]string{"--user", "alice", "--addr", "127.0.0.1:1,127.0.0.1:2", "--addr", "127.0.0.1:3"}); err != nil {
		t.Fatal(err)
	}
	if got, err := command.Flags().GetStringSlice("addr"); err != nil || !reflect.DeepEqual(got, []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPhoneSaysWhereItIs(t *testing.T) {
	p := &phone{}
	for _, step := range []struct{ address, node, want string }{
		{"h:1", "one", "connected to h:1 (node one)"},
		{"h:1", "one", "connected again to h:1 (node one)"},
		{"h:2", "two", "moved to h:2 (node two)"},
		{"h:2", "", "moved to h:2"},
	} {
		if got := p.arrive(client.ConnectionStateChanged{State: client.Connected, Address: step.address, Node: step.node}); got != step.want {
			t.Errorf("%q, want %q", got, step.want)
		}
	}
}

func TestPhoneSaysWhenNobodyAnswers(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := &screen{out: io.Discard, now: time.Now, restore: func() {}}
	err := runPhone(ctx, phoneOptions{user: "alice", device: "d", addresses: []string{"127.0.0.1:9"}}, s, strings.NewReader(""))
	if err == nil {
		t.Error("a phone without a server succeeds")
	}
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                            nil,
		"  invite   bob\t":            {"invite", "bob"},
		`invite "bob b" --data 'x"y'`: {"invite", "bob b", "--data", `x"y`},
		`reject --data ""`:            {"reject", "--data", ""},
		`a"b c"d`:                     {"ab cd"},
	} {
		if got, err := split(line); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("split(%q) = %q, %v", line, got, err)
		}
	}
	if _, err := split(`say "hi`); err == nil {
		t.Error("an open quote is accepted")
	}
}

func TestParseWait(t *testing.T) {
	for line, want := range map[string]struct {
		what  string
		limit time.Duration
	}{
		"ring": {"ring", waitLimit}, "ring 5s": {"ring", 5 * time.Second}, "3s": {"", 3 * time.Second}, "idle 100h": {"idle", waitLimit},
	} {
		if what, limit, err := parseWait(strings.Fields(line)); err != nil || what != want.what || limit != want.limit {
			t.Errorf("wait %s: %q %v %v", line, what, limit, err)
		}
	}
	for _, line := range []string{"", "bell", "ring ring", "3s 3s", "ring 1s 1s", "-3s"} {
		if _, _, err := parseWait(strings.Fields(line)); err == nil {
			t.Errorf("wait %s is accepted", line)
		}
	}
}

func TestPhoneRefusesNonsense(t *testing.T) {
	p := &phone{}
	for line, word := range map[string]string{
		"dance":                "no command",
		"invite bob --loud":    "it goes: invite",
		"invite b --timeout=x": "--timeout",
		"invite b --alone -1":  "negative",
		`invite "bob`:          "quote",
	} {
		if err := p.perform(context.Background(), line); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v does not say %s", line, err, word)
		}
	}
	for _, line := range []string{"", "   ", "// a remark"} {
		if err := p.perform(context.Background(), line); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestBookNumbersCallsAndForgetsOldOnes(t *testing.T) {
	var b book
	for id := range client.CallID(bookSize + 2) {
		b.note(client.CallInfo{CallID: 1_000_000 + id, Version: 1})
	}
	if len(b.entries) != bookSize {
		t.Errorf("remembers %d calls, not %d", len(b.entries), bookSize)
	}
	if id, err := b.parse("#3"); err != nil || id != 1_000_002 {
		t.Errorf("#3 is %v, %v", id, err)
	}
	if id, err := b.parse("12345678901234567890"); err != nil || id != 12345678901234567890 {
		t.Errorf("a whole ID is %v, %v", id, err)
	}
	for _, s := range []string{"#1", "x", "#", "99999", "-1"} {
		if _, err := b.parse(s); err == nil {
			t.Errorf("%s is accepted", s)
		}
	}
	b.note(client.CallInfo{CallID: 1_000_002, Version: 9, Mode: client.Advanced})
	if old := b.note(client.CallInfo{CallID: 1_000_002, Version: 8}); old.call.Version != 9 || old.number != 3 {
		t.Errorf("an older snapshot replaced a newer one: %+v", old)
	}
}

func TestScreenIsNotSteeredFromOutside(t *testing.T) {
	out := &transcript{}
	s := &screen{out: out, now: func() time.Time { return time.Unix(0, 0).UTC() }, color: true, restore: func() {}}
	s.line(red, "%s", "x\x1b[2Jy\nz\u202e")
	if got, want := out.String(), "\x1b[2m00:00:00\x1b[0m  \x1b[31mx?[2Jy?z?\x1b[0m\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// TestScreenRingsInThePrompt: the banner is part of the prompt, drawn anew when it changes, and what was typed stays.
func TestScreenRingsInThePrompt(t *testing.T) {
	out := &transcript{}
	typed, keyboard := io.Pipe()
	s := &screen{out: out, now: time.Now, color: true, restore: func() {}, prompt: "bob> "}
	s.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{typed, out}, s.prompt)
	lines := make(chan string, 1)
	go func() {
		line, err := s.reader()
		lines <- line
		if err != nil {
			t.Error(err)
		}
	}()
	if _, err := io.WriteString(keyboard, "acc"); err != nil {
		t.Fatal(err)
	}
	s.status(alarm, "((( alice rings )))  30 s", "bob> ", true)
	wantInOrder(t, "the screen", out.String(), "bob> ", "\a", "\x1b["+string(alarm)+"m((( alice rings )))  30 s\x1b[0m bob> ")
	before := len(out.String())
	s.status(alarm, "((( alice rings )))  30 s", "bob> ", false)
	if len(out.String()) != before {
		t.Error("a banner that has not changed is drawn again")
	}
	if _, err := io.WriteString(keyboard, "ept\r"); err != nil {
		t.Fatal(err)
	}
	if line := <-lines; line != "accept" {
		t.Errorf("typed %q", line)
	}
	s.close()
	if s.interactive() {
		t.Error("a closed screen takes input")
	}
}
