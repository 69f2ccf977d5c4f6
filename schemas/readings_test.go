package schemas

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
)

// reading is a row of the table of readings.
type reading struct {
	line       int
	kind       string
	settings   Settings
	comes, is  string
	inTopic    plan.Stream
	path       string
	members    string                     // of the event beside its head, with %s for what comes
	segment    string                     // a message, with %s; "" if Segment has no such field
	show       func(*engine.Event) string // nil: the value at the path
	headFields map[string]string          // members of the head that the row is about; "" leaves one out
}

// kinds are the kinds of the table.
var kinds = map[string]reading{
	"customer": {
		inTopic: plan.Web, headFields: map[string]string{"customer_id": "%s"}, members: `"name":"n"`,
		segment: `"type":"page","userId":%s`, show: func(ev *engine.Event) string { return ev.Customer },
	},
	"visitor": {
		inTopic: plan.Web, headFields: map[string]string{"customer_id": "", "anonymous_id": "%s"}, members: `"name":"n"`,
		segment: `"type":"page","userId":null,"anonymousId":%s`, show: func(ev *engine.Event) string { return ev.Customer },
	},
	"guest": { // the anonymous id of somebody who is known
		inTopic: plan.Web, headFields: map[string]string{"anonymous_id": "%s"}, members: `"name":"n"`,
		segment: `"type":"page","anonymousId":%s`, show: func(*engine.Event) string { return "" },
	},
	"event": {
		inTopic: plan.Web, headFields: map[string]string{"event_id": "%s"}, members: `"name":"n"`,
		segment: `"type":"page","messageId":%s`, show: func(ev *engine.Event) string { return ev.ID },
	},
	"time": {
		inTopic: plan.Web, headFields: map[string]string{"occurred_at": "%s"}, members: `"name":"n"`,
		segment: `"type":"page","timestamp":%s`, show: func(ev *engine.Event) string { return ev.At.String() },
	},
	"text":         {inTopic: plan.Purchase, path: "channel", members: `"channel":%s`, segment: `"type":"track","event":"Order Completed","properties":{"channel":%s}`},
	"reference":    {inTopic: plan.Purchase, path: "order_id", members: `"order_id":%s`, segment: `"type":"track","event":"Order Completed","properties":{"order_id":%s}`},
	"attribute":    {inTopic: plan.Profile, path: "country", members: `"country":%s`, segment: `"type":"identify","traits":{"country":%s}`},
	"free":         {inTopic: plan.Web, path: "attributes.plan", members: `"name":"n","attributes":{"plan":%s}`},
	"trait":        {inTopic: plan.Profile, path: "traits.plan", members: `"traits":{"plan":%s}`, segment: `"type":"identify","traits":{"plan":%s}`},
	"nested":       {inTopic: plan.Profile, path: "traits.address.city", members: `"traits":{"address":%s}`, segment: `"type":"identify","traits":{"address":%s}`},
	"money":        {inTopic: plan.Purchase, path: "revenue", members: `"revenue":%s`, segment: `"type":"track","event":"Order Completed","properties":{"revenue":%s}`},
	"refund":       {inTopic: plan.Purchase, path: "revenue", members: `"revenue":%s,"kind":"refunded"`, segment: `"type":"track","event":"Order Refunded","properties":{"revenue":%s}`},
	"cancellation": {inTopic: plan.Purchase, path: "revenue", members: `"kind":"canceled","revenue":%s`, segment: `"type":"track","event":"Order Cancelled","properties":{"revenue":%s}`},
	"worth":        {inTopic: plan.Web, path: "value", members: `"name":"n","value":%s`, segment: `"type":"track","event":"N","properties":{"value":%s}`},
	"quantity": {
		inTopic: plan.Web, members: `"name":"product_added","items":[{"product_id":"p","quantity":%s}]`, show: quantityOf,
		segment: `"type":"track","event":"Product Added","properties":{"products":[{"product_id":"p","quantity":%s}]}`,
	},
	"removal": {
		inTopic: plan.Web, members: `"items":[{"product_id":"p","quantity":%s}],"name":"product_removed"`, show: quantityOf,
		segment: `"type":"track","event":"Product Removed","properties":{"products":[{"product_id":"p","quantity":%s}]}`,
	},
	"item": {
		inTopic: plan.Web, members: `"name":"n","items":[%s]`, show: itemOf,
		segment: `"type":"track","event":"N","properties":{"products":[%s]}`,
	},
	"own": {inTopic: plan.Web, members: `"name":"product_added",%s`, segment: `"type":"track","event":"Product Added","properties":{%s}`, show: itemOf},
	"lines": {
		inTopic: plan.Web, members: `"name":"n","items":%s`, show: itemOf,
		segment: `"type":"track","event":"N","properties":{"products":%s}`,
	},
	"since":   {inTopic: plan.Profile, path: "signed_up_at", members: `"signed_up_at":%s`, segment: `"type":"identify","traits":{"createdAt":%s}`},
	"date":    {inTopic: plan.Profile, path: "birth_date", members: `"birth_date":%s`, segment: `"type":"identify","traits":{"birthday":%s}`},
	"zone":    {inTopic: plan.Profile, path: "time_zone", members: `"time_zone":%s`, segment: `"type":"identify","traits":{"timezone":%s}`},
	"truth":   {inTopic: plan.Email, path: "machine_open", members: `"action":"opened","machine_open":%s`, segment: `"type":"track","event":"Email Opened","properties":{"machine_open":%s}`},
	"kind":    {inTopic: plan.Purchase, path: "kind", members: `"kind":%s`},
	"action":  {inTopic: plan.Email, path: "action", members: `"action":%s`},
	"channel": {inTopic: plan.Consent, path: "channel", members: `"channel":%s`},
	"state":   {inTopic: plan.Consent, path: "state", members: `"state":%s`},
	"amount":  {inTopic: plan.Purchase, members: `%s`, show: amountsOf},
	"cart": {
		inTopic: plan.Web, members: `"name":"n",%s`, segment: `"type":"track","event":"N","properties":{%s}`, show: amountsOf,
	},
	"order": {inTopic: plan.Purchase, path: "revenue", members: `%s`},
}

