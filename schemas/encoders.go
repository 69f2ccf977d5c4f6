package schemas

import "github.com/segmill/segmill/engine/plan"

// NewEncoder returns an encoder for the application app, whose name is part of
// the ids of effects. It is an error if a schema has a field that the encoder
// cannot fill.
func NewEncoder(f Format, app string, ids IDs) (*Encoder, error) {
	return newEncoder(encoderConfig{
		Format: f, App: app, IDs: ids, Change: mustSchema(MembershipChange), Trigger: mustSchema(TriggerFired),
	})
}

// NewEventEncoder returns an encoder of input events that writes the given format.
// ids are the schema ids of the streams; JSON has no use for them.
func NewEventEncoder(f Format, ids [plan.NumStreams]int) *EventEncoder {
	var in [plan.NumStreams]*schema
	for s, name := range inputNames {
		in[s] = mustSchema(name)
	}
	return newEventEncoder(f, in, ids)
}
