package replay

import (
	"errors"
	"fmt"
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Decoder makes events of the lines of a file.
type Decoder struct {
	Reader *schemas.Reader
	// Members counts members of events that are probably misspelt; nil if nobody looks.
	Members *Members
	// Topic is the input whose records the lines are. Without one, each line is an event
	// that names its stream.
	Topic string
	// File stands for the partition of a record in ids that are made of its place. Negative
	// ones are those of no record of Kafka.
	File int32

	record schemas.Record
	more   schemas.More
}

// Decoded is what a line is. Its memory is reused by the next one that is decoded into it.
type Decoded struct {
	Events []engine.Event
	// Texts are the events as JSON with the names of our schemas, in the same order; nil if
	// the line itself is the event.
	Texts    []schemas.MappedText
	Refused  []error // what is no event, and should be
	NoEvents int     // messages of a type that is no event
}

// Decode decodes a line that [Lines.Next] returned with its length; number counts lines
// from 1.
func (d *Decoder) Decode(line []byte, length, number int, into *Decoded) {
	events := into.Events[:0]
	*into = Decoded{Refused: into.Refused[:0]}
	events = slices.Grow(events, 1)[:1]
	switch what, err := d.read(line, length, number, &events[0]); {
	case err != nil:
		events = events[:0]
		into.Refused = append(into.Refused, err)
	case what != schemas.IsEvent:
		events = events[:0]
		into.NoEvents++
	case d.Members != nil && d.Topic == "":
		d.Members.take(events[0].Stream, line)
	}
	into.Events = append(events, d.more.Events...)
	into.Texts = d.more.Texts
	for _, e := range d.more.Refused {
		into.Refused = append(into.Refused, e)
	}
}

// read makes an event of a line, and d.more of one that is several.
func (d *Decoder) read(line []byte, length, number int, ev *engine.Event) (schemas.Result, error) {
	d.more = schemas.More{}
	switch {
	case length > maxLine+len("\r\n"):
		return 0, fmt.Errorf("%d bytes long, more than %d", length, maxLine)
	case string(line) == "null":
		return 0, errors.New("a file has no erasures: a tombstone needs a Kafka timestamp and key")
	case d.Topic != "":
		d.record = schemas.Record{Topic: d.Topic, Value: line, Partition: d.File, Offset: int64(number - 1)}
		what, err := d.Reader.Read(&d.record, ev)
		d.more = d.record.More
		return what, err
	}
	what, err := d.Reader.ReadJSONLine(line, ev, &d.more)
	if schemas.CauseOf(err) == schemas.CauseIdentity && hasMember(line, "customer") {
		err = fmt.Errorf("%w: write customer_id; customer is the word of tests of rules", err)
	}
	return what, err
}
