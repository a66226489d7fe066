package persistence

import (
	"cmp"
	"slices"

	"carillon/actors/call"
)

// lists is the calls of each user who has any, oldest first.
type lists map[call.UserID][]line

// line is one call in a user's list, which is sorted by it.
type line struct {
	created call.Millis
	id      call.ID
}

func (l line) compare(o line) int {
	return cmp.Or(cmp.Compare(l.created, o.created), cmp.Compare(l.id, o.id))
}

// set adds or removes a call; once more changes nothing.
func (ls lists) set(user call.UserID, l line, remove bool) {
	lines := ls[user]
	i, found := slices.BinarySearchFunc(lines, l, line.compare)
	switch {
	case remove && found:
		lines = slices.Delete(lines, i, i+1)
	case !remove && !found:
		lines = slices.Insert(lines, i, l)
	}
	if len(lines) == 0 {
		delete(ls, user)
		return
	}
	ls[user] = lines
}

// newest gives the user's calls, newest first, at most limit of them.
func (ls lists) newest(user call.UserID, limit int) (ids []call.ID) {
	lines := ls[user]
	for i := len(lines) - 1; i >= 0 && len(ids) < limit; i-- {
		ids = append(ids, lines[i].id)
	}
	return ids
}
