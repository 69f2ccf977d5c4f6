package replay

import (
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/schemas"
)

// Members whose names are near those of fields are counted, and no others.
func TestMembers(t *testing.T) {
	f, out := newFile(t, rules)
	f.Members = NewMembers(schemas.Catalog())
	const rest = `"customer_id":"c","occurred_at":"2026-01-01T10:00:00Z"`
	_, err := f.Run(lines(
		`{"stream":"purchase","event_id":"1",`+rest+`,"revenu":200,"items":[{"product_id":"a","pr\u0069ze":1},{"product_id":"b","prize":2}]}`,
		`{"revenu":200,"event_id":"2",`+rest+`,"stream":"purchase"}`,
		`{"stream":"purchase","event_id":"3",`+rest+`,"revenue":"\"revenu\":","revenues":9,"tags":["revenu"],"extra":{"revenu":1},"attributes":{"revenu":"1"}}`,
		`{"type":"track","event":"Order Completed","messageId":"4","userId":"c","timestamp":"2026-01-01T10:00:00Z","properties":{"revenu":1},"revenu":1}`,
		`{"stream":"web","event_id":"5",`+rest+`,"name":"x","revenu":1}`,
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`purchase: 2 × unknown member "revenu", did you mean "revenue"?`, `purchase: 2 × unknown member "items.prize", did you mean "price"?`}
	if got := f.Members.Lines(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\n%s", strings.Join(got, "\n"), out)
	}
}

// An event with the word of rule tests for its customer says which word is meant.
func TestCustomer(t *testing.T) {
	f, out := newFile(t, rules)
	if _, err := f.Run(lines(`{"stream":"web","event_id":"1","customer":"anna","occurred_at":"2026-01-01T10:00:00Z","name":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "write customer_id; customer is the word of tests of rules") {
		t.Error(out)
	}
}
