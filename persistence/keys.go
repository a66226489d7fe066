package persistence

import (
	"encoding/binary"

	"carillon/actors/call"
)

// The first byte of a key says what it leads to. Numbers are big-endian, so keys sort by them; instants and IDs in a user's
// lists are inverted, so the newest comes first.
//
//	m name                          the format (format.go)
//	o id                            record of an open call
//	c id                            record of a closed call
//	u len user ^created ^id         a call in the user's list
//	r closed id                     a closed call, by the instant of its closing (Unix ms), for retention
//	n user                          a registered user
const (
	keyMeta      byte = 'm'
	keyOpen      byte = 'o'
	keyClosed    byte = 'c'
	keyList      byte = 'u'
	keyRetention byte = 'r'
	keyUser      byte = 'n'
)

func recordKey(b []byte, p place, id call.ID) []byte {
	kind := keyOpen
	if p == apart {
		kind = keyClosed
	}
	return binary.BigEndian.AppendUint64(append(b, kind), uint64(id))
}

// idOf is the ID at the end of a record's or a retention row's key.
func idOf(key []byte) call.ID { return call.ID(binary.BigEndian.Uint64(key[len(key)-8:])) }

func rowPrefix(b []byte, user call.UserID) []byte {
	b = append(b, keyList, byte(len(user)))
	return append(b, user...)
}

func rowKey(b []byte, user call.UserID, created call.Millis, id call.ID) []byte {
	b = rowPrefix(b, user)
	b = binary.BigEndian.AppendUint64(b, ^ordered(created))
	return binary.BigEndian.AppendUint64(b, ^uint64(id))
}

// rowOf reads the end of a row's key.
func rowOf(key []byte) (call.Millis, call.ID) {
	tail := key[len(key)-16:]
	return unordered(^binary.BigEndian.Uint64(tail)), call.ID(^binary.BigEndian.Uint64(tail[8:]))
}

func retentionKey(b []byte, closed call.Millis, id call.ID) []byte {
	b = binary.BigEndian.AppendUint64(append(b, keyRetention), ordered(closed))
	return binary.BigEndian.AppendUint64(b, uint64(id))
}

func userKey(b []byte, user call.UserID) []byte {
	return append(append(b, keyUser), user...)
}

// ordered maps an instant, negative ones too, to a number that sorts as it does.
func ordered(m call.Millis) uint64   { return uint64(m) ^ 1<<63 }
func unordered(v uint64) call.Millis { return call.Millis(v ^ 1<<63) }

// behind is the least key that sorts behind all keys with this prefix. The prefixes here never end in 0xff alone.
func behind(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
