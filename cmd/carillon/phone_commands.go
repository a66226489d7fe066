package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"carillon/transport/client"
)

// errLeave is the outcome of the command that ends the phone.
var errLeave = errors.New("leave")

// waitLimit is the longest that the command wait waits.
const (
	waitLimit = 10 * time.Minute
	waitStep  = 20 * time.Millisecond
)

// request is one line, taken apart.
type request struct {
	args     []string
	data     string
	advanced bool
	check    bool
	timeout  int // seconds; 0 = not given
	alone    int // seconds
}

// command is one thing that can be typed.
type command struct {
	usage, help string
	do          func(p *phone, ctx context.Context, r request) error
}

// commandOrder is the order in which help lists them.
var commandOrder = []string{
	"invite", "accept", "reject", "cancel", "add", "join", "quit", "end", "calls", "list", "wait", "help", "logout",
}

func commands() map[string]command {
	return map[string]command{
		"invite": {"invite bob [carol] [options]", "ring somebody; an advanced call can grow and be joined", (*phone).invite},
		"accept": {"accept [#call]", "answer the call that rings", (*phone).accept},
		"reject": {"reject [#call]", "decline it", (*phone).reject},
		"cancel": {"cancel [#call] [bob]", "take the invitation back, from all or from some", (*phone).cancel},
		"add":    {"add [#call] dave [options]", "invite more users into an advanced call", (*phone).add},
		"join":   {"join [#call]", "enter an advanced call, or move it to this device", (*phone).join},
		"quit":   {"quit [#call]", "leave an advanced call", (*phone).quit},
		"end":    {"end [#call]", "end an advanced call for all", (*phone).endCall},
		"calls":  {"calls", "what is going on here", (*phone).calls},
		"list":   {"list [20]", "your latest calls, from the server", (*phone).list},
		"wait":   {"wait ring|answer|idle|3s [5s]", "for scripts: until it rings, somebody answers, nothing is left, or so long", (*phone).wait},
		"help":   {"help", "this list; #call may be left out: the latest fitting one is meant", (*phone).help},
		"logout": {"logout", "log out and hang up (also exit, Control-D)", func(*phone, context.Context, request) error { return errLeave }},
		"exit":   {"exit", "", func(*phone, context.Context, request) error { return errLeave }},
	}
}

// perform does what one line asks for.
func (p *phone) perform(ctx context.Context, line string) error {
	words, err := split(line)
	if err != nil || len(words) == 0 || strings.HasPrefix(words[0], "//") {
		return err
	}
	c, known := commands()[strings.ToLower(words[0])]
	if !known {
		return fmt.Errorf("%s is no command; help lists them", words[0])
	}
	r, err := parseRequest(words[1:])
	if err != nil {
		return fmt.Errorf("%w; it goes: %s", err, c.usage)
	}
	return c.do(p, ctx, r)
}

func parseRequest(words []string) (request, error) {
	var r request
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.StringVar(&r.data, "data", "", "")
	flags.BoolVar(&r.advanced, "advanced", false, "")
	flags.BoolVar(&r.check, "check", false, "")
	flags.IntVar(&r.timeout, "timeout", 0, "")
	flags.IntVar(&r.alone, "alone", 0, "")
	flags.Usage = func() {}
	err := flags.Parse(words)
	r.args = flags.Args()
	if r.timeout < 0 || r.alone < 0 {
		err = errors.New("seconds can't be negative")
	}
	return r, err
}

// split cuts a line into words at spaces; quotes hold a word together.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inside := false
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, inside = c, true
		case c != ' ' && c != '\t' && c != '\r':
			word.WriteRune(c)
			inside = true
		case inside:
			words = append(words, word.String())
			word.Reset()
			inside = false
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	if inside {
		words = append(words, word.String())
	}
	return words, nil
}

func seconds32(n int) time.Duration { return time.Duration(n) * time.Second }

func (p *phone) invite(ctx context.Context, r request) error {
	if len(r.args) == 0 {
		return errors.New("invite whom? invite bob")
	}
	config := client.CallInviteConfig{
		Timeout: seconds32(r.timeout), Mode: client.Common, ExtendedData: r.data,
		EnableNotReceivedCheck: r.check, AloneTimeout: seconds32(r.alone),
	}
	if r.advanced {
		config.Mode = client.Advanced
	}
	result, err := p.client.CallInvite(ctx, r.args, config)
	if err != nil {
		return err
	}
	p.turnedAway(result.ErrorUsers)
	return nil
}

