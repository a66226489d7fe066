package persistence

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"carillon/actors/call"
)

const (
	// formatVersion numbers the keys and what they lead to; recordVersion numbers the records in them.
	formatVersion = 2

	// pebbleFormat is pinned: raising it is a one-way step, to be taken in a release of its own.
	pebbleFormat = pebble.FormatTableFormatV6
)

// migration brings a store from one format to the next. It must be safe to run again after a crash in its midst.
type migration func(*pebble.DB) error

// migrations holds the step from each older format.
var migrations = map[uint64]migration{
	1: func(db *pebble.DB) error { // had the calls that are live for a user on the disk, too
		return db.DeleteRange([]byte{'p'}, []byte{'p' + 1}, pebble.Sync)
	},
}

// settle brings the store to format version to, or says why it can't. A store without any key is new.
func settle(db *pebble.DB, to uint64, steps map[uint64]migration) error {
	v, err := readFormat(db)
	if err != nil {
		return err
	}
	if v == 0 {
		return writeFormat(db, to)
	}
	if v > to {
		return fmt.Errorf("it has format %d, this carillon reads up to %d: %w", v, to, call.ErrNewer)
	}
	for ; v < to; v++ {
		step := steps[v]
		if step == nil {
			return fmt.Errorf("it has format %d, which this carillon can't bring to %d", v, to)
		}
		if err := step(db); err != nil {
			return fmt.Errorf("migration from format %d: %w", v, err)
		}
		if err := writeFormat(db, v+1); err != nil {
			return err
		}
	}
	return nil
}

var formatKey = []byte{keyMeta, 'f', 'o', 'r', 'm', 'a', 't'}

// readFormat gives zero for an empty store.
func readFormat(db *pebble.DB) (uint64, error) {
	b, closer, err := db.Get(formatKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, mustBeEmpty(db)
	}
	if err != nil {
		return 0, err
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || v == 0 {
		return 0, errors.Join(errors.New("its format version can't be read"), closer.Close())
	}
	return v, closer.Close()
}

func writeFormat(db *pebble.DB, v uint64) error {
	return db.Set(formatKey, binary.AppendUvarint(nil, v), pebble.Sync)
}

func mustBeEmpty(db *pebble.DB) error {
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.First() {
		err = errors.New("it holds something that carillon didn't write")
	}
	return errors.Join(err, it.Close())
}
