package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// MaxBody is the longest body of a message, in bytes: a frame to a device (SPEC 4: 1 MiB) and room for what goes with it.
const MaxBody = 2 << 20

// maxParcel is where a parcel is closed, in bytes; one with a single frame may be longer.
const maxParcel = 1 << 20

// maxHops is how often a frame may be passed on before it meets somebody who thinks that he owns its shard. One is the rule;
// more are for views that change several times on its way.
const maxHops = 8

// class is to what a frame is addressed. Append only: a node drops and counts the classes that it does not know.
type class uint8

const (
	toShard   class = 1 // the owner of a shard
	toNode    class = 2 // the node itself
	toCluster class = 3 // the node's hand-off; the kind is ask or done
	question  class = 4 // the node's Answer; the body begins with a number
	reply     class = 5 // what it says; the body begins with the same number
)

// frame is one message on its way.
type frame struct {
	class class
	kind  uint8
	hops  uint8  // how often it was passed on
	shard uint16 // where class is toShard
	view  uint64 // version of the view that it was last routed by
	body  []byte

	until time.Time // while it waits here as an early one: for how long
}

// A parcel is what one node sends another at a time:
//
//	parcel = format(1 byte) length(sender) sender record*
//	record = length(head) head length(body) body
//	head   = class(1) kind(1) hops(1) shard(2) view(8) ...
//
// Lengths are varints, numbers big endian. A newer version may append to a head: what follows the known fields is skipped.
// A change that older nodes could not skip needs another format byte; they drop and count such parcels whole.
const (
	parcelFormat = 1
	headSize     = 13
	maxRecord    = headSize + MaxBody + 2*binary.MaxVarintLen32
)

var (
	errFormat = errors.New("cluster: parcel of an unknown format")
	errParcel = errors.New("cluster: malformed parcel")
)

// appendParcel begins a parcel.
func appendParcel(dst []byte, sender string) []byte {
	dst = append(dst, parcelFormat)
	dst = binary.AppendUvarint(dst, uint64(len(sender)))
	return append(dst, sender...)
}

// appendFrame adds a record to a parcel.
func appendFrame(dst []byte, f frame) []byte {
	dst = append(dst, headSize, byte(f.class), f.kind, f.hops)
	dst = binary.BigEndian.AppendUint16(dst, f.shard)
	dst = binary.BigEndian.AppendUint64(dst, f.view)
	dst = binary.AppendUvarint(dst, uint64(len(f.body)))
	return append(dst, f.body...)
}

// openParcel splits a parcel into its sender and its records.
func openParcel(b []byte) (sender string, records []byte, err error) {
	if len(b) == 0 || b[0] != parcelFormat {
		return "", nil, errFormat
	}
	name, records, err := cut(b[1:])
	return string(name), records, err
}

// nextFrame takes the first of the records. Its body is a part of b.
func nextFrame(b []byte) (f frame, rest []byte, err error) {
	head, rest, err := cut(b)
	if err != nil {
		return frame{}, nil, err
	}
	if len(head) < headSize {
		return frame{}, nil, fmt.Errorf("%w: head of %d bytes", errParcel, len(head))
	}
	body, rest, err := cut(rest)
	if err != nil {
		return frame{}, nil, err
	}
	if len(body) > MaxBody {
		return frame{}, nil, fmt.Errorf("%w: body of %d bytes", errParcel, len(body))
	}
	return frame{
		class: class(head[0]), kind: head[1], hops: head[2],
		shard: binary.BigEndian.Uint16(head[3:]), view: binary.BigEndian.Uint64(head[5:]), body: body,
	}, rest, nil
}

// cut takes a length and that many bytes from the front of b.
func cut(b []byte) (front, rest []byte, err error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, fmt.Errorf("%w: length beyond its end", errParcel)
	}
	end := n + int(size)
	return b[n:end:end], b[end:], nil
}

// The kinds of class toCluster. Append only.
const (
	kindAsk  uint8 = 1 // which shards do you still hold that are not yours under this version?
	kindDone uint8 = 2 // these, and no others
)

// notice is the body of such a frame: version, number, shards. The number of a done is that of the ask it answers, or 0.
type notice struct {
	version, number uint64
	shards          []uint16
}

func (n notice) encode() []byte {
	b := make([]byte, 0, 16+2*len(n.shards))
	b = binary.BigEndian.AppendUint64(b, n.version)
	b = binary.BigEndian.AppendUint64(b, n.number)
	for _, shard := range n.shards {
		b = binary.BigEndian.AppendUint16(b, shard)
	}
	return b
}

func decodeNotice(b []byte) (notice, error) {
	if len(b) < 16 || len(b)%2 != 0 {
		return notice{}, fmt.Errorf("%w: notice of %d bytes", errParcel, len(b))
	}
	n := notice{version: binary.BigEndian.Uint64(b), number: binary.BigEndian.Uint64(b[8:])}
	for b = b[16:]; len(b) > 0; b = b[2:] {
		shard := binary.BigEndian.Uint16(b)
		if shard >= Shards {
			return notice{}, fmt.Errorf("%w: shard %d", errParcel, shard)
		}
		n.shards = append(n.shards, shard)
	}
	return n, nil
}
