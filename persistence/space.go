package persistence

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskSpace asks the file system under dir what is free.
func diskSpace(fs vfs.FS, dir string) func() (uint64, error) {
	return func() (uint64, error) {
		usage, err := fs.GetDiskUsage(dir)
		return usage.AvailBytes, err
	}
}

// room is what the free space still allows.
type room uint8

const (
	roomForAll     room = iota
	roomForUpdates      // creations and registrations are refused: calls that exist can still go on and end
	roomForNothing      // only deletions
)

// space watches the free space, asking at most once per spaceInterval, so that writes are refused while refusing is still
// possible: a log that meets a full disk ends the store.
type space struct {
	least  uint64 // bytes for roomForAll; a quarter of it for roomForUpdates
	free   func() (uint64, error)
	now    func() time.Time
	logger *slog.Logger

	mu    sync.Mutex
	asked time.Time
	last  uint64
	room  room
	blind bool // the file system doesn't say what is free
}

// left is the room there is, at most spaceInterval old, and the free bytes it was found with.
func (s *space) left() (room, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if since := now.Sub(s.asked); !s.asked.IsZero() && since >= 0 && since < spaceInterval {
		return s.room, s.last
	}
	s.asked = now
	free, err := s.free()
	if err != nil {
		if !s.blind {
			s.logger.Warn("free disk space is not known; writes are not refused before the disk is full", "error", err)
		}
		s.blind, s.room = true, roomForAll
		return s.room, 0
	}
	was := s.room
	s.blind, s.last, s.room = false, free, roomForAll
	switch {
	case free < s.least/4:
		s.room = roomForNothing
	case free < s.least:
		s.room = roomForUpdates
	}
	if s.room != was {
		s.logger.Warn("free disk space", "free_bytes", free, "min_bytes", s.least, "creations", s.room == roomForAll, "updates", s.room != roomForNothing)
	}
	return s.room, free
}

// err is nil when there is room for everything.
func (s *space) err() error {
	r, free := s.left()
	switch r {
	case roomForUpdates:
		return fmt.Errorf("disk nearly full: %d bytes free, below %d no call is created", free, s.least)
	case roomForNothing:
		return fmt.Errorf("disk full: %d bytes free, below %d nothing is written", free, s.least/4)
	}
	return nil
}
