package persistence

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"carillon/actors/call"
)

// knownUsers remembers users that are durably registered, so that a login costs no read. It has two halves: when the young
// one is full it becomes the old one, and who isn't asked for until the next change is forgotten.
type knownUsers struct {
	mu         sync.Mutex
	young, old map[call.UserID]struct{}
}

func (k *knownUsers) has(u call.UserID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.young[u]; ok {
		return true
	}
	if _, ok := k.old[u]; !ok {
		return false
	}
	k.keep(u)
	return true
}

func (k *knownUsers) add(u call.UserID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keep(u)
}

func (k *knownUsers) keep(u call.UserID) {
	if len(k.young) >= maxKnownUsers/2 {
		k.old, k.young = k.young, nil
	}
	if k.young == nil {
		k.young = make(map[call.UserID]struct{})
	}
	k.young[u] = struct{}{}
}

// users is who is registered.
type users struct {
	front  *front
	known  knownUsers
	lookup func(ctx context.Context, users []call.UserID, known []bool) error // sets known for those who are
}

// Register makes the user known, durably; once more is cheap. Errors are Save's, or a user ID that is empty or too long
// (SPEC 5, users.registration).
func (u *users) Register(ctx context.Context, user call.UserID) error {
	known, err := u.Known(ctx, []call.UserID{user})
	if err != nil || known[0] {
		return err
	}
	if err := checkUser(user); err != nil {
		return err
	}
	e := u.front.entry(register)
	e.user = user
	if err := u.front.submit(ctx, e); err != nil {
		u.front.recycle(e)
		return err
	}
	if err := u.front.await(ctx, e); err != nil {
		return err
	}
	u.known.add(user)
	return nil
}

func checkUser(user call.UserID) error {
	if user == "" || len(user) > maxUserID {
		return fmt.Errorf("%w: a user ID has 1 to %d bytes, not %d", call.ErrUnavailable, maxUserID, len(user))
	}
	return nil
}

// Known reports of each user whether he is registered.
func (u *users) Known(ctx context.Context, users []call.UserID) ([]bool, error) {
	known := make([]bool, len(users))
	missing := false
	for i, user := range users {
		known[i] = u.known.has(user)
		missing = missing || !known[i]
	}
	if !missing {
		return known, u.front.err()
	}
	if err := u.lookup(ctx, users, known); err != nil {
		return nil, err
	}
	for i, user := range users {
		if known[i] {
			u.known.add(user)
		}
	}
	return known, nil
}

func (p *Pebble) lookupUsers(ctx context.Context, users []call.UserID, known []bool) error {
	return p.reading(ctx, 0, func() error {
		for i, u := range users {
			if known[i] {
				continue
			}
			_, err := p.get(userKey(nil, u))
			if err != nil && !errors.Is(err, call.ErrNotFound) {
				return err
			}
			known[i] = err == nil
		}
		return nil
	})
}
