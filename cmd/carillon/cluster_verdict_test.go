//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"carillon/transport/client"
)

// What the verdict allows.
const (
	lateLimit   = 5 * time.Second  // SPEC 9.5
	repairLimit = 3 * time.Second  // SPEC 9.4 has 2 s from the end of a fault; the rest is a busy machine\'s
	clockSlack  = time.Second      // between an answer's milliseconds and ours, and a busy machine's scheduling
	checkLimit  = 20 * time.Second // for one call's history
)

// verdict is what a crowd's notes come to.
type verdict struct {
	crowd   *crowd
	origin  time.Time
	calls   map[client.CallID]client.CallInfo // as the lists of all have them
	history map[client.CallID][]porcupine.Operation
	dues    map[client.CallID][]deadline
	tags    map[string]client.CallID // of invitations
	offline int
	worst   time.Duration // of what deadlines were heard too late
	repair  time.Duration // and ends
	alone   int           // rings that devices ended by their own clocks

	deadlinesHeard int
	retried        int
	unknown        int
	deeds          int

	complaints int
}

// judge holds all that people did and heard against what they find in their lists.
func (k *crowd) judge() *verdict {
	k.t.Helper()
	v := &verdict{
		crowd: k, origin: k.origin(), calls: map[client.CallID]client.CallInfo{}, history: map[client.CallID][]porcupine.Operation{},
		dues: map[client.CallID][]deadline{}, tags: map[string]client.CallID{},
	}
	for _, p := range k.people {
		for _, f := range p.faults {
			k.t.Error(f)
		}
		v.agree(p)
	}
	for _, p := range k.people {
		v.present(p)
		v.rings(p)
		v.acts(p)
	}
	for id, call := range v.calls {
		v.ended(call)
		v.linearizable(id)
	}
	v.oneOrder()
	v.deadlines()
	if v.complaints > 0 {
		k.t.Logf("%d complaints", v.complaints)
	}
	k.t.Logf("%d calls, %d operations, %d of them tried more than once, %d without an answer", len(v.calls), v.deeds, v.retried, v.unknown)
	k.t.Logf("%d time-outs were heard at most %v late, other ends %v; %d rings ended by a device's own clock",
		v.deadlinesHeard, v.worst.Round(time.Millisecond), v.repair.Round(time.Millisecond), v.alone)
	return v
}

// complain fails the test, in words only for the first few.
func (v *verdict) complain(format string, args ...any) {
	const most = 10
	v.crowd.t.Helper()
	if v.complaints++; v.complaints <= most {
		v.crowd.t.Errorf(format, args...)
		return
	}
	v.crowd.t.Fail()
}

// origin is before everything.
func (k *crowd) origin() time.Time {
	first := time.Now()
	for _, p := range k.people {
		for _, a := range p.acts {
			if a.began.Before(first) {
				first = a.began
			}
		}
	}
	return first.Add(-time.Minute)
}

// agree takes a list in, and fails where another one has the same call otherwise.
func (v *verdict) agree(p *person) {
	for _, call := range p.lists {
		if call.Caller == p.name {
			v.claim(call)
		}
		first, ok := v.calls[call.CallID]
		if !ok {
			v.calls[call.CallID] = call
			continue
		}
		if a, b := sketch(first), sketch(call); a != b {
			v.complain("%s sees call %v as\n\t%s\nanother one as\n\t%s", p.name, call.CallID, b, a)
		}
	}
}

// claim notes whose invitation a call is. Two of one invitation were one applied twice.
func (v *verdict) claim(call client.CallInfo) {
	if other, twice := v.tags[call.ExtendedData]; twice {
		v.complain("the invitation %q has made two calls, %v and %v", call.ExtendedData, other, call.CallID)
	}
	v.tags[call.ExtendedData] = call.CallID
}

// sketch is a call without what differs by viewer: who was invited by callingInvite has a time and a text of his own.
func sketch(c client.CallInfo) string {
	return fmt.Sprint("v", c.Version, " ", c.State, " ", c.Mode, " of ", c.Caller, " ", c.CreateTime.UnixMilli(), c.EndTime.UnixMilli(), c.Users, c.EndReason)
}

// present: everybody in a call has it in his list.
func (v *verdict) present(p *person) {
	has := map[client.CallID]bool{}
	for _, call := range p.lists {
		has[call.CallID] = true
	}
	for id, call := range v.calls {
		if _, in := call.User(p.name); in && !has[id] {
			v.complain("call %v is missing in the list of %s", id, p.name)
		}
	}
}

