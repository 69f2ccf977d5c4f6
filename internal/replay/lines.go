package replay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Lines are the lines of a file, or the elements of the JSON array that it is.
type Lines struct {
	Array bool // they are elements of an array

	next  func() (line []byte, length int, err error)
	begun bool
	ended bool
}

// NewLines returns the lines of what in holds.
func NewLines(in io.Reader) (*Lines, error) {
	r := bufio.NewReaderSize(in, 1<<16)
	array, err := isArray(r)
	var room []byte
	l := &Lines{Array: array, next: func() (line []byte, length int, err error) {
		room, length, err = readLine(r, room[:0])
		return room, length, err
	}}
	if array {
		l.next = (&elements{r: r}).next
	}
	return l, err
}

// Next returns the next line without white space around it, and its length as it is in
// the file. An empty line means nothing. Of a line longer than a reader takes it returns
// the start only. The line is valid until the next call. It returns io.EOF behind the last
// one; other errors are those of reading.
func (l *Lines) Next() (line []byte, length int, err error) {
	if l.ended {
		return nil, 0, io.EOF
	}
	line, length, err = l.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	if l.ended = err != nil; l.ended && length == 0 {
		return nil, 0, io.EOF
	}
	if !l.begun {
		l.begun = true
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	return bytes.TrimSpace(line), length, nil
}

// byteOrderMark is what some editors put before the first line.
var byteOrderMark = []byte("\xef\xbb\xbf")

// maxLine is the longest line that is read, in bytes: what the reader takes of a
// record.
const maxLine = 1 << 20

// readLine appends the next line to one that is empty, and returns it with its length. Of a
// line longer than maxLine it returns the start only, so that it takes no memory.
func readLine(r *bufio.Reader, line []byte) (_ []byte, length int, err error) {
	for {
		part, err := r.ReadSlice('\n')
		length += len(part)
		if len(line) < maxLine {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, length, err
		}
	}
}
