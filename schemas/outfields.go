package schemas

import (
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// outEffect is an effect with what an output says beyond it.
type outEffect struct {
	*engine.Effect
	id        []byte
	emittedAt expr.Millis
	itemGets  []func(*engine.Item) expr.Value // the fields of an item, in the schema's order
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
	"kind":            textOf(func(o *outEffect) string { return o.Kind.String() }),
	"customer_id":     outCustomer,
	"due_at":          numberOf(expr.Time, func(o *outEffect) (int64, bool) { return int64(o.Due), true }),
	"fired_at":        outAt,
	"emitted_at":      outEmittedAt,
	"sequence":        outSequence,
	"rule_version":    outVersion,
	"anchor_event_id": textOf(func(o *outEffect) string { return o.AnchorID }),
	"anchor_at":       numberOf(expr.Time, func(o *outEffect) (int64, bool) { return int64(o.AnchorAt), o.AnchorAt != expr.Never }),
	"items":           lists((*outEffect).items),
	"value": numberOf(expr.Decimal, func(o *outEffect) (int64, bool) {
		return o.Value.N, o.Kind == plan.AbandonedCart && o.Value.Present()
	}),
	"currency": textOf(func(o *outEffect) string { return o.Currency }),
	"last_event_at": numberOf(expr.Time, func(o *outEffect) (int64, bool) {
		return int64(o.LastAt), o.Kind == plan.Inactivity && o.LastAt != expr.Never
	}),
	"days_silent": numberOf(expr.Int, func(o *outEffect) (int64, bool) {
		return o.Silent, o.Kind == plan.Inactivity && o.Silent >= 0
	}),
	"segments": lists(func(o *outEffect) expr.Value { return when(o.Kind == plan.Inactivity, texts(o.Segments)) }),
	"date": numberOf(expr.Date, func(o *outEffect) (int64, bool) {
		return o.Date.N, o.Kind == plan.Anniversary && o.Date.Present()
	}),
	"years":   numberOf(expr.Int, func(o *outEffect) (int64, bool) { return o.Years, o.Years > 0 }),
	"from":    textOf(noText), // of lifecycle triggers, which this version does not have
	"to":      textOf(noText),
	"context": pairsOf(func(o *outEffect) []engine.Pair { return o.Context }),
}

// itemFields fill a LineItem. The engine keeps of a product what a cart needs.
var itemFields = map[string]func(*engine.Item) expr.Value{
	"product_id": func(i *engine.Item) expr.Value { return expr.StringValue(i.Product) },
	"sku":        noItem,
	"name":       noItem,
	"category":   noItem,
	"brand":      noItem,
	"quantity":   func(i *engine.Item) expr.Value { return expr.IntValue(i.Quantity) },
	"price":      func(i *engine.Item) expr.Value { return i.Price },
}

// oneIf returns a bool as values have it.
func oneIf(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func noText(*outEffect) string { return "" }

func noItem(*engine.Item) expr.Value { return expr.Value{} }

// when returns v if it applies.
func when(applies bool, v expr.Value) expr.Value {
	if !applies {
		return expr.Value{}
	}
	return v
}

func texts(l []string) expr.Value {
	v := make([]expr.Value, len(l))
	for i, s := range l {
		v[i] = expr.StringValue(s)
	}
	return expr.ListValue(v)
}

// items returns what is left in the cart.
func (o *outEffect) items() expr.Value {
	l := make([]expr.Value, len(o.Items))
	for i := range o.Items {
		rec := make([]expr.Value, len(o.itemGets))
		for j, get := range o.itemGets {
			rec[j] = get(&o.Items[i])
		}
		l[i] = expr.RecordValue(rec)
	}
	return expr.ListValue(l)
}
