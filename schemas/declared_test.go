package schemas

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// declaredCatalog has fields of each type in four streams, one of which is its own.
func declaredCatalog() *plan.Catalog {
	var fields []plan.OwnField
	for _, s := range []string{"profile", "web", "purchase", "support"} {
		for _, word := range plan.OwnTypes() {
			t, _ := plan.OwnType(word)
			fields = append(fields, plan.OwnField{Stream: s, Name: "a_" + word, Type: t})
		}
	}
	return Catalog().With([]plan.OwnStream{{Name: "support"}}, fields)
}

var declaredRegistry = &fakeRegistry{texts: map[int]string{}}

// declaredForms returns a line as records of its stream's topic in several formats.
func declaredForms(t *testing.T, line string) map[string]*Record {
	t.Helper()
	topic := line[strings.Index(line, `:"`)+2:]
	topic = topic[:strings.Index(topic, `"`)]
	plain := strings.Replace(line, `"stream":"`+topic+`",`, "", 1)
	schema, b := foreign(t, plain)
	id := len(declaredRegistry.texts) + 1
	declaredRegistry.texts[id] = schema
	avro := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), b...)
	return map[string]*Record{
		"json":       {Topic: topic, Value: []byte(plain)},
		"avro":       {Topic: topic, Value: avro},
		"cloudevent": {Topic: topic, Value: []byte(`{"specversion":"1.0","id":"x","source":"/s","type":"t","data":` + plain + `}`)},
	}
}