func init() {
	kinds["fraction"], kinds["less"] = kinds["quantity"], kinds["removal"]
}

// itemOf shows the items of an event: the product, the quantity, and the price if there
// is one.
func itemOf(ev *engine.Event) string {
	var l []string
	for _, it := range slotOf(ev, "items").L {
		s := it.L[0].S + " " + quantityText(it)
		if p := lineField(it, "price"); p.Present() {
			s += " " + p.String()
		}
		l = append(l, s)
	}
	return strings.Join(l, ", ")
}

// amountsOf shows what is money of an event: the amount, the price of each item, and the
// currency.
func amountsOf(ev *engine.Event) string {
	amount, l := "value", []string{}
	if ev.Stream == plan.Purchase {
		amount = "revenue"
	}
	if v := slotOf(ev, amount); v.Present() {
		l = append(l, v.String())
	}
	for _, it := range slotOf(ev, "items").L {
		l = append(l, quantityText(it)+"x"+lineField(it, "price").String())
	}
	return strings.Join(append(l, slotOf(ev, "currency").S), " ")
}

// quantityOf shows the quantity of the first item of an event.
func quantityOf(ev *engine.Event) string {
	l := slotOf(ev, "items").L
	if len(l) == 0 {
		return ""
	}
	return quantityText(l[0])
}

func quantityText(item expr.Value) string {
	if a := lineField(item, "amount"); a.Present() {
		text := a.String()
		if strings.Contains(text, ".") {
			text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
		}
		return text
	}
	return lineField(item, "quantity").String()
}

// lineField returns a field of an item.
func lineField(item expr.Value, name string) expr.Value {
	for _, f := range Catalog().Fields[plan.Web] {
		if f.Name == "items" {
			if i := slices.IndexFunc(f.Type.Elem.Fields, func(f expr.Field) bool { return f.Name == name }); i >= 0 {
				return item.L[i]
			}
		}
	}
	return expr.Value{}
}

