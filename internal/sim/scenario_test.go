package sim

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// A scenario file begins with the sentences of docs/semantics.md that it checks, by
// number and in other words. Its part "rules" has lines
//
//	zone Europe/Paris
//	segment ID: CONDITION
//	stage LIFECYCLE/ID: CONDITION
//	trigger ID: YAML MAPPING WITHOUT ID
//
// Its part "run" has calls, each followed by the effects that it must give,
// indented, and nothing else:
//
//	TIME [clock=TIME] STREAM [id=ID] [FIELD=VALUE ...]
//	TIME advance
//	TIME erase
//	  TIME ACTION NAME SEQUENCE [CAUSE] [event=ID] [KEY=VALUE ...]
//
// A TIME is 10:00, 10:00:00.001 (both on 2026-01-01), or the like after a date
// and T, in UTC. An event without a clock comes when the clock is where it was.
// Expectations are written by hand; the oracle and the engine must both meet them.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Files) != 2 || a.Files[0].Name != "rules" || a.Files[1].Name != "run" {
			t.Fatalf("%s: want the parts rules and run", file)
		}
		spec := mustParse(t, file, scenarioRules(string(a.Files[0].Data)))
		calls, want := scenarioCalls(t, file, string(a.Files[1].Data))
		for _, side := range []runner{&Oracle{}, nil} {
			name := "engine"
			if side != nil {
				name, side = "oracle", NewOracle(spec, engine.Options{Zones: Zones})
			} else {
				side = newSubject(t, spec)
			}
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				var got strings.Builder
				for i := range calls {
					fmt.Fprintln(&got, calls[i].line)
					l, _ := side.Run(&calls[i].Call)
					for k := range l {
						fmt.Fprintln(&got, " ", effectLine(&l[k]))
					}
				}
				if d := cmp.Diff(want, got.String()); d != "" {
					t.Errorf("%s\n%s\n(-want +got)\n%s", a.Comment, a.Files[0].Data, d)
				}
			})
		}
	}
}

// mustParse compiles the text of a rule file.
func mustParse(t testing.TB, name, text string) *plan.Spec {
	t.Helper()
	set, err := rule.Parse([]rule.File{{Name: name, Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), Zones)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return set.Spec
}

// scenarioRules turns the short form of rules into a rule file.
func scenarioRules(short string) string {
	var segments, lifecycles, messages strings.Builder
	zone, group := "UTC", ""
	for line := range strings.Lines(short) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, when, _ := strings.Cut(rest, ": ")
		switch word {
		case "zone":
			zone = rest
		case "segment":
			fmt.Fprintf(&segments, "  - {id: %s, %s, when: %q}\n", id, ruleMeta, when)
		case "stage":
			of, stage, _ := strings.Cut(id, "/")
			if of != group {
				group = of
				fmt.Fprintf(&lifecycles, "  - id: %s\n    objective: testing\n    owner: sim\n    review_by: 2099-01-01\n    stages:\n", of)
			}
			fmt.Fprintf(&lifecycles, "      - {id: %s, when: %q}\n", stage, when)
		case "trigger":
			fmt.Fprintf(&messages, "  - {id: %s, %s\n", id, strings.TrimPrefix(when, "{"))
		}
	}
	text := fmt.Sprintf("version: 1\ndefaults: {timezone: %s}\n", zone)
	for _, part := range []struct{ name, text string }{
		{"segments", segments.String()}, {"lifecycles", lifecycles.String()}, {"triggers", messages.String()},
	} {
		if part.text != "" {
			text += part.name + ":\n" + part.text
		}
	}
	return text
}

// scenarioCall is a call and its line.
type scenarioCall struct {
	Call
	line string
}

// scenarioCalls reads the part "run". want is that part without what is only
// there for the eye.
func scenarioCalls(t *testing.T, file, text string) (calls []scenarioCall, want string) {
	t.Helper()
	var clock Millis
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		want += line + "\n"
		if strings.HasPrefix(line, " ") {
			continue
		}
		c, err := parseCall(line, clock, len(calls)+1)
		if err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		clock = max(clock, c.Clock)
		calls = append(calls, scenarioCall{c, line})
	}
	return calls, want
}

// parseCall reads the line of one call.
func parseCall(line string, clock Millis, serial int) (Call, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return Call{}, fmt.Errorf("want a time and a call")
	}
	at, err := parseInstant(words[0])
	if err != nil {
		return Call{}, err
	}
	switch words[1] {
	case "advance":
		return Call{Do: DoAdvance, Customer: "c1", Clock: at}, nil
	case "erase":
		return Call{Do: DoErase, Customer: "c1", Clock: at, Record: Record{At: at, ID: fmt.Sprintf("t%d", serial)}}, nil
	}
	r := Record{Customer: "c1", At: at, ID: fmt.Sprintf("e%d", serial), Source: "/unknown"}
	r.Fields = map[string]expr.Value{"machine_open": expr.BoolValue(false), "purpose": expr.StringValue("marketing")}
	c := Call{Do: DoApply, Customer: "c1", Clock: clock, Record: r}
	for _, w := range words[1:] {
		if err := c.parseWord(w); err != nil {
			return Call{}, err
		}
	}
	return c, nil
}