// declaredReader reads the fields, and one key of the free-form map, of every stream.
func declaredReader(t *testing.T, noted func(string, *Note)) *Reader {
	t.Helper()
	cat := declaredCatalog()
	layouts := map[plan.Stream]*plan.Layout{}
	for s := range plan.Stream(cat.Streams.Len()) {
		l := &plan.Layout{Stream: s}
		if s != plan.Email && s != plan.Consent {
			for _, word := range []string{"date", "list", "money", "number", "text", "time", "truth"} {
				l.Paths = append(l.Paths, "a_"+word)
			}
			free := "attributes.a_text"
			if s == plan.Profile {
				free = "traits.a_text"
			}
			l.Paths = append(l.Paths, free)
		}
		layouts[s] = l
	}
	r, err := NewReader(Config{
		Catalog: cat, Layouts: func(s plan.Stream) *plan.Layout { return layouts[s] }, Noted: noted, Registry: declaredRegistry,
		Topics: map[string]plan.Stream{"profile": plan.Profile, "web": plan.Web, "purchase": plan.Purchase, "support": plan.NumBuiltin},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// docs/semantics.md, 11.3: declared fields are read like those of the schema: from their own place, else from the
// free-form map, and the map's key goes on working.
func TestDeclaredFields(t *testing.T) {
	const own = `"a_text":"Paris","a_number":"12.5","a_money":-3,"a_date":"2026-03-01","a_time":"2026-03-01T12:00:00Z","a_truth":1,"a_list":["golf",7,"",null]`
	const want = "2026-03-01 [golf, 7] %MONEY 12.50 Paris 2026-03-01T12:00:00.000Z true %FREE"
	for name, c := range map[string]struct{ line, money, free string }{
		"profile":       {`"stream":"profile",` + own, "-3.00", "Paris"},
		"profile map":   {`"stream":"profile","traits":{` + own + `}`, "-3.00", "Paris"},
		"web":           {`"stream":"web","name":"x",` + own, "-3.00", "Paris"},
		"web map":       {`"stream":"web","name":"x","attributes":{` + own + `}`, "-3.00", "Paris"},
		"own":           {`"stream":"support",` + own, "-3.00", "Paris"},
		"own map":       {`"stream":"support","attributes":{` + own + `}`, "-3.00", "Paris"},
		"both, first":   {`"stream":"support",` + own + `,"attributes":{"a_text":"Rome","a_list":["x"]}`, "-3.00", "Rome"},
		"both, last":    {`"stream":"support","attributes":{"a_text":"Rome","a_list":["x"]},` + own, "-3.00", "Rome"},
		"money of back": {`"stream":"purchase","kind":"refunded","currency":"EUR",` + own, "3.00", "Paris"},
	} {
		r := declaredReader(t, func(_ string, n *Note) { t.Errorf("%s: %s of %s", name, n.Cause, n.Field) })
		want := strings.NewReplacer("%MONEY", c.money, "%FREE", c.free).Replace(want)
		check := func(form string, ev *engine.Event, err error) {
			var got []string
			for _, v := range ev.Fields {
				got = append(got, v.String())
			}
			if s := strings.Join(got, " "); err != nil || s != want {
				t.Errorf("%s, %s: %s, not %s; %v", name, form, s, want, err)
			}
		}
		line := `{` + c.line + `,"event_id":"e","customer_id":"c","occurred_at":1767225600000}`
		var ev engine.Event
		_, err := r.ReadJSONLine([]byte(line), &ev, nil)
		check("line", &ev, err)
		for form, rec := range declaredForms(t, line) {
			_, err := r.Read(rec, &ev)
			check(form, &ev, err)
		}
	}
}

// A Segment trait fills a declared field of the profile, and the key of its name.
func TestDeclaredTrait(t *testing.T) {
	r := declaredReader(t, nil)
	var ev engine.Event
	_, err := r.ReadJSONLine([]byte(`{"messageId":"m","type":"identify","userId":"c","timestamp":"2026-01-01T00:00:00Z","traits":{"a_text":"Paris","a_list":["golf"]}}`), &ev, nil)
	if err != nil || ev.Fields[4].S != "Paris" || ev.Fields[7].S != "Paris" || ev.Fields[1].String() != "[golf]" {
		t.Errorf("%v, %v", ev.Fields, err)
	}
}

// docs/semantics.md, 11.4 and 11.5: what cannot be read costs the field alone.
func TestDeclaredRefused(t *testing.T) {
	many := `["` + strings.Repeat(`a","`, 100) + `a"]`
	for field, value := range map[string]string{
		"a_number": `"12,5"`, "a_money": `"€3"`, "a_date": `"soon"`, "a_time": `"2026-03-01"`, "a_truth": `"maybe"`, "a_text": `{}`, "a_list": `"golf"`,
		"a_list ": many, "a_list  ": `["` + strings.Repeat("a", 257) + `"]`, "a_list   ": `[{}]`,
	} {
		notes := 0
		name := strings.TrimSpace(field)
		r := declaredReader(t, func(_ string, n *Note) {
			if notes++; n.Field != name {
				t.Errorf("%s: noted as %s", field, n.Field)
			}
		})
		line := `{"stream":"support","event_id":"e","customer_id":"c","occurred_at":1767225600000,"` + name + `":` + value + `}`
		for form, rec := range declaredForms(t, line) {
			notes = 0
			var ev engine.Event
			if _, err := r.Read(rec, &ev); err != nil || notes != 1 {
				t.Errorf("%s, %s: %d notes, %v", field, form, notes, err)
			}
			for i, v := range ev.Fields {
				if v.Present() {
					t.Errorf("%s, %s: slot %d is %v", field, form, i, v)
				}
			}
		}
	}
}

// A line may be of any stream that there is.
func TestDeclaredStreamName(t *testing.T) {
	r := declaredReader(t, nil)
	var ev engine.Event
	if _, err := r.ReadJSONLine([]byte(`{"stream":"nosuch","event_id":"e","customer_id":"c","occurred_at":1767225600000}`), &ev, nil); err == nil ||
		!strings.Contains(err.Error(), "consent, support") {
		t.Errorf("%v", err)
	}
}

// docs/semantics.md, 11.2: rates concern amounts of money, also of declared fields, and no numbers.
func TestNumbersAreNotConverted(t *testing.T) {
	rate, _ := expr.ParseRate("0.5")
	for currency, want := range map[string]string{"USD": "2.00 4.00", "CHF": " 4.00", "EUR": "4.00 4.00"} {
		cat := declaredCatalog()
		paths := []string{"a_money", "a_number", "currency"}
		r, err := NewReader(Config{
			Catalog: cat, Topics: map[string]plan.Stream{"purchase": plan.Purchase},
			Layouts: func(s plan.Stream) *plan.Layout {
				if s != plan.Purchase {
					return &plan.Layout{Stream: s}
				}
				return &plan.Layout{Stream: s, Paths: paths}
			},
			Reading: plan.Reading{Currency: "EUR", Rates: map[string]expr.Rate{"USD": rate}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, fields := range []string{`"a_money":4,"a_number":4`, `"attributes":{"a_money":4,"a_number":4}`} {
			var ev engine.Event
			_, err = r.Read(&Record{Topic: "purchase", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":1767225600000,"kind":"completed","currency":"` + currency + `",` + fields + `}`)}, &ev)
			if got := ev.Fields[0].String() + " " + ev.Fields[1].String(); err != nil || got != want {
				t.Errorf("%s, %s: %s, not %s; %v", currency, fields, got, want, err)
			}
		}
	}
}

// What a stream declares under the name of a field that orders and carts have is a field
// like any other.
func TestDeclaredNamesOfOrders(t *testing.T) {
	for _, word := range []string{"list", "text"} {
		items, _ := plan.OwnType(word)
		text, _ := plan.OwnType("text")
		cat := Catalog().With([]plan.OwnStream{{Name: "support"}}, []plan.OwnField{
			{Stream: "support", Name: "items", Type: items}, {Stream: "support", Name: "kind", Type: text}, {Stream: "support", Name: "revenue", Type: text},
		})
		r, err := NewReader(Config{
			Catalog: cat, Topics: map[string]plan.Stream{"support": plan.NumBuiltin},
			Layouts: func(s plan.Stream) *plan.Layout {
				if s < plan.NumBuiltin {
					return &plan.Layout{Stream: s}
				}
				return &plan.Layout{Stream: s, Paths: []string{"items", "kind", "revenue"}}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		value, want := `["a","b"]`, "[a, b]"
		if word == "text" {
			value, want = `"a"`, "a"
		}
		var ev engine.Event
		_, err = r.Read(&Record{Topic: "support", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":1767225600000,"items":` + value + `,"kind":"refunded","revenue":"-1"}`)}, &ev)
		if err != nil || ev.Fields[0].String() != want || ev.Fields[1].S != "refunded" || ev.Fields[2].S != "-1" {
			t.Errorf("%s: %v, %v", word, ev.Fields, err)
		}
	}
}

// The group of a Segment message is the trait group_id, declared or not.
func TestDeclaredGroup(t *testing.T) {
	text, _ := plan.OwnType("text")
	for _, paths := range [][]string{{"group_id"}, {"traits.group_id"}, {"group_id", "traits.group_id"}} {
		r, err := NewReader(Config{
			Catalog: Catalog().With(nil, []plan.OwnField{{Stream: "profile", Name: "group_id", Type: text}}),
			Layouts: func(s plan.Stream) *plan.Layout {
				if s != plan.Profile {
					return &plan.Layout{Stream: s}
				}
				return &plan.Layout{Stream: s, Paths: paths}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		var ev engine.Event
		_, err = r.ReadJSONLine([]byte(`{"messageId":"m","type":"group","userId":"c","groupId":"g","timestamp":"2026-01-01T00:00:00Z"}`), &ev, nil)
		for i, v := range ev.Fields {
			if err != nil || v.S != "g" {
				t.Errorf("%s is %v; %v", paths[i], v, err)
			}
		}
	}
}

// Records of an input that the rules leave out come where they were forwarded before: they are
// no events, and no bad input.
func TestNotReadIsSkipped(t *testing.T) {
	r, err := NewReader(Config{Layouts: func(plan.Stream) *plan.Layout { return &plan.Layout{} }, NotRead: []string{"helpdesk"}})
	if err != nil {
		t.Fatal(err)
	}
	var ev engine.Event
	what, err := r.Read(&Record{Topic: "helpdesk", Value: []byte("{"), Time: 7, Forwarded: true}, &ev)
	if err != nil || what != IsSkipped || ev.At != 7 {
		t.Errorf("%v, %v, %+v", what, err, ev)
	}
	if _, err := r.Read(&Record{Topic: "nosuch", Value: []byte("{")}, &ev); CauseOf(err) != CauseFormat {
		t.Errorf("%v", err)
	}
}