// slotOf returns the value of a path of an event that readingReader has read.
func slotOf(ev *engine.Event, path string) expr.Value {
	i := slices.Index(readingPaths(ev.Stream), path)
	return ev.Fields[i]
}

// readingPaths are the paths that are read of a stream.
func readingPaths(s plan.Stream) []string {
	paths := append(slices.Clone(allLayouts()[s].Paths), map[plan.Stream][]string{plan.Profile: {"traits.address.city"}, plan.Web: {"attributes.address.city"}}[s]...)
	for _, f := range readingCatalog().Fields[s] {
		if f.Type.Own != "" {
			paths = append(paths, f.Name)
		}
	}
	return paths
}

// readingCatalog has a declared field of each type, of the profile and of the web.
func readingCatalog() *plan.Catalog {
	var fields []plan.OwnField
	for _, word := range plan.OwnTypes() {
		t, _ := plan.OwnType(word)
		fields = append(fields, plan.OwnField{Stream: "profile", Name: "my_" + word, Type: t}, plan.OwnField{Stream: "web", Name: "my_" + word, Type: t})
	}
	return Catalog().With(nil, fields)
}

func init() {
	for _, word := range plan.OwnTypes() {
		name := "my_" + word
		kinds[name] = reading{
			inTopic: plan.Profile, path: name, members: fmt.Sprintf(`%q:%%s`, name), segment: fmt.Sprintf(`"type":"identify","traits":{%q:%%s}`, name),
		}
		kinds[name+"_trait"] = reading{inTopic: plan.Profile, path: name, members: fmt.Sprintf(`"traits":{%q:%%s}`, name)}
		kinds[name+"_event"] = reading{
			inTopic: plan.Web, path: name, members: fmt.Sprintf(`"name":"n",%q:%%s`, name), segment: fmt.Sprintf(`"type":"track","event":"N","properties":{%q:%%s}`, name),
		}
		kinds[name+"_attribute"] = reading{inTopic: plan.Web, path: name, members: fmt.Sprintf(`"name":"n","attributes":{%q:%%s}`, name)}
	}
	kinds["both"] = reading{inTopic: plan.Profile, path: "my_text", members: `%s`}
}