func (p *phone) accept(ctx context.Context, r request) error {
	id, err := p.callFor(r, "rings here", p.ringing)
	if err != nil {
		return err
	}
	_, err = p.client.CallAccept(ctx, id, client.CallAcceptConfig{ExtendedData: r.data})
	return err
}

func (p *phone) reject(ctx context.Context, r request) error {
	id, err := p.callFor(r, "rings here", p.ringing)
	if err != nil {
		return err
	}
	_, err = p.client.CallReject(ctx, id, client.CallRejectConfig{ExtendedData: r.data})
	return err
}

func (p *phone) cancel(ctx context.Context, r request) error {
	id, users, err := p.callAndUsers(r, "still rings that you started", p.cancellable)
	if err != nil {
		return err
	}
	result, err := p.client.CallCancel(ctx, id, users, client.CallCancelConfig{ExtendedData: r.data})
	if err != nil {
		return err
	}
	p.turnedAway(result.ErrorUsers)
	return nil
}

func (p *phone) add(ctx context.Context, r request) error {
	id, users, err := p.callAndUsers(r, "is advanced that you are in", p.inAdvanced)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return errors.New("add whom? add dave")
	}
	result, err := p.client.CallingInvite(ctx, id, users, client.CallingInviteConfig{Timeout: seconds32(r.timeout), ExtendedData: r.data})
	if err != nil {
		return err
	}
	p.turnedAway(result.ErrorUsers)
	return nil
}

func (p *phone) join(ctx context.Context, r request) error {
	id, err := p.callFor(r, "was seen here that could be joined", func(c client.CallInfo) bool {
		return c.Mode == client.Advanced && c.State == client.Started && !slices.ContainsFunc(p.client.Calls(), func(o client.CallInfo) bool {
			return o.CallID == c.CallID
		})
	})
	if err != nil {
		return err
	}
	result, err := p.client.CallJoin(ctx, id, client.CallJoinConfig{ExtendedData: r.data})
	if err != nil {
		return err
	}
	e := p.book.note(result.Call)
	p.screen.line(green, "%v you joined%s", e, p.roster(e.call))
	return nil
}

func (p *phone) quit(ctx context.Context, r request) error {
	id, err := p.callFor(r, "is advanced that you are in", p.inAdvanced)
	if err != nil {
		return err
	}
	_, err = p.client.CallQuit(ctx, id, client.CallQuitConfig{ExtendedData: r.data})
	return err
}

func (p *phone) endCall(ctx context.Context, r request) error {
	id, err := p.callFor(r, "is advanced that you are in", p.inAdvanced)
	if err != nil {
		return err
	}
	_, err = p.client.CallEnd(ctx, id, client.CallEndConfig{ExtendedData: r.data})
	return err
}

func (p *phone) calls(context.Context, request) error {
	calls := p.client.Calls()
	if len(calls) == 0 {
		p.screen.line(plain, "no call")
	}
	for _, c := range calls {
		p.screen.line(plain, "%v %s, from %s%s", p.book.note(c), c.Mode, p.name(c.Caller), p.roster(c))
	}
	return nil
}

func (p *phone) list(ctx context.Context, r request) error {
	count := 20
	if len(r.args) > 0 {
		n, err := strconv.Atoi(r.args[0])
		if err != nil || n < 1 || n > 100 {
			return fmt.Errorf("list takes a number in 1..100, not %s", r.args[0])
		}
		count = n
	}
	page, err := p.client.QueryCallInvitationList(ctx, count, 0)
	if err != nil {
		return err
	}
	if len(page.Calls) == 0 {
		p.screen.line(plain, "no call yet")
	}
	for _, c := range page.Calls {
		p.screen.line(plain, "%s  %20s  %-8s  %-7s  from %s%s", c.CreateTime.Format("Jan _2 15:04:05"), c.CallID, c.Mode, c.ViewState,
			p.name(c.Caller), p.roster(c))
	}
	if page.NextFlag != 0 {
		p.screen.line(dim, "there are more")
	}
	return nil
}

