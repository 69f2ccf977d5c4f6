package schemas

import (
	"math"
	"testing"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
)

// A number that only Avro has is a refused field, also where any text would do.
func TestNoNumber(t *testing.T) {
	const schema = `{"type":"record","name":"T","fields":[{"name":"event_id","type":"string"},{"name":"customer_id","type":"string"},` +
		`{"name":"occurred_at","type":"long"},{"name":"traits","type":{"type":"map","values":"double"}}]}`
	codec, err := goavro.NewCodec(schema)
	if err != nil {
		t.Fatal(err)
	}
	rr := newRowReader(t, DefaultSettings())
	rr.reg.texts[1] = schema
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		b, err := codec.BinaryFromNative([]byte{0, 0, 0, 0, 1}, map[string]any{
			"event_id": "e", "customer_id": "c", "occurred_at": int64(1_750_000_000_000), "traits": map[string]any{"plan": x},
		})
		if err != nil {
			t.Fatal(err)
		}
		rr.notes = nil
		var ev engine.Event
		if _, err := rr.Read(&Record{Topic: topicOf(plan.Profile), Value: b}, &ev); err != nil {
			t.Fatal(err)
		}
		if v := slotOf(&ev, "traits.plan"); v.Present() || len(rr.notes) != 1 || rr.notes[0].Kind != bad.Refused || rr.notes[0].Field != "traits" {
			t.Errorf("%v is %v, %v", x, v, rr.notes)
		}
	}
}