// rings: every device that rang has learned the outcome, and soon.
func (v *verdict) rings(p *person) {
	for id, r := range p.rings {
		call, ok := v.calls[id]
		if !ok {
			v.complain("%s: call %v rang and is in nobody's list", p.name, id)
			continue
		}
		if r.over.IsZero() {
			v.complain("%s: call %v rings for ever: %s", p.name, id, sketch(call))
			continue
		}
		me, _ := call.User(p.name)
		if r.how == ownClock {
			v.alone++
		}
		if me.State == client.BeCancelled || me.State.Pending() { // the call's end was the outcome
			late := r.over.Sub(p.reachable(v.fair(call.EndTime, r.over), r.over))
			if v.repair = max(v.repair, late); late > repairLimit {
				v.complain("%s: call %v ended at %v and he heard of it %v late (%s): %s", p.name, id, call.EndTime, late, r.how, sketch(call))
			}
		}
		if over := r.over.Sub(r.until); over > lateLimit {
			v.complain("%s: call %v rang %v beyond its time (%s)", p.name, id, over, r.how)
		}
	}
}

// reachable is when somebody who was to hear of something at an instant was connected.
func (p *person) reachable(from, heard time.Time) time.Time {
	for _, c := range p.connects {
		if c.After(from) && c.Before(heard) {
			from = c
		}
	}
	return from
}

// deadlines: no time-out is late. The device that rang knows its time by itself, so what counts is when anybody else hears.
func (v *verdict) deadlines() {
	first := map[string]time.Time{}
	for _, p := range v.crowd.people {
		for _, f := range p.facts {
			key := fmt.Sprint(f.call, f.user)
			if at, told := first[key]; f.state == client.Timeout && (!told || f.at.Before(at)) {
				first[key] = f.at
			}
		}
	}
	for _, p := range v.crowd.people {
		for id, r := range p.rings {
			at, told := first[fmt.Sprint(id, p.name)]
			if !told {
				continue
			}
			v.deadlinesHeard++
			late := at.Sub(v.late(r.until, at, v.crowd.outages))
			if v.worst = max(v.worst, late); late > lateLimit {
				v.complain("call %v: the time of %s was over at %v, and nobody heard of it before %v later: %s", id, p.name, r.until, late, sketch(v.calls[id]))
			}
		}
	}
}

// fair is the instant from which lateness counts: what fell into a fault may wait until its end.
func (v *verdict) fair(due, heard time.Time) time.Time {
	return v.late(v.late(due, heard, v.crowd.faults), heard, v.crowd.outages)
}

func (v *verdict) late(due, heard time.Time, spans []span) time.Time {
	for _, s := range spans {
		if s.to.After(due) && s.from.Before(heard) {
			due = s.to
		}
	}
	return due
}

// acts sorts a person's operations by call. What was answered must be about a call that is kept.
func (v *verdict) acts(p *person) {
	for _, a := range p.acts {
		v.deeds++
		if a.tries > 1 {
			v.retried++
		}
		if !a.known {
			v.unknown++
		}
		id := a.call
		if a.op == "invite" {
			kept, made := v.tags[a.tag]
			switch {
			case !a.known && !made || a.known && a.code != client.OK:
				continue
			case a.known && kept != id:
				v.complain("%s: the invitation %q was answered with call %v, and his list has %v", p.name, a.tag, id, kept)
				continue
			}
			id = kept
		}
		if _, kept := v.calls[id]; !kept {
			v.complain("%s: call %v, on which he was answered, is in nobody's list", p.name, id)
			continue
		}
		v.enter(id, a)
		if a.op == "accept" && a.known && a.code == client.OK {
			v.inTime(p, id)
		}
	}
	for _, call := range p.lists {
		v.look(call.CallID, p.name, call, p.listed[0], p.listed[1])
	}
}

// enter puts an operation into its call's history, with what it does later and what its answer showed.
func (v *verdict) enter(id client.CallID, a act) {
	s := step{op: a.op, user: a.user, invitees: a.invitees, mode: a.mode, known: a.known, code: a.code}
	end := int64(forever)
	if a.known {
		end = v.instant(a.ended)
	}
	if a.op == "invite" || a.op == "add" {
		s.due = a.tag
		due := deadline{a.tag, span{a.began.Add(a.timeout), a.ended.Add(a.timeout)}}
		if a.op == "invite" {
			created := v.calls[id].CreateTime.Add(a.timeout)
			due.span = span{created, created}
		}
		v.dues[id] = append(v.dues[id], due)
		v.put(id, step{op: "due", due: a.tag}, v.instant(due.from.Add(-clockSlack)), int64(forever))
	}
	v.put(id, s, v.instant(a.began), end)
	if a.known && a.seen != nil {
		v.look(id, a.user, *a.seen, a.began, a.ended)
	}
}