// wait lets a script go in step with what happens.
func (p *phone) wait(ctx context.Context, r request) error {
	what, limit, err := parseWait(r.args)
	if err != nil {
		return err
	}
	over := map[string]func() bool{
		"ring":   p.rings.anew,
		"answer": p.answers.anew,
		"idle":   func() bool { return len(p.client.Calls()) == 0 },
	}[what]
	deadline, step := time.NewTimer(limit), time.NewTicker(waitStep)
	defer deadline.Stop()
	defer step.Stop()
	for over == nil || !over() {
		select {
		case <-step.C:
		case <-deadline.C:
			if over == nil {
				return nil
			}
			return fmt.Errorf("wait %s: nothing of the kind in %v", what, limit)
		case <-ctx.Done():
			return errLeave
		}
	}
	return nil
}

// tally counts what happens, for one who asks later whether it has happened since he last asked.
type tally struct{ happened, noticed atomic.Int64 }

func (t *tally) add() { t.happened.Add(1) }

func (t *tally) anew() bool {
	n := t.happened.Load()
	return t.noticed.Swap(n) != n
}

// parseWait reads what to wait for and the longest to wait; a time alone is waited for itself.
func parseWait(args []string) (what string, limit time.Duration, err error) {
	limit = waitLimit
	for i, a := range args {
		switch span, bad := time.ParseDuration(a); {
		case i == 0 && slices.Contains([]string{"ring", "answer", "idle"}, a):
			what = a
		case bad == nil && span > 0 && (i == 0 || i == 1 && what != ""):
			limit = min(limit, span)
		default:
			return "", 0, fmt.Errorf("wait %s: it goes wait ring, wait answer, wait idle, each with a limit such as 5s, or wait 3s", strings.Join(args, " "))
		}
	}
	if len(args) == 0 {
		err = errors.New("wait for what? wait ring, wait answer, wait idle, or wait 3s")
	}
	return what, limit, err
}

func (p *phone) help(context.Context, request) error {
	all := commands()
	for _, name := range commandOrder {
		p.screen.line(plain, "%-30s %s", all[name].usage, all[name].help)
	}
	p.screen.line(plain, "options of invite: --advanced, --timeout 30, --check (tell when nobody is reached), --alone 60 (end it when left alone)")
	p.screen.line(plain, "option of all: --data \"text for the others\"")
	return nil
}

// callFor is the call that the request names, or the latest one that fits.
func (p *phone) callFor(r request, which string, fits func(client.CallInfo) bool) (client.CallID, error) {
	if len(r.args) > 1 {
		return 0, fmt.Errorf("one call at a time, not %s", strings.Join(r.args, " "))
	}
	if len(r.args) == 1 {
		return p.book.parse(r.args[0])
	}
	if calls := p.client.Calls(); len(calls) > 0 {
		for _, c := range slices.Backward(calls) {
			if fits(c) {
				return c.CallID, nil
			}
		}
	}
	if id, ok := p.book.newest(fits); ok {
		return id, nil
	}
	return 0, fmt.Errorf("there is no call that %s", which)
}

// callAndUsers is for commands that take users too: a call must start with #, for 17 may be a user.
func (p *phone) callAndUsers(r request, which string, fits func(client.CallInfo) bool) (client.CallID, []string, error) {
	if len(r.args) > 0 && strings.HasPrefix(r.args[0], "#") {
		id, err := p.book.parse(r.args[0])
		return id, r.args[1:], err
	}
	id, err := p.callFor(request{}, which, fits)
	return id, r.args, err
}

func (p *phone) stateIn(c client.CallInfo) client.UserState {
	me, _ := c.User(p.user)
	return me.State
}

func (p *phone) ringing(c client.CallInfo) bool {
	return c.State == client.Started && p.stateIn(c).Pending()
}

func (p *phone) inAdvanced(c client.CallInfo) bool {
	return c.State == client.Started && c.Mode == client.Advanced && p.stateIn(c) == client.Accepted
}

func (p *phone) cancellable(c client.CallInfo) bool {
	return c.State == client.Started && p.stateIn(c) == client.Accepted &&
		slices.ContainsFunc(c.Users, func(u client.CallUser) bool { return u.State.Pending() })
}
