package ruleset_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/fixture"
)

// History is needed by rules that read what was not kept, and by those that read them; not by
// rules that are unchanged, and have what they need.
func TestNeedHistory(t *testing.T) {
	before := fixture.NewEngine(t, `
version: 1
segments:
  - {id: recent, objective: a, owner: b, review_by: 2099-01-01, when: "did(purchase, days(2))"}
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) > 1"}
`).Plan()
	after := fixture.NewEngine(t, `
version: 1
segments:
  - {id: recent, objective: a, owner: b, review_by: 2099-01-01, when: "did(purchase, days(2))"}
  - {id: longer, objective: a, owner: b, review_by: 2099-01-01, when: "did(purchase, days(3))"}
  - {id: reader, objective: a, owner: b, review_by: 2099-01-01, when: 'in_segment("longer") || in_segment("buyer")'}
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) > 2"}
lifecycles:
  - id: life
    objective: a
    owner: b
    review_by: 2099-01-01
    stages:
      - {id: young, when: count(purchase) == 1}
      - {id: visiting, when: count(web) > 0}
triggers:
  - {id: cart, kind: abandoned_cart, after: 30m}
  - {id: many, kind: rule, when: count(purchase) > 7}
  - {id: seen, kind: rule, when: count(web) > 7}
`).Plan()
	got := fmt.Sprint(slices.Sorted(maps.Keys(ruleset.Of(before).To(after).NeedHistory(after))))
	if want := "[life/visiting life/young longer reader trigger:cart trigger:seen]"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
