package job

import (
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

// An event is the same in all formats: the reader finds the same values. Only the shop's
// ids and sources are its own.
func TestFormatsAgree(t *testing.T) {
	rules, err := app.CompileRules([]rule.File{{Name: "ten.yaml", Data: []byte(RuleFile(Ten))}})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := schemas.NewReader(schemas.Config{
		Layouts: rules.Engine.Layout, Topics: map[string]plan.Stream{"purchase": plan.Purchase},
		Registry: all{}, Zones: func(string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(value []byte, ev *engine.Event) {
		t.Helper()
		rec := schemas.Record{Topic: "purchase", Value: value}
		if _, err := reader.Read(&rec, ev); err != nil {
			t.Fatalf("%v of %s", err, value)
		}
	}
	layout := rules.Engine.Layout(plan.Purchase)
	for _, w := range workloads {
		var e Event
		for g := NewGenerator(w); g.Next(&e); {
			var avro, text engine.Event
			read(e.Append(nil, 0), &avro)
			read(e.AppendText(nil, JSON), &text)
			if avro.ID != text.ID || avro.Customer != text.Customer || avro.At != text.At || avro.Source != text.Source {
				t.Fatalf("event %d: %+v, and in JSON %+v", e.N, avro, text)
			}
			for _, name := range []string{"revenue", "channel", "currency"} {
				if a, b := avro.Fields[layout.Slot(name)], text.Fields[layout.Slot(name)]; a.K != b.K || a.N != b.N || a.S != b.S {
					t.Fatalf("event %d: %s is %v, and in JSON %v", e.N, name, a, b)
				}
			}
		}
	}
}
