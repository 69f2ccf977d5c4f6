package feed

import (
	"testing"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
)

// All queues together have the room of the task, also when one is added.
func TestAddedInputSharesTheRoom(t *testing.T) {
	input := func(p int32) *Input { return NewInput(broker.Partition{Topic: "web", Number: p}, 0, false) }
	o := &Options{Config: &config.Config{Metrics: metrics.New(nil)}, QueueBytes: 1 << 20}
	f := newFetcher(o, []*Input{input(0), input(4)})
	if f.room != 1<<19 {
		t.Errorf("%d bytes of two", f.room)
	}
	f.add(input(8))
	f.add(input(12))
	if f.room != 1<<18 || len(f.inputs) != 4 {
		t.Errorf("%d bytes of %d", f.room, len(f.inputs))
	}
}
