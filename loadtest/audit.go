package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"carillon/transport/wire"
)

// Bounds of an audit.
const (
	auditPage    = 100 // calls in a page of a list
	auditPages   = 100 // read of one user's list
	auditAtOnce  = 24
	auditTimeout = 10 * time.Second // of one page, with the times that the server makes us wait
	auditWithin  = time.Minute      // all of it
	auditPause   = 200 * time.Millisecond
)

// audit is the look into the users' lists after the run: what was acknowledged must be there, and all must agree on it.
type audit struct {
	mu      sync.Mutex
	Calls   int
	Users   int
	Wrong   int
	Reasons []string
}

// audit asks every user of the calls kept for his list.
func (r *run) audit(ctx context.Context) *audit {
	ctx, cancel := context.WithTimeout(ctx, auditWithin)
	defer cancel()
	expected := map[*user]map[uint64]record{}
	for _, one := range r.tally.finished {
		for _, u := range one.users {
			if r, err := one.cast.role(u.name); err != nil || one.story.last[r] == 0 { // the call ended before he came into it
				continue
			}
			if expected[u] == nil {
				expected[u] = map[uint64]record{}
			}
			expected[u][one.id] = one
		}
	}
	a := &audit{Calls: len(r.tally.finished), Users: len(expected)}
	slots := make(chan struct{}, auditAtOnce)
	var asking sync.WaitGroup
	for u, calls := range expected {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			if err := a.user(ctx, u, calls); err != nil {
				a.wrong("%s: %v", u.name, err)
			}
		})
	}
	asking.Wait()
	return a
}

// user reads a user's list until all his calls are found.
func (a *audit) user(ctx context.Context, u *user, calls map[uint64]record) error {
	from := uint64(0)
	for range auditPages {
		list, err := u.list(ctx, from)
		if err != nil {
			return err
		}
		for _, s := range list.GetCalls() {
			if one, ok := calls[s.GetCallId()]; ok {
				delete(calls, s.GetCallId())
				if err := one.agrees(s); err != nil {
					a.wrong("call %d in the list of %s: %v", s.GetCallId(), u.name, err)
				}
			}
		}
		if from = list.GetNextFlag(); from == 0 || len(calls) == 0 {
			break
		}
	}
	for id, one := range calls {
		a.wrong("call %d (%s) is not in the list of %s", id, one.story.name, u.name)
	}
	return nil
}

func (a *audit) wrong(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Wrong++; a.Wrong <= maxSamples {
		a.Reasons = append(a.Reasons, fmt.Sprintf(format, args...))
	}
}

// agrees compares what the server keeps of a call with its story's end.
func (one record) agrees(s *wire.CallSnapshot) error {
	var f fact
	if err := one.cast.snapshot(&f, s); err != nil {
		return err
	}
	want := fact{version: one.story.version, states: one.story.last, over: true, reason: one.story.reason}
	f.reason = s.GetEndReason()
	if f != want {
		return fmt.Errorf("v%d %v %v over %v, expected v%d %v %v over", f.version, f.states, f.reason, f.over, want.version, want.states, want.reason)
	}
	return nil
}

// list asks for a page of the user's calls; when that is too frequent, again.
func (u *user) list(ctx context.Context, from uint64) (*wire.CallList, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	for {
		r, err := u.page(ctx, from)
		if err != nil {
			return nil, err
		}
		if r.GetCode() == 0 {
			return r.GetList(), nil
		}
		err = fmt.Errorf("the list is refused: %d %s", r.GetCode(), r.GetMessage())
		if r.GetCode() != tooFrequent {
			return nil, err
		}
		if rest(ctx, max(auditPause, time.Duration(r.GetRetryAfterMs())*time.Millisecond)) != nil {
			return nil, err
		}
	}
}

func (u *user) page(ctx context.Context, from uint64) (*wire.Response, error) {
	answered := make(chan *wire.Response, 1)
	err := u.ask(&wire.ClientFrame{Body: &wire.ClientFrame_QueryCallInvitationList{
		QueryCallInvitationList: &wire.QueryCallInvitationList{Count: auditPage, NextFlag: from},
	}}, func(r *wire.Response) { answered <- r })
	if err != nil {
		return nil, err
	}
	select {
	case r := <-answered:
		return r, nil
	case <-u.conn.Context().Done():
		return nil, context.Cause(u.conn.Context())
	case <-ctx.Done():
		return nil, errors.New("no answer to queryCallInvitationList")
	}
}
