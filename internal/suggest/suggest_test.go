package suggest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/suggest"
	"github.com/segmill/segmill/schemas"
)

// What is suggested says who, what and when of records as shops send them, and is a rule
// file.
func TestMapping(t *testing.T) {
	for name, tt := range map[string]struct {
		records string
		want    []string
	}{
		"an order has its own id, and not that of its customer": {
			`{"order_no":"B-1","created_at":"2026-01-01T10:00:00Z","customer":{"id":4711},"total":{"amount":"19.90","currency":"EUR"},"items":[{"sku":"a","price":19.9,"qty":1}]}
			{"order_no":"B-2","created_at":"2026-01-01T11:00:00Z","customer":{"id":4712},"total":{"amount":"9.90","currency":"EUR"},"items":[]}`,
			[]string{
				"stream: purchase", "event_id: msg.order_no", "customer_id: msg.customer.id", "occurred_at: msg.created_at", "revenue: msg.total.amount #", "currency: msg.total.currency",
				`items: 'msg.items.map(i, {"product_id": i.sku, "price": i.price, "quantity": i.qty})'`,
			},
		},
		"an id is rather the customer than an address is": {
			`{"order":{"number":7},"at":"2026-01-01T10:00:00Z","buyer":{"id":1,"email":"a@example.com"},"lines":[{"product":{"id":3},"price":{"amount":5}}]}
			{"order":{"number":8},"at":"2026-01-01T10:00:00Z","buyer":{"id":2,"email":"b@example.com"},"lines":[]}`,
			[]string{
				"stream: purchase", "event_id: msg.order.number", "customer_id: msg.buyer.id", "occurred_at: msg.at",
				`items: 'msg.lines.map(i, {"product_id": i.product.id, "price": i.price.amount})'`,
			},
		},
		"German names, and amounts in cents": {
			`{"bestellung":{"nr":"B1","datum":"2026-01-01T10:00:00Z"},"kunde":{"kdnr":77},"gesamt_cents":1990,"waehrung":"EUR","status":"bezahlt","positionen":[{"artikelnr":"a","einzelpreis":19.9,"menge":1}]}`,
			[]string{
				"stream: purchase", "event_id: msg.bestellung.nr", "customer_id: msg.kunde.kdnr", "occurred_at: msg.bestellung.datum", "revenue: minor(msg.gesamt_cents, msg.waehrung) #", "# kind: ", "msg.status is one of bezahlt",
				`items: 'msg.positionen.map(i, {"product_id": i.artikelnr, "price": i.einzelpreis, "quantity": i.menge})'`,
			},
		},
		"several records of one order": {
			`{"order_id":1,"customer_id":5,"total":3,"ts":"2026-01-01T10:00:00Z"} {"order_id":1,"customer_id":5,"total":3,"ts":"2026-01-02T10:00:00Z"}`,
			[]string{"# Some records have the same event_id", "event_id: msg.order_id", "customer_id: msg.customer_id"},
		},
		"a time that every record has": {
			`{"id":"a","user_id":1,"made":"2026-01-01T10:00:00Z","updated_at":"2026-01-02T10:00:00Z"} {"id":"b","user_id":1,"made":"2026-01-01T10:00:00Z"}`,
			[]string{"event_id: msg.id", "occurred_at: msg.made"},
		},
		"nothing but a customer": {
			`{"customer":{"id":1}} {"customer":{"id":2}}`,
			[]string{"# Nothing shows which stream", "# event_id: nothing looks like it", "customer_id: msg.customer.id", "# occurred_at: nothing"},
		},
		"lists of records": {
			`[{"uuid":"u1","userId":"c","url":"https://example.com","timestamp":1767261600}]`,
			[]string{"stream: web", "each: msg", "event_id: it.uuid", "customer_id: it.userId", "occurred_at: it.timestamp"},
		},
		"names that are no words": {
			`{"event-id":"e1","user":{"e-mail":"a@example.com"},"in":{"date":"2026-01-01T10:00:00Z"}}`,
			[]string{`event_id: 'msg["event-id"]'`, `customer_id: 'msg.user["e-mail"]'`, `occurred_at: 'msg["in"].date'`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := suggest.Mapping(strings.NewReader(tt.records))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %s in\n%s", want, text)
				}
			}
			if strings.Contains(text, "nothing looks like it") {
				return
			}
			zones := func(string) (*time.Location, bool) { return time.UTC, true }
			if _, err := rule.Parse([]rule.File{{Name: "guess.yaml", Data: []byte(text)}}, schemas.Catalog(), nil, zones); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// What is no record is an error that names it.
func TestNoRecords(t *testing.T) {
	for text, want := range map[string]string{"": "no JSON object", `{"a":1} {`: "record 2 is no JSON"} {
		if _, err := suggest.Mapping(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
