package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// framed is payload with its length prefix.
func framed(payload []byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(payload))), payload...)
}

// readAll cuts src into frames until it fails.
func readAll(src io.Reader, limit int) (frames [][]byte, err error) {
	r := NewReader(src, limit)
	for {
		b, err := r.Next()
		if err != nil {
			return frames, err
		}
		frames = append(frames, bytes.Clone(b))
	}
}

func TestReader(t *testing.T) {
	long := bytes.Repeat([]byte{'x'}, 1000)
	for _, tt := range []struct {
		name   string
		in     []byte
		frames []string
		err    error
	}{
		{"nothing", nil, nil, io.EOF},
		{"empty frame", []byte{0}, []string{""}, io.EOF},
		{"one", framed([]byte("abc")), []string{"abc"}, io.EOF},
		{"two", append(framed([]byte("abc")), framed([]byte("de"))...), []string{"abc", "de"}, io.EOF},
		{"at the limit", framed(long), []string{string(long)}, io.EOF},
		{"over the limit", framed(append(long, 'y')), nil, ErrFrameTooLong},
		{"good, then over the limit", append(framed([]byte("abc")), 0xff, 0xff, 0x7f), []string{"abc"}, ErrFrameTooLong},
		{"prefix that does not end", bytes.Repeat([]byte{0x80}, 5), nil, ErrFrameTooLong},
		{"prefix that overflows", bytes.Repeat([]byte{0xff}, 11), nil, ErrFrameTooLong},
		{"prefix longer than need be", append([]byte{0x83, 0x80, 0}, "abc"...), []string{"abc"}, io.EOF},
		{"ends in the prefix", []byte{0x83}, nil, io.ErrUnexpectedEOF},
		{"ends before the body", []byte{3}, nil, io.ErrUnexpectedEOF},
		{"ends in the body", []byte{3, 'a', 'b'}, nil, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, src := range map[string]io.Reader{
				"whole": bytes.NewReader(tt.in), "bytewise": iotest.OneByteReader(bytes.NewReader(tt.in)),
				"halves": iotest.HalfReader(bytes.NewReader(tt.in)), "error with data": iotest.DataErrReader(bytes.NewReader(tt.in)),
			} {
				frames, err := readAll(src, len(long))
				if got := strings.Join(stringsOf(frames), "|"); got != strings.Join(tt.frames, "|") || len(frames) != len(tt.frames) {
					t.Errorf("%s: frames %q, want %q", name, got, tt.frames)
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("%s: error %v, want %v", name, err, tt.err)
				}
			}
		})
	}
}

func stringsOf(frames [][]byte) (s []string) {
	for _, f := range frames {
		s = append(s, string(f))
	}
	return s
}

// TestReaderGivesTheSourceError says that an error of the source is not taken for the end.
func TestReaderGivesTheSourceError(t *testing.T) {
	cause := errors.New("connection lost")
	_, err := readAll(io.MultiReader(bytes.NewReader([]byte{9, 'a'}), iotest.ErrReader(cause)), 100)
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

// TestOversizedPrefixReservesNothing says that a length alone costs no memory, refused or not.
func TestOversizedPrefixReservesNothing(t *testing.T) {
	for _, size := range []uint64{MaxClientFrame, MaxClientFrame + 1, 1 << 31} {
		r := NewReader(bytes.NewReader(binary.AppendUvarint(nil, size)), MaxClientFrame)
		if _, err := r.Next(); err == nil {
			t.Fatalf("length %d: a frame out of nothing", size)
		}
		if len(r.buf) != readerBuffer {
			t.Errorf("length %d: buffer of %d bytes, want %d", size, len(r.buf), readerBuffer)
		}
	}
}

// TestReaderShrinks says that a long frame's buffer is given up once the stream is idle.
func TestReaderShrinks(t *testing.T) {
	in := append(framed(make([]byte, MaxClientFrame)), framed([]byte("abc"))...)
	r := NewReader(iotest.OneByteReader(bytes.NewReader(in)), MaxClientFrame)
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.buf) != readerBuffer {
		t.Errorf("buffer of %d bytes, want %d", len(r.buf), readerBuffer)
	}
}

func TestBuffered(t *testing.T) {
	r := NewReader(bytes.NewReader([]byte{1, 'a', 2, 'b'}), 100)
	if r.Buffered() {
		t.Error("something buffered before the first read")
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if !r.Buffered() {
		t.Error("half a frame has come, but nothing is buffered")
	}
}

// TestFramesSurvive is the codec's one promise: what is appended comes out again, however the bytes arrive.
func TestFramesSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paddings := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 3000), 0, 20).Draw(t, "paddings")
		var stream []byte
		for i, p := range paddings {
			var err error
			stream, err = AppendFrame(stream, &ClientFrame{
				RequestId: uint64(i), Body: &ClientFrame_Heartbeat{Heartbeat: &Heartbeat{Padding: p}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		frames, err := readAll(&pieces{data: stream, size: rapid.IntRange(1, 2000).Draw(t, "piece")}, MaxClientFrame)
		if !errors.Is(err, io.EOF) || len(frames) != len(paddings) {
			t.Fatalf("%d frames and %v, want %d and EOF", len(frames), err, len(paddings))
		}
		for i, b := range frames {
			var f ClientFrame
			if err := proto.Unmarshal(b, &f); err != nil {
				t.Fatal(err)
			}
			if f.RequestId != uint64(i) || !bytes.Equal(f.GetHeartbeat().GetPadding(), paddings[i]) {
				t.Fatalf("frame %d is %v", i, &f)
			}
		}
	})
}

// pieces gives its data at most size bytes at a time.
type pieces struct {
	data []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.size, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

func TestAppendFrameRefusesBadUTF8(t *testing.T) {
	if _, err := AppendFrame(nil, &RenewToken{Token: "\xff"}); err == nil {
		t.Error("a string that is not UTF-8 was encoded")
	}
}

// FuzzReader compares the Reader, fed in pieces, with the obvious way to cut a whole byte string into frames.
func FuzzReader(f *testing.F) {
	f.Add([]byte{}, uint8(1))
	f.Add([]byte{0}, uint8(1))
	f.Add(framed([]byte("abc")), uint8(2))
	f.Add(append(framed(make([]byte, 300)), 0xff, 0xff, 0xff, 0xff, 0x0f), uint8(7))
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x00, 1, 'a'}, uint8(255))
	const limit = 400
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		got, err := readAll(&pieces{data: data, size: int(size) + 1}, limit)
		want, wantErr := cut(data, limit)
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("frame %d is %x, want %x", i, got[i], want[i])
			}
		}
		if !errors.Is(err, wantErr) {
			t.Fatalf("error %v, want %v", err, wantErr)
		}
	})
}

func cut(data []byte, limit int) (frames [][]byte, err error) {
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		switch {
		case n < 0 || n > 5 || (n == 0 && len(data) >= 5) || (n > 0 && size > uint64(limit)):
			return frames, ErrFrameTooLong
		case n == 0 || uint64(len(data)-n) < size:
			return frames, io.ErrUnexpectedEOF
		}
		frames = append(frames, data[n:n+int(size)])
		data = data[n+int(size):]
	}
	return frames, io.EOF
}
