package triggers

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// avroType is a type of an Avro schema, as far as messages have it: the name of the
// type or of its logical type, and what a list or a record holds.
type avroType struct {
	name   string
	elem   *avroType
	fields map[string]avroType
}

func readType(t *testing.T, v any) avroType {
	t.Helper()
	switch v := v.(type) {
	case string:
		return avroType{name: v}
	case []any: // ["null", T]
		return readType(t, v[1])
	case map[string]any:
		if name, ok := v["logicalType"].(string); ok {
			return avroType{name: name}
		}
		a := avroType{name: v["type"].(string)}
		if items, ok := v["items"]; ok {
			elem := readType(t, items)
			a.elem = &elem
		}
		if fields, ok := v["fields"].([]any); ok {
			a.fields = map[string]avroType{}
			for _, f := range fields {
				f := f.(map[string]any)
				a.fields[f["name"].(string)] = readType(t, f["type"])
			}
		}
		return a
	}
	t.Fatalf("no type: %v", v)
	return avroType{}
}

func outputFields(t *testing.T) map[string]avroType {
	t.Helper()
	text, err := schemas.Text(schemas.TriggerFired)
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return readType(t, s).fields
}

// A kind declares its message's fields as the output schema has them, and the
// schema has a name for the kind.
func TestMessagesFitTheSchema(t *testing.T) {
	out := outputFields(t)
	declared := map[string]bool{}
	for _, k := range kinds() {
		for _, f := range k.Message {
			declared[f.Name] = true
			got, ok := out[f.Name]
			if !ok || !fits(f.Type, got) {
				t.Errorf("%s: the message has %s %v, the schema %v", k.Name, f.Name, f.Type.Kind, got)
			}
		}
	}
	// What every message has, what the engine fills, and what waits for a later kind.
	common := []string{
		"trigger_id", "trigger", "kind", "customer_id", "due_at", "fired_at", "emitted_at", "sequence", "rule_version",
		"anchor_event_id", "anchor_at", "context", "from", "to",
	}
	for name := range out {
		if !declared[name] && !slices.Contains(common, name) {
			t.Errorf("no kind fills %s", name)
		}
	}
	text, _ := schemas.Text(schemas.TriggerFired)
	for _, k := range Kinds() {
		if !k.Later && !slices.Contains(symbols(t, text), k.Name) {
			t.Errorf("the schema does not know the kind %s", k.Name)
		}
	}
}

func symbols(t *testing.T, text string) (l []string) {
	t.Helper()
	var s struct{ Fields []struct{ Type any } }
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Fields {
		if m, ok := f.Type.(map[string]any); ok && m["type"] == "enum" {
			for _, v := range m["symbols"].([]any) {
				l = append(l, v.(string))
			}
		}
	}
	return l
}

// fits reports whether a field of the schema holds values of a type.
func fits(t expr.Type, a avroType) bool {
	switch t.Kind {
	case expr.List:
		return a.name == "array" && fits(*t.Elem, *a.elem)
	case expr.Record:
		return a.name == "record" && !slices.ContainsFunc(t.Fields, func(f expr.Field) bool { return !fits(f.Type, a.fields[f.Name]) })
	}
	names := map[expr.Kind][]string{
		expr.String: {"string"}, expr.Int: {"int", "long"}, expr.Decimal: {"decimal"}, expr.Time: {"timestamp-millis"}, expr.Date: {"date"},
	}
	return slices.Contains(names[t.Kind], a.name)
}

// A registration is whole: names differ, and every setting can be read.
func TestRegistrations(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds() {
		if k.Name == "" || seen[k.Name] || k.meaning == nil || k.why == nil {
			t.Errorf("%q: a name that was there already, or nothing that it means", k.Name)
		}
		seen[k.Name] = true
		for i, s := range k.Settings {
			if (s.Form == plan.SetValue) != (s.Read != nil) {
				t.Errorf("%s: %s cannot be read", k.Name, s.Word)
			}
			if s.Form == plan.SetValue && (s.Missing == "") == (s.Default == nil) {
				t.Errorf("%s: %s must be there or have a default", k.Name, s.Word)
			}
			for _, o := range k.Settings[:i] {
				if o.Word == s.Word || o.Form == s.Form && s.Form != plan.SetValue {
					t.Errorf("%s: %s and %s are one", k.Name, o.Word, s.Word)
				}
			}
		}
	}
}

// What settings read, and what they say of a text that they cannot.
func TestSettings(t *testing.T) {
	after := func(text string) (expr.Value, *plan.Flaw) { return readDelay(text, 30*day) }
	for _, c := range []struct {
		read func(string) (expr.Value, *plan.Flaw)
		text string
		want expr.Value
		flaw string
	}{
		{after, "1h30m", expr.DurationValue(90 * 60_000), ""},
		{after, "30d", expr.DurationValue(30 * day), ""},
		{after, "31d", expr.Value{}, "the duration can be at most 30d"},
		{after, "0s", expr.Value{}, "the duration must be greater than zero"},
		{after, "soon", expr.Value{}, `"soon" is not a duration`},
		{readDays, "-7d", expr.IntValue(-7), ""},
		{readDays, "+2w", expr.IntValue(14), ""},
		{readDays, "366d", expr.Value{}, "an offset can be at most 365 days"},
		{readClock, "08:30", expr.DurationValue(510 * 60_000), ""},
		{readClock, "8:30", expr.Value{}, `"8:30" is not a time of day`},
		{readFeb29, "mar_1", expr.BoolValue(true), ""},
		{readFeb29, "feb_28", expr.BoolValue(false), ""},
	} {
		got, flaw := c.read(c.text)
		message := ""
		if flaw != nil {
			message = flaw.Message
		}
		if !reflect.DeepEqual(got, c.want) || message != c.flaw {
			t.Errorf("%s: %v, %q; want %v, %q", c.text, got, message, c.want, c.flaw)
		}
	}
}

// A quantity fits the 32 bits that it has in the schema, however much is in the cart.
func TestQuantityFits(t *testing.T) {
	for left, want := range map[int64]int64{
		1: 1, aggregate.Unit: 1, aggregate.Unit + 1: 2,
		math.MaxInt32 * aggregate.Unit: math.MaxInt32, 1 << 31 * aggregate.Unit: math.MaxInt32, 1 << 40 * aggregate.Unit: math.MaxInt32,
	} {
		if got := lines([]aggregate.Line{{Product: "p", Quantity: left}}).L[0].L[1]; got.N != want {
			t.Errorf("%d: %v, want %d", left, got, want)
		}
	}
}
