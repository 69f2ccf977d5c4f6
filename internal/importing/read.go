package importing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/schemas"
)

// Causes beside those of readers: what is dated in the future; lines that are too long, or
// erasures, which no reader has seen; and lines of another stream than that of the topic.
const (
	causeFuture = "future"
	causeLine   = "line"
	causeStream = "stream"
)

// outcome is what became of a chunk.
type outcome struct {
	chunk    uint64
	lines    int64
	events   int64
	noEvents int64
	refused  []Refused
	sum      [sha256.Size]byte // of the events
}

// worker makes events of chunks, and sorts them into runs.
type worker struct {
	opt    *Options
	topics []string
	forms  *forms
	run    run
	route  broker.Router
	counts map[Kind]imports.Range
	read   replay.Decoded
	sum    hash.Hash // of the chunk's events
}

// work takes chunks until there are no more, and writes the last run.
func (w *worker) work(ctx context.Context, c *cutter, out chan<- outcome) error {
	for ch := range c.full {
		o, err := w.chunk(ch)
		if err != nil {
			return err
		}
		c.empty <- ch
		select {
		case out <- o:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return w.run.write()
}

// chunk takes the lines of a chunk.
func (w *worker) chunk(ch *chunk) (outcome, error) {
	o := outcome{chunk: ch.number, lines: int64(len(ch.lines))}
	d := replay.Decoder{Reader: w.opt.Reader, Topic: ch.file.Topic, File: ch.place}
	w.sum.Reset()
	from := 0
	for _, l := range ch.lines {
		line := ch.text[from:l.end]
		from = l.end
		d.Decode(line, l.length, l.number, &w.read)
		o.noEvents += int64(w.read.NoEvents)
		refused, good := len(o.refused), 0
		refuse := func(cause, reason string) {
			o.refused = append(o.refused, Refused{File: ch.file.Name, Line: l.number, Cause: cause, Reason: reason, Text: string(line)})
		}
		for i := range w.read.Events {
			ev := &w.read.Events[i]
			var text *schemas.MappedText
			if w.read.Texts != nil {
				text = &w.read.Texts[i]
			}
			if cause, reason := w.doubt(ev, line, text); cause != "" {
				refuse(cause, reason)
				continue
			}
			if err := w.take(ch, ev, line, text, uint64(o.events)); err != nil {
				return o, err
			}
			o.events++
			good++
		}
		for _, err := range w.read.Refused {
			cause := string(schemas.CauseOf(err))
			if cause == "" {
				cause = causeLine
			}
			refuse(cause, err.Error())
		}
		for i := refused; i < len(o.refused); i++ {
			o.refused[i].Imported = good
		}
	}
	w.sum.Sum(o.sum[:0])
	return o, nil
}

// maxText is how long the text of an event may be: readers take no more of a record.
const maxText = 1 << 20

// doubt returns why an event that can be read is not imported. text is what a mapping has made
// of the line, nil if the line itself is the event.
func (w *worker) doubt(ev *engine.Event, line []byte, text *schemas.MappedText) (cause, reason string) {
	if ev.At > w.opt.Latest {
		return causeFuture, fmt.Sprintf("the event is dated %s, which is after %s, the latest accepted: a history has no future", ev.At, w.opt.Latest)
	}
	if text != nil && len(text.JSON) > maxText {
		return string(schemas.CauseSize), fmt.Sprintf("the mapping %s makes an event of %d bytes of it, more than %d", text.Mapping, len(text.JSON), maxText)
	}
	if text != nil || !bytes.Contains(line, streamMember) {
		return "", ""
	}
	own := w.opt.Streams.Name(ev.Stream)
	if named := replay.StreamOf(line); named != "" && named != own {
		return causeStream, fmt.Sprintf("the line says that it is of the stream %s, and the topic has %s: import it with --topic and the input that has %s", named, own, named)
	}
	return "", ""
}

// streamMember is in the lines of replays, of which one file can have all streams. Without the
// quote before it, which is everywhere, it is found faster.
var streamMember = []byte(`stream"`)

// take adds an event to the run; number is the event's in the chunk.
func (w *worker) take(ch *chunk, ev *engine.Event, line []byte, text *schemas.MappedText, number uint64) error {
	r := record{
		partition: w.route.Partition(ev.Customer), at: ev.At, seq: ch.number<<seqBits | number,
		source: ch.source, customer: ev.Customer, value: line,
	}
	if text != nil {
		r.form, r.number, r.value = w.forms.of(text), uint32(text.Number), text.JSON
	}
	add(w.counts, Kind{ch.file.Topic, w.opt.Streams.Name(ev.Stream)}, ev.At)
	b := w.run.add(&r)
	// A form has another number in each run of the program.
	w.sum.Write(b[:formAt])
	if text != nil {
		fmt.Fprintf(w.sum, "%q %q ", text.Mapping, text.Stream)
	}
	w.sum.Write(b[formAt+2:])
	return w.run.writeFull()
}
