package schemas

import (
	"encoding/json"
	"errors"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/jsonread"
	"github.com/segmill/segmill/schemas/mapping"
)

// batchOf returns the messages of a record that is a batch, as Segment's and RudderStack's
// libraries send them; nil if it is none.
func batchOf(value []byte) []json.RawMessage {
	var b struct {
		Batch []json.RawMessage `json:"batch"`
	}
	if len(value) == 0 || value[0] != '{' || json.Unmarshal(value, &b) != nil {
		return nil
	}
	return b.Batch
}

// batch reads the messages of a batch, each of which is an event or none by itself. why is
// what is wrong with the record if it is no batch.
func (d *decoder) batch(in *topic, rec *Record, ev *engine.Event, why error) (Result, error) {
	l := batchOf(rec.Value)
	switch {
	case len(l) == 0:
		return 0, why
	case len(l) > mapping.MaxEvents:
		return 0, bad.New(bad.Size, "batch", "%d messages, more than %d", len(l), mapping.MaxEvents)
	}
	as := mapped{Mapping: &plan.Mapping{Stream: in.stream}, in: in, settings: in.settings}
	for i, message := range l {
		var one engine.Event
		if e := d.text(&as, rec, message, &one); e != nil {
			if !errors.Is(e, jsonread.ErrSkipped) {
				rec.More.Refused = append(rec.More.Refused, e)
			}
			continue
		}
		rec.More.Events = append(rec.More.Events, one)
		rec.More.Texts = append(rec.More.Texts, MappedText{Stream: d.cfg.Catalog.Table().Name(one.Stream), Number: i, JSON: message})
	}
	return d.several(rec, ev)
}