func (v *verdict) look(id client.CallID, who string, call client.CallInfo, from, to time.Time) {
	v.put(id, step{op: "look", user: who, seen: call}, v.instant(from), v.instant(to))
}

func (v *verdict) put(id client.CallID, s step, from, to int64) {
	h := v.history[id]
	v.history[id] = append(h, porcupine.Operation{ClientId: len(h), Input: s, Call: from, Return: to})
}

func (v *verdict) instant(t time.Time) int64 { return int64(t.Sub(v.origin)) }

// inTime: nobody is let in once his time is over, however late the server noticed.
func (v *verdict) inTime(p *person, id client.CallID) {
	call := v.calls[id]
	me, _ := call.User(p.name)
	if r := p.rings[id]; r != nil && me.AcceptTime.After(r.until.Add(clockSlack)) {
		v.complain("%s accepted call %v at %v, whose time was over at %v", p.name, id, me.AcceptTime, r.until)
	}
}

// ended: every call has ended, for a reason that fits, and when it was due.
func (v *verdict) ended(call client.CallInfo) {
	switch {
	case call.State != client.Ended:
		v.complain("call %v goes on: %s", call.CallID, sketch(call))
	case call.EndReason == client.ReasonCallerOffline:
		v.offline++
		v.put(call.CallID, step{op: "offline"}, v.instant(call.CreateTime.Add(-clockSlack)), int64(forever))
		v.complain("call %v was cancelled because its caller was offline, and nobody was: %s", call.CallID, sketch(call))
	case call.EndReason == client.ReasonNoAnswer && call.Mode == client.Common && call.EndTime.Sub(call.CreateTime) != call.Timeout:
		v.complain("call %v rang %v of %v", call.CallID, call.EndTime.Sub(call.CreateTime), call.Timeout)
	}
}

// deadline is whose time is over when: to the millisecond, but one of callingInvite is only known to be within its answer.
type deadline struct {
	tag string
	span
}

// asOne is a history in which the second deadline is the first one. Deadlines of one millisecond are one change.
func asOne(history []porcupine.Operation, first, second string) []porcupine.Operation {
	out := slices.Clone(history)
	for i := range out {
		if s := out[i].Input.(step); s.due == second {
			s.due = first
			out[i].Input = s
		}
	}
	return out
}

// linearizable checks one call's history; a bad one is drawn into a file.
func (v *verdict) linearizable(id client.CallID) {
	history := v.history[id]
	result, info := porcupine.CheckOperationsVerbose(callModel, history, checkLimit)
	if result == porcupine.Ok {
		return
	}
	for i, first := range v.dues[id] {
		for _, second := range v.dues[id][i+1:] {
			if first.from.Before(second.to.Add(time.Millisecond)) && second.from.Before(first.to.Add(time.Millisecond)) &&
				porcupine.CheckOperations(callModel, asOne(history, first.tag, second.tag)) {
				return
			}
		}
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var lines []string
	for _, o := range history {
		to := "open"
		if o.Return != int64(forever) {
			to = time.Duration(o.Return - o.Call).Round(time.Millisecond).String()
		}
		lines = append(lines, fmt.Sprintf("%9.3f s, %8s: %v", time.Duration(o.Call).Seconds(), to, o.Input))
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("carillon-call-%v.html", id))
	drawn := porcupine.VisualizePath(callModel, info, file)
	v.complain("the history of call %v is %v (drawn in %s, %v):\n\t%s", id, result, file, drawn, strings.Join(lines, "\n\t"))
}

// oneOrder: whatever anybody heard of a call at one version is the same.
func (v *verdict) oneOrder() {
	type point struct {
		call    client.CallID
		version uint64
		user    string
	}
	states := map[point]client.UserState{}
	for _, p := range v.crowd.people {
		for _, f := range p.facts {
			at := point{f.call, f.version, f.user}
			state, told := states[at]
			if told && state != hardened(f.state) {
				v.complain("call %v, version %d: %s heard that %s is %v, somebody else that he is %v", f.call, f.version, p.name, f.user, f.state, state)
			}
			states[at] = hardened(f.state)
		}
	}
	for id, call := range v.calls {
		for _, u := range call.Users {
			if state, told := states[point{id, call.Version, u.UserID}]; told && state != hardened(u.State) {
				v.complain("call %v, version %d: somebody heard that %s is %v, the list has %v", id, call.Version, u.UserID, state, u.State)
			}
		}
	}
}
