package encode

import (
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
)

// outEffect is an effect with what an output says beyond it.
type outEffect struct {
	*engine.Effect
	id        []byte
	emittedAt expr.Millis
}

// source is where the value of an output field comes from: one of the functions
// is set. What changes have comes without an allocation.
type source struct {
	kind   expr.Kind
	id     func(*outEffect) []byte
	text   func(*outEffect) string              // "" is null where the schema has null
	number func(*outEffect) (n int64, has bool) // a time, date or amount too; if it has none: null, else 0
	pairs  func(*outEffect) []engine.Pair       // a map
	value  func(*outEffect) expr.Value          // anything else
}

func textOf(get func(*outEffect) string) source { return source{kind: expr.String, text: get} }

func numberOf(k expr.Kind, get func(*outEffect) (int64, bool)) source {
	return source{kind: k, number: get}
}

func pairsOf(get func(*outEffect) []engine.Pair) source {
	return source{kind: expr.List, pairs: get}
}

func lists(get func(*outEffect) expr.Value) source { return source{kind: expr.List, value: get} }

// What changes and triggers share.
var (
	outID        = source{kind: expr.String, id: func(o *outEffect) []byte { return o.id }}
	outCustomer  = textOf(func(o *outEffect) string { return o.Customer })
	outName      = textOf(func(o *outEffect) string { return o.Name })
	outVersion   = textOf(func(o *outEffect) string { return o.Version })
	outAt        = numberOf(expr.Time, func(o *outEffect) (int64, bool) { return int64(o.At), true })
	outEmittedAt = numberOf(expr.Time, func(o *outEffect) (int64, bool) { return int64(o.emittedAt), true })
	outSequence  = numberOf(expr.Int, func(o *outEffect) (int64, bool) { return int64(o.Sequence), true })
)

// changeFields fill a membership_change.
var changeFields = map[string]source{
	"change_id":      outID,
	"customer_id":    outCustomer,
	"segment":        outName,
	"action":         textOf(func(o *outEffect) string { return o.Action.String() }),
	"effective_at":   outAt,
	"emitted_at":     outEmittedAt,
	"sequence":       outSequence,
	"cause":          textOf(func(o *outEffect) string { return o.Cause.String() }),
	"cause_event_id": textOf(func(o *outEffect) string { return o.CauseEvent }),
	"rule_version":   outVersion,
	"group":          textOf(func(o *outEffect) string { return o.Group }),
	"from_segment":   textOf(func(o *outEffect) string { return o.From }),
	"member_for_ms": numberOf(expr.Int, func(o *outEffect) (int64, bool) {
		return int64(o.MemberFor), o.Action == engine.Exited
	}),
	"evidence": pairsOf(func(o *outEffect) []engine.Pair { return o.Evidence }),
	"known":    numberOf(expr.Bool, func(o *outEffect) (int64, bool) { return oneIf(o.Known), o.Action == engine.Erased }),
}

// triggerFields fill a trigger_fired.
var triggerFields = map[string]source{
	"trigger_id":      outID,
	"trigger":         outName,
	"kind":            textOf(func(o *outEffect) string { return o.Kind }),
	"customer_id":     outCustomer,
	"due_at":          numberOf(expr.Time, func(o *outEffect) (int64, bool) { return int64(o.Due), true }),
	"fired_at":        outAt,
	"emitted_at":      outEmittedAt,
	"sequence":        outSequence,
	"rule_version":    outVersion,
	"anchor_event_id": textOf(func(o *outEffect) string { return o.AnchorID }),
	"anchor_at":       numberOf(expr.Time, func(o *outEffect) (int64, bool) { return int64(o.AnchorAt), o.AnchorAt != expr.Never }),
	"context":         pairsOf(func(o *outEffect) []engine.Pair { return o.Context }),
}

// messageField is the source of a field of a trigger_fired that some kind of trigger
// fills, by its name. Of a message without it, the field is null, or an empty list.
func messageField(name string, t expr.Type) (source, bool) {
	value := func(o *outEffect) expr.Value { return o.Field(name) }
	switch {
	case t.Kind == expr.List && t.Elem.Kind == expr.Record:
		places, ok := linePlaces(t.Elem.Fields)
		return lists(func(o *outEffect) expr.Value { return lineItems(value(o).L, places) }), ok && !t.Optional
	case t.Kind == expr.List:
		return lists(value), t.Optional
	case t.Kind == expr.String:
		return textOf(func(o *outEffect) string { return value(o).S }), t.Optional
	}
	return numberOf(t.Kind, func(o *outEffect) (int64, bool) {
		v := value(o)
		return v.N, v.Present()
	}), t.Optional
}

// lineFields are the fields of a line item in a message, in its order. The engine
// keeps of a product what a cart needs.
var lineFields = []string{"product_id", "quantity", "price", "variant_id", "sku", "amount"}

// linePlaces returns where in a line item of a message each field of the schema is,
// -1 for one that is always null.
func linePlaces(fields []expr.Field) (places []int, ok bool) {
	for _, f := range fields {
		i := slices.Index(lineFields, f.Name)
		if i < 0 && !f.Type.Optional {
			return nil, false
		}
		places = append(places, i)
	}
	return places, true
}

// lineItems puts the line items of a message in the schema's order.
func lineItems(l []expr.Value, places []int) expr.Value {
	out := make([]expr.Value, len(l))
	for i := range l {
		rec := make([]expr.Value, len(places))
		for j, k := range places {
			if k >= 0 {
				rec[j] = l[i].L[k]
			}
		}
		out[i] = expr.RecordValue(rec)
	}
	return expr.ListValue(out)
}

// oneIf returns a bool as values have it.
func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
