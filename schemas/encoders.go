package schemas

import (
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/encode"
)

// NewEncoder returns an encoder for the application app, whose name is part of
// the ids of effects. It is an error if a schema has a field that the encoder
// cannot fill.
func NewEncoder(f encode.Format, app string, ids encode.IDs) (*encode.Encoder, error) {
	return encode.NewEncoder(encode.Config{
		Format: f, App: app, IDs: ids, Change: mustSchema(MembershipChange), Trigger: mustSchema(TriggerFired),
	})
}

// NewEventEncoder returns an encoder of input events that writes the given format.
// ids are the schema ids of the streams; JSON has no use for them.
func NewEventEncoder(f encode.Format, ids [plan.NumBuiltin]int) *encode.EventEncoder {
	var in [plan.NumBuiltin]*avro.Schema
	for s := range plan.NumBuiltin {
		in[s] = mustSchema(InputName(s))
	}
	return encode.NewEventEncoder(f, in, ids)
}
