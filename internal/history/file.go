package history

import (
	"io"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/replay"
)

// file is a source on its way: what is read of it.
type file struct {
	source   *Source
	decoders []replay.Decoder
	size     int // how many lines are read at once

	content io.ReadCloser // decompressed
	cut     *replay.Lines
	number  int           // of lines so far
	last    engine.Millis // the time of the last line that has one
}

// read appends the next lines to l, whose memory it reuses. The error is io.EOF behind the
// last one.
func (f *file) read(l []Line) ([]Line, error) {
	if f.cut == nil {
		if err := f.open(); err != nil {
			return l, err
		}
	}
	for len(l) < f.size {
		text, length, err := f.cut.Next()
		if err != nil {
			_ = f.content.Close() // of a decompressor, which has nothing to say
			return l, err
		}
		if length == 0 {
			continue
		}
		f.number++
		l = f.more(l)
		f.decode(&l[len(l)-1], text, length)
	}
	return l, nil
}

func (f *file) open() (err error) {
	if f.content, err = replay.Decompressed(f.source.In); err != nil {
		return err
	}
	f.last = -engine.Never
	f.cut, err = replay.NewLines(f.content)
	return err
}

// more appends a line, with memory that a former one has left.
func (f *file) more(l []Line) []Line {
	if len(l) < cap(l) {
		l = l[:len(l)+1]
	} else {
		l = append(l, Line{})
	}
	line := &l[len(l)-1]
	if line.Read == nil {
		line.Read = make([]replay.Decoded, len(f.decoders))
	}
	line.Source, line.Number, line.Array = f.source, f.number, f.cut.Array
	return l
}

// decode makes a line of a text. One without an event comes right behind the one before it.
func (f *file) decode(line *Line, text []byte, length int) {
	at := engine.Never
	for i := range f.decoders {
		d := &line.Read[i]
		if len(text) == 0 {
			*d = replay.Decoded{Events: d.Events[:0], Refused: d.Refused[:0]}
			continue
		}
		f.decoders[i].Decode(text, length, f.number, d)
		if len(d.Events) > 0 {
			at = min(at, d.Events[0].At)
		}
	}
	if at != engine.Never {
		f.last = at
	}
	line.at = f.last
}
