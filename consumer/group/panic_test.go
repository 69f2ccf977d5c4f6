package group

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/schemas"
)

// A panic of a task is handed over; the process would end there.
func TestPanicIsHandedOver(t *testing.T) {
	g := newFleet(t, 1)
	caught := make(chan any, 1)
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		c.OnPanic = func(r any) { caught <- r }
		read := c.Read
		c.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			if string(r.Key) == "boom" {
				panic("boom")
			}
			return read(r, ev)
		}
	})
	in.ready()
	g.Produce(&kgo.Record{Topic: "web", Key: []byte("boom"), Value: []byte("{}")})
	if r := <-caught; r != "boom" {
		t.Errorf("caught %v", r)
	}
	in.crash()
}
