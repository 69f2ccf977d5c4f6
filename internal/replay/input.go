package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstd bounds the memory that a zstd stream may ask for, in bytes: what its command
// line tool needs at its highest usual level, and more.
const maxZstd = 128 << 20

// Decompressed returns a reader of what in holds: itself, or what was compressed with gzip
// or zstd, which its first bytes tell. Close it.
func Decompressed(in io.Reader) (io.ReadCloser, error) {
	r := bufio.NewReaderSize(in, 1<<16)
	magic, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return z, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstd), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// isArray reports whether what comes is a JSON array of events, and takes its bracket.
func isArray(r *bufio.Reader) (bool, error) {
	if mark, err := r.Peek(len(byteOrderMark)); err == nil && bytes.Equal(mark, byteOrderMark) {
		if next, err := r.Peek(len(byteOrderMark) + 1); err == nil && next[len(byteOrderMark)] == '[' {
			_, err := r.Discard(len(next))
			return true, err
		}
		return false, nil
	}
	for i := 1; i <= r.Size(); i++ {
		b, err := r.Peek(i)
		if len(b) < i {
			if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
				return false, nil
			}
			return false, err
		}
		switch b[i-1] {
		case ' ', '\t', '\r', '\n':
		case '[':
			_, err := r.Discard(i)
			return true, err
		default:
			return false, nil
		}
	}
	return false, nil
}

// elements cuts the elements of a JSON array apart. Whether each is JSON is for the
// reader of events to say.
type elements struct {
	r    *bufio.Reader
	room []byte // of the element
	done bool
}

// errUnended is the error of an array without an end.
var errUnended = errors.New("the array does not end: the file is cut off")

// next returns the next element with its length; of one that is longer than maxLine, the
// start only. It returns io.EOF behind the last one.
func (e *elements) next() (element []byte, length int, err error) {
	if e.done {
		return nil, 0, io.EOF
	}
	element = e.room[:0]
	defer func() { e.room = element }()
	depth, quoted, escaped := 0, false, false
	for {
		b, err := e.r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return nil, 0, errUnended
		case err != nil:
			return nil, 0, err
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = b == '\\', b != '"'
		case b == '"':
			quoted = true
		case b == '{' || b == '[':
			depth++
		case depth == 0 && (b == ',' || b == ']'):
			e.done = b == ']'
			return element, length, nil
		case b == '}' || b == ']':
			depth = max(0, depth-1) // of what is no JSON, the reader says so
		}
		if length++; len(element) <= maxLine {
			element = append(element, b)
		}
	}
}
