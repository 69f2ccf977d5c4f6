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
	// Progress is called after every line.
	Progress func(c Counts)
}

// Counts says what became of the lines.
type Counts struct {
	Lines      int
	Bad        int
	Duplicates int
	Skipped    int // later than Until
}

// Run reads lines to the end of in and turns the clock. Only reading fails; bad
// lines are reported and counted.
func (f *File) Run(in io.Reader) (Counts, error) {
	var c Counts
	var ev engine.Event
	r := bufio.NewReaderSize(in, 1<<16)
	for {
		line, err := readLine(r)
		if len(bytes.TrimSpace(line)) > 0 {
			c.Lines++
			f.line(&c, bytes.TrimSpace(line), &ev)
			f.Progress(c)
		} else if err == nil {
			c.Lines++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, err
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

func (f *File) line(c *Counts, line []byte, ev *engine.Event) {
	_, err := f.Reader.ReadJSONLine(line, ev)
	if err == nil && ev.At > f.Latest {
		err = fmt.Errorf("occurred_at %s is in the future: give --now if the file is", ev.At)
	}
	switch {
	case err != nil:
		c.Bad++
		f.Bad(c.Lines, err)
	case ev.At > f.Until:
		c.Skipped++
	case !f.Runner.Feed(ev):
		c.Duplicates++
	}
}

// maxLine bounds the memory that one line takes; what is longer is read to its
// end and reported by the reader as too long.
const maxLine = 4 << 20

// readLine returns the next line; of one longer than maxLine only the start.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line) < maxLine {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
