package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// File replays JSON lines.
type File struct {
	Runner *Runner
	Reader *schemas.Reader
	// Until skips later events, and is what the clock is turned to at the end.
	// Never: the clock is turned to the greatest event time.
	Until engine.Millis
	// Latest is the greatest event time that is believed: the wall clock and
	// max_future_skew. Later events are bad lines.
	Latest engine.Millis
	// Bad is called with every bad line; lines count from 1.
	Bad func(line int, err error)
	// Progress is called after every line; nil if nobody looks.
	Progress func(c Counts)
}

// Counts says what became of the lines.
type Counts struct {
	Lines      int // with empty ones, which mean nothing
	Bad        int
	Duplicates int
	Skipped    int // later than Until
	NoEvents   int // messages of a type that is no event
}

// Run reads lines to the end of in and turns the clock. Only reading fails; bad
// lines are reported and counted.
func (f *File) Run(in io.Reader) (Counts, error) {
	var c Counts
	var ev engine.Event
	r := bufio.NewReaderSize(in, 1<<16)
	for {
		line, length, err := readLine(r)
		if err != nil && !errors.Is(err, io.EOF) {
			return c, err
		}
		if length > 0 {
			c.Lines++
			f.line(&c, line, length, &ev)
		}
		if f.Progress != nil {
			f.Progress(c)
		}
		if err != nil {
			break
		}
	}
	to := f.Until
	if latest, ok := f.Runner.Latest(); ok && to == engine.Never {
		to = latest
	}
	if to != engine.Never {
		f.Runner.Turn(to)
	}
	return c, nil
}

// byteOrderMark is what some editors put before the first line.
var byteOrderMark = []byte("\xef\xbb\xbf")

func (f *File) line(c *Counts, line []byte, length int, ev *engine.Event) {
	if c.Lines == 1 {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return
	}
	what, err := f.read(line, length, ev)
	switch {
	case err != nil:
		c.Bad++
		f.Bad(c.Lines, err)
	case what == schemas.IsSkipped:
		c.NoEvents++
	case ev.At > f.Until:
		c.Skipped++
	case !f.Runner.Feed(ev):
		c.Duplicates++
	}
}

// read makes an event of a line.
func (f *File) read(line []byte, length int, ev *engine.Event) (schemas.Result, error) {
	switch {
	case length > maxLine+len("\r\n"):
		return 0, fmt.Errorf("%d bytes long, more than %d", length, maxLine)
	case string(line) == "null":
		return 0, errors.New("a replay has no erasures: a tombstone needs a Kafka timestamp and key")
	}
	what, err := f.Reader.ReadJSONLine(line, ev)
	if err != nil || what == schemas.IsSkipped {
		return what, err
	}
	if ev.At > f.Latest {
		return 0, fmt.Errorf("occurred_at %s is after %s, the latest accepted: use --now if the file is from the future", ev.At, f.Latest)
	}
	return what, nil
}

// maxLine is the longest line that is read, in bytes: what the reader takes of a
// record.
const maxLine = 1 << 20

// readLine returns the next line with its length. Of a line longer than maxLine
// it returns the start only, so that it takes no memory.
func readLine(r *bufio.Reader) (line []byte, length int, err error) {
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
