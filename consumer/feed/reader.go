package feed

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Reader reads records as heads of inputs.
type Reader struct {
	Config *config.Config
	// arrival: records are ordered by when they came to Kafka. Facts do not depend on
	// the order, but an erasure deletes what arrived before it, not what is dated
	// before it.
	arrival bool
	record  schemas.Record // memory
}

// One reads a record of an input by itself. An error means that it could not be read
// now; what is wrong with it is in the head.
func (r *Reader) One(rec *kgo.Record) (*Head, error) {
	in := &Input{Topic: rec.Topic, Partition: rec.Partition, Imported: rec.Topic == r.Config.History()}
	err := r.read(in, rec, changelog.Never)
	return &in.Head, err
}

// read makes a record the head of its input. An error means that it could not be
// read now.
func (r *Reader) read(in *Input, rec *kgo.Record, came engine.Millis) error {
	h := &in.Head
	h.Rec, h.Err, h.At, h.came, h.More = rec, nil, changelog.Never, came, schemas.More{}
	b := &r.record
	fill(b, rec)
	if in.hold.came.IsZero() {
		in.hold.came = in.fetched
	}
	b.Came, b.Forwarded = in.hold.came, in.Forwarded
	h.From = Origin{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, At: b.Time}
	if h.batch = in.refused[rec.Offset]; h.batch != nil {
		delete(in.refused, rec.Offset)
		h.From.Offset, h.Err = h.batch.first, h.batch.bad(rec.Offset)
		return nil
	}
	switch {
	case in.Imported:
		of, bad := importedOf(rec, r.Config.IsInput)
		if bad != nil {
			h.Err = bad
			return nil
		}
		// Only its own place names the record: that of the origin is no offset of an input.
		h.From.At = of.At
		b.Topic, b.Time, b.Mapped = of.Topic, of.At, of.Mapped
		b.Partition, b.Offset = of.Partition, of.Offset
	case in.Forwarded:
		if h.From, h.Err = OriginOf(rec, r.Config.IsInput); h.Err != nil {
			return nil
		}
		b.Topic, b.Time, b.Mapped = h.From.Topic, h.From.At, h.From.Mapped
		b.Partition, b.Offset = h.From.Partition, h.From.Offset
	}
	var err error
	h.Result, err = r.Config.Read(b, &h.Ev)
	h.More = b.More
	if err != nil {
		var bad *schemas.BadInput
		if errors.As(err, &bad) {
			h.Err = bad
			return nil
		}
		return err
	}
	if h.Result == schemas.IsSkipped {
		return nil // it has no time, as what can't be read
	}
	h.At = h.Ev.At
	switch {
	case r.arrival:
		h.At = b.Time
	case r.Config.Time.Clock == config.WallClock:
		h.At = min(h.At, b.Time)
	}
	return nil
}

// fill makes rec what a reader needs of a record.
func fill(rec *schemas.Record, r *kgo.Record) {
	rec.Topic, rec.Key, rec.Value, rec.Time = r.Topic, r.Key, r.Value, engine.Millis(r.Timestamp.UnixMilli())
	rec.Partition, rec.Offset, rec.Mapped = r.Partition, r.Offset, nil
	rec.Headers = rec.Headers[:0]
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, schemas.Header(h))
	}
}
