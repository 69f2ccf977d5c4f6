package feed

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// Read is told which records were forwarded, and so were read before.
func TestReadForwarded(t *testing.T) {
	var forwarded []bool
	r := &Reader{Config: &config.Config{
		Inputs: []string{"web"},
		Rules: config.Rules{Read: func(rec *schemas.Record, _ *engine.Event) (schemas.Result, error) {
			forwarded = append(forwarded, rec.Forwarded)
			return schemas.IsEvent, nil
		}},
	}}
	rec := &kgo.Record{Topic: "web", Offset: 1}
	moved := &kgo.Record{Topic: "moved", Headers: Origin{Topic: "web", Offset: 1}.Headers(nil)}
	for _, step := range []struct {
		in  *Input
		rec *kgo.Record
	}{{NewInput(broker.Partition{Topic: "web"}, 0, false), rec}, {NewInput(broker.Partition{Topic: "moved"}, 0, true), moved}, {NewInput(broker.Partition{Topic: "web"}, 0, false), rec}} {
		if err := r.read(step.in, step.rec, changelog.Never); err != nil || step.in.Head.Err != nil {
			t.Fatal(err, step.in.Head.Err)
		}
	}
	if len(forwarded) != 3 || forwarded[0] || !forwarded[1] || forwarded[2] {
		t.Errorf("%v", forwarded)
	}
}
