package schemas

import (
	"testing"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

func catalogField(t *testing.T, s plan.Stream, name string) expr.Field {
	t.Helper()
	for _, f := range Catalog().Fields[s] {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("stream %v has no field %q", s, name)
	return expr.Field{}
}

func TestCatalogKinds(t *testing.T) {
	for _, tt := range []struct {
		stream   plan.Stream
		field    string
		kind     expr.Kind
		optional bool
	}{
		{plan.Web, "event_id", expr.String, false},
		{plan.Web, "occurred_at", expr.Time, false},
		{plan.Web, "received_at", expr.Time, true},
		{plan.Web, "value", expr.Decimal, true},
		{plan.Web, "items", expr.List, false},
		{plan.Web, "attributes", expr.String, false},
		{plan.Email, "machine_open", expr.Bool, false},
		{plan.Email, "action", expr.String, false},
		{plan.Purchase, "revenue", expr.Decimal, true},
		{plan.Profile, "birth_date", expr.Date, true},
		{plan.Consent, "state", expr.String, false},
	} {
		f := catalogField(t, tt.stream, tt.field)
		if f.Type.Kind != tt.kind || f.Type.Optional != tt.optional {
			t.Errorf("%v.%s: kind %v optional %v, want %v %v",
				tt.stream, tt.field, f.Type.Kind, f.Type.Optional, tt.kind, tt.optional)
		}
	}
}

func TestCatalogDetails(t *testing.T) {
	if f := catalogField(t, plan.Email, "action"); len(f.Type.Symbols) != 8 || f.Type.Symbols[3] != "opened" {
		t.Errorf("symbols of email.action: %q", f.Type.Symbols)
	}
	if f := catalogField(t, plan.Web, "name"); len(f.Type.Words) < 10 || len(f.Type.Symbols) != 0 {
		t.Errorf("words of web.name: %q", f.Type.Words)
	}
	if f := catalogField(t, plan.Profile, "traits"); !f.Type.Map {
		t.Error("profile.traits is not a map")
	}
	items := catalogField(t, plan.Purchase, "items").Type.Elem
	if items.Kind != expr.Record || len(items.Fields) != 11 {
		t.Fatalf("items of purchase.items: %+v", items)
	}
	if q := items.Fields[5]; q.Name != "quantity" || q.Type.Kind != expr.Int {
		t.Errorf("field 5 of an item is %s of kind %v", q.Name, q.Type.Kind)
	}
}
