package docs

import (
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// TestFieldTable: rules.md lists the fields of all streams, with their types and values, as the
// catalog has them.
func TestFieldTable(t *testing.T) {
	want := fieldTable(schemas.Catalog())
	if !strings.Contains(read(t, "rules.md"), want) {
		t.Errorf("rules.md does not have this table:\n%s", want)
	}
}

func fieldTable(cat *plan.Catalog) string {
	var b strings.Builder
	b.WriteString("| stream | field | type | values |\n| --- | --- | --- | --- |\n")
	var lines []expr.Field
	for _, f := range cat.Fields[0] {
		if slices.Contains(plan.CommonFields, f.Name) && !f.Type.Map {
			b.WriteString(fieldRow("all streams", f))
		}
	}
	for s, info := range cat.Streams.All() {
		for _, f := range cat.Fields[s] {
			if slices.Contains(plan.CommonFields, f.Name) && !f.Type.Map {
				continue
			}
			b.WriteString(fieldRow("`"+info.Name+"`", f))
			if f.Type.Elem != nil && f.Type.Elem.Kind == expr.Record {
				lines = f.Type.Elem.Fields
			}
		}
	}
	for _, f := range lines {
		b.WriteString(fieldRow("a line of `items`", f))
	}
	return b.String()
}

func fieldRow(of string, f expr.Field) string {
	kind := map[expr.Kind]string{
		expr.Bool: "truth", expr.Int: "whole number", expr.Double: "number", expr.String: "text", expr.Time: "time", expr.Date: "date", expr.List: "list",
	}[f.Type.Kind]
	values := ""
	switch {
	case f.Type.Map:
		kind = "text by name"
	case f.Name == "amount": // of a line, a quantity with decimal places
		kind = "number"
	case f.Type.Kind == expr.Decimal:
		kind = "money"
	case f.Type.Kind == expr.List:
		kind = "list of lines"
	case f.Type.Symbols != nil:
		values = "one of " + quotedAll(f.Type.Symbols)
	case f.Type.Words != nil:
		values = "usually one of " + quotedAll(f.Type.Words)
	}
	if f.Type.Optional {
		kind += ", can be absent"
	}
	return strings.TrimSpace("| "+of+" | `"+f.Name+"` | "+kind+" | "+values) + " |\n"
}

func quotedAll(names []string) string {
	return "`" + strings.Join(names, "`, `") + "`"
}
