package schemas

import (
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// outEffect is an effect with what an output says beyond it.
type outEffect struct {
	*engine.Effect
	id        string
	emittedAt expr.Millis
	item      []func(*engine.Item) expr.Value // the fields of an item, in the schema's order
}

// outField is where the value of an output field comes from. A map is a List.
type outField struct {
	kind expr.Kind
	get  func(*outEffect) expr.Value
}

// changeFields fill a membership_change.
var changeFields = map[string]outField{
	"change_id":      {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.id) }},
	"customer_id":    {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Customer) }},
	"segment":        {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Name) }},
	"action":         {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Action.String()) }},
	"effective_at":   {expr.Time, func(o *outEffect) expr.Value { return expr.TimeValue(o.At) }},
	"emitted_at":     {expr.Time, func(o *outEffect) expr.Value { return expr.TimeValue(o.emittedAt) }},
	"sequence":       {expr.Int, func(o *outEffect) expr.Value { return expr.IntValue(int64(o.Sequence)) }},
	"cause":          {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Cause.String()) }},
	"cause_event_id": {expr.String, func(o *outEffect) expr.Value { return optional(o.CauseEvent) }},
	"rule_version":   {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Version) }},
	"group":          {expr.String, func(o *outEffect) expr.Value { return optional(o.Group) }},
	"from_segment":   {expr.String, func(o *outEffect) expr.Value { return optional(o.From) }},
	"member_for_ms": {expr.Int, func(o *outEffect) expr.Value {
		return when(o.Action == engine.Exited, expr.IntValue(int64(o.MemberFor)))
	}},
	"evidence": {expr.List, func(o *outEffect) expr.Value { return pairs(o.Evidence) }},
}

// triggerFields fill a trigger_fired.
var triggerFields = map[string]outField{
	"trigger_id":      {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.id) }},
	"trigger":         {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Name) }},
	"kind":            {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Kind.String()) }},
	"customer_id":     {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Customer) }},
	"due_at":          {expr.Time, func(o *outEffect) expr.Value { return expr.TimeValue(o.Due) }},
	"fired_at":        {expr.Time, func(o *outEffect) expr.Value { return expr.TimeValue(o.At) }},
	"emitted_at":      {expr.Time, func(o *outEffect) expr.Value { return expr.TimeValue(o.emittedAt) }},
	"sequence":        {expr.Int, func(o *outEffect) expr.Value { return expr.IntValue(int64(o.Sequence)) }},
	"rule_version":    {expr.String, func(o *outEffect) expr.Value { return expr.StringValue(o.Version) }},
	"anchor_event_id": {expr.String, func(o *outEffect) expr.Value { return optional(o.AnchorID) }},
	"anchor_at":       {expr.Time, func(o *outEffect) expr.Value { return instant(o.AnchorAt) }},
	"items":           {expr.List, (*outEffect).items},
	"value":           {expr.Decimal, func(o *outEffect) expr.Value { return when(o.Kind == plan.AbandonedCart, o.Value) }},
	"currency":        {expr.String, func(o *outEffect) expr.Value { return optional(o.Currency) }},
	"last_event_at": {expr.Time, func(o *outEffect) expr.Value {
		return when(o.Kind == plan.Inactivity, instant(o.LastAt))
	}},
	"days_silent": {expr.Int, func(o *outEffect) expr.Value {
		return when(o.Kind == plan.Inactivity && o.Silent >= 0, expr.IntValue(o.Silent))
	}},
	"segments": {expr.List, func(o *outEffect) expr.Value { return when(o.Kind == plan.Inactivity, texts(o.Segments)) }},
	"date":     {expr.Date, func(o *outEffect) expr.Value { return when(o.Kind == plan.Anniversary, o.Date) }},
	"years":    {expr.Int, func(o *outEffect) expr.Value { return when(o.Years > 0, expr.IntValue(o.Years)) }},
	"from":     {expr.String, noText}, // of lifecycle triggers, which this version does not have
	"to":       {expr.String, noText},
	"context":  {expr.List, func(o *outEffect) expr.Value { return pairs(o.Context) }},
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

func noText(*outEffect) expr.Value { return expr.Value{} }

func noItem(*engine.Item) expr.Value { return expr.Value{} }

// when returns v if it applies.
func when(applies bool, v expr.Value) expr.Value {
	if !applies {
		return expr.Value{}
	}
	return v
}

// optional returns a text, absent if it is empty.
func optional(s string) expr.Value { return when(s != "", expr.StringValue(s)) }

// instant returns an instant, absent if it is Never.
func instant(m expr.Millis) expr.Value { return when(m != expr.Never, expr.TimeValue(m)) }

// pairs returns a map.
func pairs(l []engine.Pair) expr.Value {
	v := make([]expr.Value, 0, 2*len(l))
	for _, p := range l {
		v = append(v, expr.StringValue(p.Name), expr.StringValue(p.Value))
	}
	return expr.ListValue(v)
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
		rec := make([]expr.Value, len(o.item))
		for j, get := range o.item {
			rec[j] = get(&o.Items[i])
		}
		l[i] = expr.RecordValue(rec)
	}
	return expr.ListValue(l)
}