// table reads the table of readings.
func table(t testing.TB) (rows []reading) {
	b, err := os.ReadFile("testdata/readings.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(string(b), "\n") {
		if l == "" || l[0] == '#' {
			continue
		}
		cols := strings.Split(l, "\t")
		if len(cols) != 3 {
			t.Fatalf("line %d has %d columns", i+1, len(cols))
		}
		name, settings, _ := strings.Cut(cols[0], " ")
		row, ok := kinds[name]
		if !ok {
			t.Fatalf("line %d: no kind %q", i+1, name)
		}
		row.line, row.kind, row.comes, row.is = i+1, name, strings.ReplaceAll(cols[1], `\xff`, "\xff"), cols[2]
		row.settings = *DefaultSettings()
		for _, s := range strings.Fields(settings) {
			k, v, _ := strings.Cut(s, "=")
			switch k {
			case "zone":
				row.settings.Zone, err = time.LoadLocation(v)
			case "strict":
				row.settings.Strict = true
			case "not_ids":
				row.settings.NotIDs = []string{v}
			case "currency":
				row.settings.Currency = v
			case "rate":
				code, rate, _ := strings.Cut(v, ":")
				if row.settings.Rates == nil {
					row.settings.Rates = map[string]expr.Rate{}
				}
				row.settings.Rates[code], _ = expr.ParseRate(rate)
			case "earliest":
				var at time.Time
				at, err = time.Parse(time.DateOnly, v)
				row.settings.Earliest = expr.MillisOf(at)
			default:
				t.Fatalf("line %d: no setting %q", i+1, k)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// filled puts what comes in its place.
func (row *reading) filled(text string) string {
	comes := row.comes
	if strings.Contains(row.members, ",%s") || row.members == "%s" || strings.Contains(row.segment, "{%s}") {
		comes = strings.TrimSuffix(strings.TrimPrefix(comes, "{"), "}")
	}
	return strings.Replace(text, "%s", comes, 1)
}

// canonical returns the row as JSON with our names.
func (row *reading) canonical() string {
	head := map[string]string{"event_id": `"e"`, "customer_id": `"c"`, "occurred_at": `"2026-03-01T12:00:00Z"`}
	maps.Copy(head, row.headFields)
	var l []string
	for _, k := range slices.Sorted(maps.Keys(head)) {
		if head[k] != "" {
			l = append(l, fmt.Sprintf("%q:%s", k, row.filled(head[k])))
		}
	}
	if m := row.filled(row.members); m != "" {
		l = append(l, m)
	}
	return "{" + strings.Join(l, ",") + "}"
}

// message returns the row as a message of Segment, "" if that has no such field.
func (row *reading) message() string {
	if row.segment == "" {
		return ""
	}
	m := row.filled(row.segment)
	for key, value := range map[string]string{"messageId": `"m"`, "userId": `"u"`, "timestamp": `"2026-03-01T12:00:00Z"`} {
		if !strings.Contains(m, `"`+key+`"`) {
			m = fmt.Sprintf("%q:%s,", key, value) + m
		}
	}
	m = strings.ReplaceAll(m, `"items"`, `"products"`)
	return "{" + m + "}"
}

// avroOf returns a schema for a value of JSON, and the value as goavro takes it.
func avroOf(v any, n *int) (schema, native any) {
	*n++
	name := fmt.Sprint("T", *n)
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return "boolean", v
	case string:
		return "string", strings.ReplaceAll(v, "\ufffd", "\xff")
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return "long", i
		}
		if !strings.ContainsAny(v.String(), ".eE") {
			s := map[string]any{"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 0}
			r, _ := new(big.Rat).SetString(v.String())
			return s, r
		}
		if f, _ := v.Float64(); strconv.FormatFloat(f, 'f', -1, 64) == v.String() || strings.ContainsAny(v.String(), "eE") {
			return "double", f
		}
		r, _ := new(big.Rat).SetString(v.String())
		_, part, _ := strings.Cut(v.String(), ".")
		return map[string]any{"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": len(part)}, r
	case []any:
		var union []any
		items := []any{}
		for _, x := range v {
			s, native := avroOf(x, n)
			branch := branchOf(s)
			if !slices.ContainsFunc(union, func(u any) bool { return branchOf(u) == branch }) {
				union = append(union, s)
			}
			if native != nil {
				native = map[string]any{branch: native}
			}
			items = append(items, native)
		}
		if len(union) == 0 {
			union = []any{"string"}
		}
		return map[string]any{"type": "array", "items": union}, items
	}
	fields, values := []any{}, map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(v.(map[string]any))) {
		s, native := avroOf(v.(map[string]any)[k], n)
		if k == "$date" {
			k = "date"
		}
		fields = append(fields, map[string]any{"name": k, "type": s})
		values[k] = native
	}
	return map[string]any{"type": "record", "name": name, "fields": fields}, values
}

// branchOf returns the name of a type as a branch of a union.
func branchOf(s any) string {
	m, ok := s.(map[string]any)
	switch {
	case !ok:
		return s.(string)
	case m["type"] == "record":
		return m["name"].(string)
	case m["logicalType"] != nil:
		return "bytes.decimal"
	}
	return m["type"].(string)
}

// foreign returns JSON as Avro with a schema that was made up for it.
func foreign(t *testing.T, text string) (schema string, b []byte) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	n := 0
	s, native := avroOf(v, &n)
	js, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := goavro.NewCodec(string(js))
	if err != nil {
		t.Fatalf("%v\n%s", err, js)
	}
	if b, err = codec.BinaryFromNative(nil, native); err != nil {
		t.Fatalf("%v\n%s\n%v", err, js, native)
	}
	return string(js), b
}

// hasAmount reports whether items have their quantity in fractions.
func hasAmount() bool {
	for _, f := range Catalog().Fields[plan.Web] {
		if f.Name == "items" {
			return slices.ContainsFunc(f.Type.Elem.Fields, func(f expr.Field) bool { return f.Name == "amount" })
		}
	}
	return false
}

// rowReader reads rows of some settings.
type rowReader struct {
	*Reader
	reg   *fakeRegistry
	notes []Note
}

func newRowReader(t *testing.T, settings *Settings) *rowReader {
	t.Helper()
	rr := &rowReader{reg: &fakeRegistry{texts: map[int]string{}}}
	all := map[string]*Settings{}
	for topic := range topics {
		all[topic] = settings
	}
	var err error
	rr.Reader, err = NewReader(Config{
		Catalog: readingCatalog(),
		Layouts: func(s plan.Stream) *plan.Layout { return &plan.Layout{Stream: s, Paths: readingPaths(s)} },
		Topics:  topics, Registry: rr.reg, Settings: all,
		Zones:   func(name string) bool { return name == "Europe/Berlin" },
		Reading: plan.Reading{Currency: settings.Currency, Rates: settings.Rates},
		Noted:   func(_ string, n *Note) { rr.notes = append(rr.notes, *n) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// read reads a record as the row says, and returns what it is.
func (row *reading) read(rr *rowReader, rec *Record) string {
	rr.notes = nil
	var ev engine.Event
	if _, err := rr.Read(rec, &ev); err != nil {
		return "dead " + string(CauseOf(err))
	}
	is := ""
	switch {
	case row.show != nil:
		is = row.show(&ev)
	case slotOf(&ev, row.path).K == expr.String && slotOf(&ev, row.path).S == "":
		is = "cleared"
	default:
		is = slotOf(&ev, row.path).String()
	}
	var said []string
	for _, n := range rr.notes {
		switch n.Kind {
		case bad.Refused:
			said = append(said, "refused "+string(n.Cause))
		case bad.Unknown:
			said = append(said, "unknown")
		case bad.LeftOut:
			said = append(said, "left out")
		case bad.NoRate:
			said = append(said, "no rate of "+n.Field)
		case bad.Derived:
			is += " from " + n.Field
		default: // no row is about it
		}
	}
	said = slices.Compact(said)
	if is == "unknown" && len(said) == 0 {
		is = "is unknown"
	}
	switch row.kind {
	case "amount", "cart":
		return strings.TrimSpace(strings.Join(append([]string{is}, said...), ", "))
	case "order":
		if is == "" && (len(said) == 0 || said[0] != "refused range") {
			is = "absent"
		}
		return strings.TrimPrefix(strings.Join(append([]string{is}, said...), ", "), ", ")
	case "item", "own", "lines", "quantity", "fraction", "less":
		said = slices.DeleteFunc(said, func(s string) bool { return s != "left out" && row.kind != "lines" })
		if is != "" {
			return is
		}
	}
	switch {
	case len(said) > 0:
		return said[0]
	case is == "":
		return "absent"
	}
	return is
}

// docs/semantics.md, 10.6: a value means the same in every format; 11.3: a declared field
// has the value under its name, else of the map; 11.5: what a list holds.
func TestReadings(t *testing.T) {
	readers := map[string]*rowReader{}
	for _, row := range table(t) {
		if (row.kind == "fraction" || row.kind == "less") && !hasAmount() {
			continue
		}
		key := fmt.Sprint(row.settings)
		if readers[key] == nil {
			readers[key] = newRowReader(t, &row.settings)
		}
		rr := readers[key]
		for name, rec := range row.forms(t, rr.reg) {
			if got := row.read(rr, rec); got != row.is {
				t.Errorf("line %d, %s: %s %s is %q, want %q", row.line, name, row.kind, row.comes, got, row.is)
			}
		}
	}
}