// parseWord reads one word of an event: its stream or something about it.
func (c *Call) parseWord(w string) (err error) {
	r := &c.Record
	key, value, isField := strings.Cut(w, "=")
	if !isField {
		s, ok := (*plan.Streams)(nil).ByName(key)
		if !ok {
			return fmt.Errorf("no stream %s", key)
		}
		r.Stream = s
		switch s {
		case plan.Purchase:
			r.Fields["kind"] = expr.StringValue("completed")
		case plan.Web:
			r.Fields["items"] = expr.ListValue(nil)
		default: // the others have no defaults that rules read
		}
		return nil
	}
	switch key {
	case "id":
		r.ID = value
	case "clock":
		c.Clock, err = parseInstant(value)
	default:
		r.Fields[key], err = parseField(key, value)
	}
	return err
}

// parseField reads a field's value; its kind follows from the name.
func parseField(name, text string) (expr.Value, error) {
	switch name {
	case "revenue", "total", "value", "discount":
		f, err := strconv.ParseFloat(text, 64)
		return expr.DecimalValue(int64(f*expr.DecimalOne + 0.5)), err
	case "machine_open":
		return expr.BoolValue(text == "true"), nil
	case "birth_date":
		d, err := time.Parse(time.DateOnly, text)
		return expr.DateValue(d.Unix() / 86_400), err
	case "signed_up_at":
		at, err := parseInstant(text)
		return expr.TimeValue(at), err
	case "items":
		if text == "absent" {
			return expr.Value{}, nil
		}
		var l []expr.Value
		for s := range strings.SplitSeq(text, ",") {
			it, err := parseItem(s)
			if err != nil {
				return expr.Value{}, err
			}
			l = append(l, it)
		}
		return expr.ListValue(l), nil
	}
	return expr.StringValue(strings.Trim(text, `"`)), nil
}

// parseItem reads a line item: p1*2@5.00, and with a variant, a stock unit and a quantity
// that is not whole p1/red#s1*1.5@5.00.
func parseItem(s string) (expr.Value, error) {
	ids, rest, _ := strings.Cut(s, "*")
	quantity, price, priced := strings.Cut(rest, "@")
	ids, sku, _ := strings.Cut(ids, "#")
	product, variant, _ := strings.Cut(ids, "/")
	at := lineItemOf(&plan.Spec{Catalog: schemas.Catalog()})
	it := make([]expr.Value, at.size)
	it[at.product], it[at.variant], it[at.sku] = expr.StringValue(product), ifAny(variant), ifAny(sku)
	f, err := strconv.ParseFloat(quantity, 64)
	if err != nil {
		return expr.Value{}, err
	}
	it[at.quantity] = expr.IntValue(int64(f))
	if strings.Contains(quantity, ".") {
		it[at.quantity], it[at.amount] = expr.IntValue(7), expr.DecimalValue(int64(math.Round(f*expr.DecimalOne)))
	}
	if priced {
		it[at.price], err = parseField("value", price)
	}
	return expr.RecordValue(it), err
}

// itemText writes down what parseItem reads, of a line of a message. A quantity that is not
// whole is followed by what it is rounded up to.
func itemText(l []expr.Value) string {
	s := l[0].S
	if l[3].Present() {
		s += "/" + l[3].S
	}
	if l[4].Present() {
		s += "#" + l[4].S
	}
	s += "*" + l[1].String()
	if l[5].N != l[1].N*expr.DecimalOne {
		s = strings.TrimSuffix(s, l[1].String()) + l[5].String() + "^" + l[1].String()
	}
	return strings.TrimSuffix(s+"@"+l[2].String(), "@")
}

const scenarioDay = "2026-01-01T"

func parseInstant(s string) (Millis, error) {
	if !strings.Contains(s, "T") {
		s = scenarioDay + s
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return expr.MillisOf(t), nil
		}
	}
	return 0, fmt.Errorf("no instant: %s", s)
}

// instantText is what parseInstant reads, as short as it can be.
func instantText(at Millis) string {
	s := at.Time().Format("2006-01-02T15:04:05.000")
	s = strings.TrimSuffix(strings.TrimSuffix(s, ".000"), ":00")
	return strings.TrimPrefix(s, scenarioDay)
}

// effectLine writes an effect down, without what does not apply to it.
func effectLine(e *engine.Effect) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %d", instantText(e.At), e.Action, e.Name, e.Sequence)
	if e.Action != engine.Fired { // a trigger has no cause
		fmt.Fprintf(&b, " %s", e.Cause)
	}
	field := func(applies bool, name, format string, v any) {
		if applies {
			fmt.Fprintf(&b, " "+name+"="+format, v)
		}
	}
	field(e.CauseEvent != "" && e.Action != engine.Fired, "event", "%s", e.CauseEvent)
	field(e.Action == engine.Exited, "for", "%s", expr.FormatDuration(e.MemberFor))
	field(e.From != "", "from", "%s", e.From)
	if e.Action != engine.Fired {
		return b.String()
	}
	field(e.Due != e.At, "due", "%s", instantText(e.Due))
	field(e.AnchorID != "" && e.Kind != ruleKind, "anchor", "%s", e.AnchorID)
	field(e.Field("cart_id").Present(), "cart", "%s", e.Field("cart_id"))
	var items []string
	for _, it := range e.Field("items").L {
		items = append(items, itemText(it.L))
	}
	field(items != nil, "items", "%s", strings.Join(items, ","))
	named := func(short, name string) {
		v := e.Field(name)
		field(v.Present(), short, "%s", v)
	}
	named("value", "value")
	named("currency", "currency")
	named("silent", "days_silent")
	var in []string
	for _, v := range e.Field("segments").L {
		in = append(in, v.S)
	}
	field(len(in) > 0, "segments", "%s", strings.Join(in, ","))
	named("date", "date")
	named("years", "years")
	for _, p := range e.Context {
		field(true, p.Name, "%s", p.Value)
	}
	return b.String()
}
