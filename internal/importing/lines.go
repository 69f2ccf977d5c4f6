package importing

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/segmill/segmill/internal/replay"
)

// chunkBytes is how much text a chunk has at least, but for the last one of a file. The ID of
// an import depends on it: if it is changed, one that is half done can't be continued.
const chunkBytes = 256 << 10

// chunk are some lines of a file.
type chunk struct {
	number uint64 // from 0, over all files
	file   *File
	source uint16 // the number of the topic
	place  int32  // what stands for the partition of a record
	text   []byte
	lines  []cut
}

// cut is a line of a chunk.
type cut struct {
	end    int // in the text
	length int // in the file, with what is around it
	number int
}

// cutter cuts files into chunks, one file after the other.
type cutter struct {
	files  []File
	topics []string
	empty  chan *chunk // memory for more
	full   chan *chunk
	number uint64
}

// run cuts all files, and closes full behind them.
func (c *cutter) run(ctx context.Context) error {
	defer close(c.full)
	for i := range c.files {
		if err := c.file(ctx, &c.files[i]); err != nil {
			return fmt.Errorf("%s: %w", c.files[i].Name, err)
		}
	}
	return nil
}

func (c *cutter) file(ctx context.Context, f *File) error {
	content, err := replay.Decompressed(f.In)
	if err != nil {
		return err
	}
	defer content.Close()
	in := bufio.NewReaderSize(content, startBytes)
	place, err := placeOf(in)
	if err != nil {
		return err
	}
	lines, err := replay.NewLines(in)
	if err != nil {
		return err
	}
	number := 0
	for ended := false; !ended; {
		var ch *chunk
		select {
		case ch = <-c.empty:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		*ch = chunk{number: c.number, file: f, source: c.source(f.Topic), place: place, text: ch.text[:0], lines: ch.lines[:0]}
		c.number++
		for len(ch.text) < chunkBytes {
			line, length, err := lines.Next()
			if errors.Is(err, io.EOF) {
				ended = true
				break
			}
			if err != nil {
				return err
			}
			if length > 0 {
				number++
			}
			if len(line) > 0 {
				ch.text = append(ch.text, line...)
				ch.lines = append(ch.lines, cut{len(ch.text), length, number})
			}
		}
		select {
		case c.full <- ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// source returns the number of a topic.
func (c *cutter) source(topic string) uint16 {
	for i, name := range c.topics {
		if name == topic {
			return uint16(i)
		}
	}
	panic("importing: a file of topic " + topic + ", which is not among those of the files")
}

// startBytes is how much of the start of a file tells it from others.
const startBytes = 64 << 10

// placeOf returns what stands for the partition of a record in ids that a mapping makes of a
// record's place: it is the same whenever the file is imported, another one for another file,
// and below zero, as no partition of Kafka is.
func placeOf(in *bufio.Reader) (int32, error) {
	start, err := in.Peek(startBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	h := fnv.New32a()
	_, _ = h.Write(start) // it has no errors
	return -1 - int32(h.Sum32()>>1), nil
}
