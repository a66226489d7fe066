package persistence

import (
	"encoding/binary"
	"errors"

	"carillon/actors/call"
)

// maxList is how many entries one list of a record may have.
const maxList = 1024

var (
	errCut    = errors.New("it ends too early")
	errNumber = errors.New("a number is out of range")
	errLong   = errors.New("a list or a text is too long")
	errExtra  = errors.New("it has a field that its version doesn't know")
)

// coder walks the fields of a record, writing them or reading them: one description of a struct (record.go) serves both, so
// the two directions can't drift apart.
//
// A struct is a mask of four bytes and the fields that aren't zero, in the order of the description.
type coder struct {
	out     []byte // what is written so far
	in      []byte // what is read
	text    string // in again, for the texts to share
	at      int    // position in in
	reading bool
	base    call.Millis // instants are written relative to it
	mask    uint32      // of the struct under way
	bit     uint32      // of its next field; zero after the 32nd
	err     error
}

// frame is the struct around the one under way.
type frame struct {
	mask, bit uint32
	start     int
}

func (c *coder) open() frame {
	f := frame{c.mask, c.bit, len(c.out)}
	c.mask, c.bit = 0, 1
	switch {
	case !c.reading:
		c.out = append(c.out, 0, 0, 0, 0)
	case len(c.in)-c.at < 4:
		c.fail(errCut)
	default:
		c.mask = binary.LittleEndian.Uint32(c.in[c.at:])
		c.at += 4
	}
	return f
}

func (c *coder) close(f frame) {
	if !c.reading {
		binary.LittleEndian.PutUint32(c.out[f.start:], c.mask)
	} else if c.bit != 0 && c.mask >= c.bit {
		c.fail(errExtra)
	}
	c.mask, c.bit = f.mask, f.bit
}

// fail keeps the first error; after it nothing is read.
func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.at, c.mask = len(c.in), 0
}

// field reports whether the next field is there: when writing because it isn't zero, when reading because the mask says so.
func (c *coder) field(filled bool) bool {
	b := c.bit
	c.bit <<= 1
	if c.reading {
		return c.mask&b != 0
	}
	if filled {
		c.mask |= b
	}
	return filled
}

func (c *coder) uvarint() uint64 {
	v, n := binary.Uvarint(c.in[c.at:])
	if n <= 0 {
		c.fail(errNumber)
		return 0
	}
	c.at += n
	return v
}

func number[T ~uint8 | ~uint32 | ~uint64](c *coder, p *T) {
	if !c.field(*p != 0) {
		return
	}
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, uint64(*p))
		return
	}
	v := c.uvarint()
	if uint64(T(v)) != v {
		c.fail(errNumber)
		return
	}
	*p = T(v)
}

func signed[T ~int | ~int64](c *coder, p *T) {
	if !c.field(*p != 0) {
		return
	}
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, zigzag(int64(*p)))
		return
	}
	*p = T(unzigzag(c.uvarint()))
}

// instant is written as the distance to base, which is two or three bytes in place of six.
func instant(c *coder, p *call.Millis) {
	if !c.field(*p != 0) {
		return
	}
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, zigzag(int64(*p-c.base)))
		return
	}
	*p = call.Millis(unzigzag(c.uvarint())) + c.base
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// flag is a bit of the mask and nothing else.
func flag(c *coder, p *bool) {
	if c.field(*p) {
		*p = true
	}
}

func text[T ~string](c *coder, p *T) {
	if !c.field(*p != "") {
		return
	}
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, uint64(len(*p)))
		c.out = append(c.out, *p...)
		return
	}
	n := c.uvarint()
	if n > uint64(len(c.in)-c.at) {
		c.fail(errCut)
		return
	}
	*p = T(c.text[c.at : c.at+int(n)])
	c.at += int(n)
}

func command(c *coder, p *call.CommandID) {
	if !c.field(*p != call.CommandID{}) {
		return
	}
	if !c.reading {
		c.out = append(c.out, p[:]...)
		return
	}
	if len(c.in)-c.at < len(p) {
		c.fail(errCut)
		return
	}
	c.at += copy(p[:], c.in[c.at:])
}

// many writes or reads the entries by each; every entry takes at least the four bytes of its mask.
func many[T any](c *coder, p *[]T, each func(*coder, *T)) {
	if !c.field(len(*p) != 0) {
		return
	}
	if !c.reading {
		if len(*p) > maxList {
			c.fail(errLong)
			return
		}
		c.out = binary.AppendUvarint(c.out, uint64(len(*p)))
	} else {
		n := c.uvarint()
		if n > maxList {
			c.fail(errLong)
			return
		}
		if n > uint64(len(c.in)-c.at)/4 {
			c.fail(errCut)
			return
		}
		*p = make([]T, n)
	}
	for i := range *p {
		each(c, &(*p)[i])
	}
}
