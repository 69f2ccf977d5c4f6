package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Versions are stored and sent: a rule that means what it meant has the version
// that it had.
func TestVersionsStay(t *testing.T) {
	e := testEngine(t, `version: 1
defaults: {feb_29: mar_1}
segments:
  - {id: s, objective: o, owner: w, review_by: 2027-06-01, when: 'count(purchase, days(3)) > 1'}
triggers:
  - {id: cart, kind: abandoned_cart}
  - {id: cart_once, kind: abandoned_cart, after: 1h30m, reentry: once}
  - {id: silent, kind: inactivity, after: 45d}
  - {id: silent_here, kind: inactivity, after: 3h, streams: [purchase, email]}
  - {id: birthday, kind: anniversary, date: profile.birth_date}
  - {id: birthday_28, kind: anniversary, date: profile.birth_date, feb_29: feb_28, at: "08:30", offset: -7d, reentry: once}
  - {id: first_order, kind: anniversary, date: first(purchase), offset: 2w}
  - {id: big, kind: rule, when: last(purchase.revenue) > 1000, fields: {b: last(purchase.revenue), a: "'x'"}}
`)
	want := map[string]string{
		"defaults:feb_29":     "mar_1",
		"defaults:timezone":   "UTC",
		"s":                   "5988ba8d8a985988",
		"trigger:big":         "22cbe276f299673e",
		"trigger:birthday":    "a5495758e4beb759",
		"trigger:birthday_28": "d86713657e3b8c4a",
		"trigger:cart":        "8252c821438f656b",
		"trigger:cart_once":   "8cfd6e51c8752ced",
		"trigger:first_order": "52dfed212fd7d28f",
		"trigger:silent":      "fc7c318d979535cc",
		"trigger:silent_here": "d065fe368ef19066",
	}
	if d := cmp.Diff(want, e.Versions()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
