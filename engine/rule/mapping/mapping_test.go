package mapping_test

import (
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
)

func zones(name string) (*time.Location, bool) {
	z, err := time.LoadLocation(name)
	return z, err == nil
}

func parse(text string) (*rule.Set, error) {
	return rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(text)}}, schemas.Catalog(), nil, zones)
}

const good = `version: 1
mappings:
  orders:
    stream: purchase
    each: msg.orders
    when: it.state != "draft"
    map: {event_id: 'id(msg.batch, it.id)', customer_id: it.customer.id, occurred_at: it.at, kind: '"completed"', revenue: it.total / 100}
`

// docs/semantics.md, 12.6: the version of a mapping is that of its meaning.
func TestVersions(t *testing.T) {
	version := func(text string) string {
		set, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return set.Spec.Mappings[0].Version(nil)
	}
	first := version(good)
	if same := version(strings.Replace(good, "it.total / 100", "(it.total/100)", 1)); same != first {
		t.Error("another layout is another version")
	}
	for _, change := range [][2]string{
		{"it.total / 100", "it.total"},
		{"msg.orders", "msg.order"},
		{`"draft"`, `"open"`},
		{"stream: purchase", "stream: purchase\n    strict: true"},
		{"stream: purchase", "stream: purchase\n    zone: Europe/Paris"},
		{"stream: purchase", `stream: purchase` + "\n    not_ids: [\"0\"]"},
		{"stream: purchase", "stream: purchase\n    nulls: clear"},
		{"stream: purchase", "stream: purchase\n    tombstone: erase"},
	} {
		if version(strings.Replace(good, change[0], change[1], 1)) == first {
			t.Errorf("%s is no other version", change[1])
		}
	}
}

// A mapping without a map takes no settings that would say nothing there.
func TestCanonical(t *testing.T) {
	for text, wrong := range map[string]bool{
		"{stream: web, zone: Europe/Paris, strict: true, not_ids: [x]}": false, "{stream: profile, tombstone: erase}": false,
		"{stream: web, tombstone: ignore}": false, "{stream: web, tombstone: erase}": true, "{stream: profile, tombstone: ignore}": true,
		"{stream: profile, nulls: clear}": true, "{stream: profile, key: key}": true, "{stream: web, each: msg}": true, "{preset: segment@1, tombstone: erase}": true,
	} {
		if _, err := parse("version: 1\nmappings:\n  m: " + text + "\n"); (err != nil) != wrong {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Objects of fields that take any member, and those in the members of others, can have any.
func TestMembers(t *testing.T) {
	for _, field := range []string{
		`attributes: '{"anything": it.x}'`,
		`items: 'it.lines.map(i, {"product_id": i.id, "amount": i.weight})'`,
		`items: 'it.lines.filter(i, i.kind != "fee").map(i, {"product_id": id(i.id, {"a": i.b}.a)})'`,
	} {
		if _, err := parse(strings.Replace(good, "revenue: it.total / 100", field, 1)); err != nil {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// What can be wrong before a record is there is an error with place and remedy.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ from, to, want, hint string }{
		{"stream: purchase", "", `the mapping "orders" has no stream`, "add stream:"},
		{"stream: purchase", "stream: purchases", `no stream "purchases"`, `did you mean "purchase"?`},
		{"revenue:", "revenu:", `purchase has no field "revenu"`, `did you mean "revenue"?`},
		{"revenue:", "color:", `purchase has no field "color"`, "declare it: fields: {purchase: {color: text}}"},
		{"'id(msg.batch, it.id)'", "msg.batch", "all elements of each would have the same event_id", "id(msg.id, it.id)"},
		{"event_id: 'id(msg.batch, it.id)', ", "", "gives events no event_id", "for example event_id: msg.id"},
		{"occurred_at: it.at, ", "", "gives events no occurred_at", "record.time"},
		{"customer_id: it.customer.id, ", "", "gives events no customer_id", "customer_id: key"},
		{"it.total / 100", "mgs.total", `unknown name "mgs"`, "write msg.mgs"},
		{"it.total / 100", "web", `unknown name "web"`, `write msg.web for a member of the record, '"web"' for the text web`},
		{"it.total / 100", "$.total.sum", "$ is no name: the record is msg", "write msg.total.sum"},
		{"revenue: it.total / 100", `items: 'it.lines.map(i, {"product_id": i.id, "prise": i.p})'`, `items have no "prise"`, `did you mean "price"?`},
		{"it.total / 100", "it.total +", "the expression ends unexpectedly", ""},
		{"it.total / 100", "cents(it.total)", "a mapping has no function cents", "one of:"},
		{"it.total / 100", "minor(it.total)", "minor does not take such values, or not as many", "minor(msg.amount, msg.currency)"},
		{"it.total / 100", "'it.total == null'", "null is no value", "has(msg.name)"},
		{`it.state != "draft"`, `it.state = "draft"`, `unexpected "="`, "write == to compare"},
		{`it.state != "draft"`, `'"open" && it.x'`, "&&, || and ! need conditions", "compare it"},
		{"    each: msg.orders\n    when: it.state != \"draft\"\n", "", "it is an element of each, and this mapping has no each", "add each:"},
		{"stream: purchase", "stream: purchase\n    zone: Mars/Base", `unknown time zone "Mars/Base"`, "IANA"},
		{"stream: purchase", "stream: purchase\n    nulls: drop", `nulls cannot be "drop"`, "clear, keep"},
		{"stream: purchase", "stream: purchase\n    key: json(key).id", "key says whom a record without a value erases", "tombstone: erase"},
		{"stream: purchase", "preset: shopify/order@1\n    stream: purchase", `no preset "shopify/order@1"`, ""},
		{"stream: purchase", "stream: purchase\n    colour: red", `unknown key "colour"`, ""},
	} {
		text := strings.Replace(good, tt.from, tt.to, 1)
		if text == good {
			t.Fatalf("%q is not in the mapping", tt.from)
		}
		_, err := parse(text)
		if err == nil {
			t.Errorf("%s -> %s is accepted", tt.from, tt.to)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.hint) || !strings.HasPrefix(err.Error(), "rules.yaml:") {
			t.Errorf("%s -> %s:\n%v\nwant %s (%s)", tt.from, tt.to, err, tt.want, tt.hint)
		}
	}
}
