package replay

import (
	"errors"
	"fmt"
	"io"

	"github.com/segmill/segmill/engine"
)

// File replays JSON lines, or the elements of a JSON array.
type File struct {
	Decoder
	Runner *Runner
	// Until skips later events, and is what the clock is turned to at the end.
	// Never: the clock is turned to the greatest event time.
	Until engine.Millis
	// Latest is the greatest event time that is believed: the wall clock and
	// max_future_skew. Later events are bad lines.
	Latest engine.Millis
	// Bad is called with every bad line; lines count from 1, and so do the elements of
	// an array.
	Bad func(line int, err error)
	// Progress is called after every line; nil if nobody looks.
	Progress func(c Counts)
}

// Counts says what became of the lines. Of a line that is a batch of messages, each is
// counted by itself.
type Counts struct {
	Array      bool // the lines are elements of an array
	Lines      int  // with empty ones, which mean nothing
	Bad        int
	Duplicates int
	Skipped    int // later than Until
	NoEvents   int // messages of a type that is no event
}

// Run reads to the end of in and turns the clock. Only reading fails; bad lines are
// reported and counted.
func (f *File) Run(in io.Reader) (Counts, error) {
	lines, err := NewLines(in)
	c := Counts{Array: lines.Array}
	if err != nil {
		return c, err
	}
	var d Decoded
	for {
		line, length, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, err
		}
		if length > 0 {
			c.Lines++
		}
		if len(line) > 0 {
			f.Decode(line, length, c.Lines, &d)
			f.take(&c, &d)
		}
		if f.Progress != nil {
			f.Progress(c)
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

// take takes what a line is.
func (f *File) take(c *Counts, d *Decoded) {
	c.NoEvents += d.NoEvents
	for i := range d.Events {
		f.event(c, &d.Events[i])
	}
	for _, err := range d.Refused {
		f.bad(c, err)
	}
}

func (f *File) bad(c *Counts, err error) {
	c.Bad++
	f.Bad(c.Lines, err)
}

// event takes an event.
func (f *File) event(c *Counts, ev *engine.Event) {
	switch {
	case ev.At > f.Latest:
		f.bad(c, TooLate(ev, f.Latest))
	case ev.At > f.Until:
		c.Skipped++
	case !f.Runner.Feed(ev):
		c.Duplicates++
	}
}

// TooLate is the error of an event that is later than the latest that is believed.
func TooLate(ev *engine.Event, latest engine.Millis) error {
	return fmt.Errorf("occurred_at %s is after %s, the latest accepted: use --now if the file is from the future", ev.At, latest)
}
