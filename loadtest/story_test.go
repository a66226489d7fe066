package main

import (
	"strings"
	"testing"
	"time"
)

// The stories as scripts: SEQUENCES.md is what they are read against.
func TestStories(t *testing.T) {
	var all strings.Builder
	for _, s := range stories {
		all.WriteString(s.String())
		all.WriteString("  at the end: " + s.last.String() + " " + short(s.reason.String(), "REASON_") + "\n\n")
	}
	golden(t, "stories.golden", all.String())
}

func TestStoriesLast(t *testing.T) {
	for name, want := range map[string]time.Duration{
		"answered": usual.ring, "cancelled": usual.ring, "timed-out": usual.timeout, "group": 2*usual.ring + 5*usual.talk,
		"late": 2*usual.ring + usual.talk, "too-late": usual.timeout + usual.ring + usual.talk, "answered-elsewhere": usual.ring + usual.talk,
		"switched": 3*usual.ring + 4*usual.talk,
	} {
		if got := storyNamed(name).lasts(usual); got != want {
			t.Errorf("%s lasts %v, want %v", name, got, want)
		}
	}
}

func TestStoryNamed(t *testing.T) {
	for _, s := range stories {
		if storyNamed(s.name) != s {
			t.Errorf("%s is not found", s.name)
		}
	}
	if storyNamed("none") != nil {
		t.Error("there is no such story")
	}
}
