package rule

import (
	"slices"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/triggers"
)

// testKinds are the kinds of triggers that the files of these tests speak of, and no
// more: errors list them all.
func testKinds() []*plan.Kind {
	names := []string{"abandoned_cart", "inactivity", "anniversary", "rule", "behaviour_change", "lifecycle"}
	return slices.DeleteFunc(triggers.Kinds(), func(k *plan.Kind) bool { return !slices.Contains(names, k.Name) })
}

// testCatalog has the fields that the project's own schemas have.
func testCatalog() *plan.Catalog {
	text, maybeText := expr.Type{Kind: expr.String}, expr.Type{Kind: expr.String, Optional: true}
	money, maybeMoney := expr.Type{Kind: expr.Decimal}, expr.Type{Kind: expr.Decimal, Optional: true}
	at, maybeAt := expr.Type{Kind: expr.Time}, expr.Type{Kind: expr.Time, Optional: true}
	attributes := expr.Type{Kind: expr.String, Map: true}
	enum := func(symbols ...string) expr.Type { return expr.Type{Kind: expr.String, Symbols: symbols} }
	items := expr.Type{Kind: expr.List, Elem: &expr.Type{Kind: expr.Record, Fields: []expr.Field{
		{Name: "product_id", Type: text},
		{Name: "sku", Type: maybeText},
		{Name: "name", Type: maybeText},
		{Name: "category", Type: maybeText},
		{Name: "brand", Type: maybeText},
		{Name: "quantity", Type: expr.Type{Kind: expr.Int}},
		{Name: "price", Type: maybeMoney},
	}}}
	head := []expr.Field{
		{Name: "event_id", Type: text},
		{Name: "customer_id", Type: maybeText},
		{Name: "anonymous_id", Type: maybeText},
		{Name: "occurred_at", Type: at},
		{Name: "received_at", Type: maybeAt},
		{Name: "source", Type: text},
	}
	stream := func(fields ...expr.Field) []expr.Field { return append(head[:len(head):len(head)], fields...) }
	c := &plan.Catalog{Fields: make([][]expr.Field, plan.NumBuiltin)}
	c.Fields[plan.Web] = stream(
		expr.Field{Name: "name", Type: expr.Type{Kind: expr.String, Words: []string{"page_viewed", "product_viewed", "product_added", "product_removed", "cart_viewed", "checkout_started", "signed_up"}}},
		expr.Field{Name: "session_id", Type: maybeText}, expr.Field{Name: "url", Type: maybeText}, expr.Field{Name: "referrer", Type: maybeText},
		expr.Field{Name: "utm_campaign", Type: maybeText}, expr.Field{Name: "value", Type: maybeMoney}, expr.Field{Name: "currency", Type: maybeText},
		expr.Field{Name: "items", Type: items}, expr.Field{Name: "attributes", Type: attributes},
	)
	c.Fields[plan.Email] = stream(
		expr.Field{Name: "action", Type: enum("unknown", "sent", "delivered", "opened", "clicked", "bounced", "complained", "unsubscribed")},
		expr.Field{Name: "campaign_id", Type: text}, expr.Field{Name: "link_url", Type: maybeText},
		expr.Field{Name: "machine_open", Type: expr.Type{Kind: expr.Bool}}, expr.Field{Name: "attributes", Type: attributes},
	)
	c.Fields[plan.Purchase] = stream(
		expr.Field{Name: "kind", Type: enum("unknown", "completed", "refunded", "cancelled")}, expr.Field{Name: "order_id", Type: text},
		expr.Field{Name: "revenue", Type: money}, expr.Field{Name: "total", Type: maybeMoney}, expr.Field{Name: "discount", Type: maybeMoney},
		expr.Field{Name: "currency", Type: text}, expr.Field{Name: "coupon", Type: maybeText}, expr.Field{Name: "channel", Type: maybeText},
		expr.Field{Name: "items", Type: items}, expr.Field{Name: "attributes", Type: attributes},
	)
	c.Fields[plan.Profile] = stream(
		expr.Field{Name: "signed_up_at", Type: maybeAt}, expr.Field{Name: "birth_date", Type: expr.Type{Kind: expr.Date, Optional: true}},
		expr.Field{Name: "country", Type: maybeText}, expr.Field{Name: "time_zone", Type: maybeText}, expr.Field{Name: "language", Type: maybeText},
		expr.Field{Name: "acquisition_source", Type: maybeText}, expr.Field{Name: "traits", Type: attributes},
	)
	c.Fields[plan.Consent] = stream(
		expr.Field{Name: "channel", Type: enum("unknown", "email", "sms", "push", "ads", "post")},
		expr.Field{Name: "purpose", Type: text}, expr.Field{Name: "state", Type: enum("unknown", "granted", "denied", "withdrawn")},
	)
	return c
}

// testZones are those of Go's database, but for the zone of the machine.
func testZones(name string) (*time.Location, bool) {
	if name == "" || name == "Local" {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}
