package rule

import (
	"testing"

	"github.com/segmill/segmill/engine/expr"
)

// TestDefines: a definition stands for its expression wherever that could stand.
func TestDefines(t *testing.T) {
	const defines = `
define:
  twice: once * 2
  once: count(web, week)
  week: days(7)
  markets: '["FR", "DE"]'
  cheap: purchase.items.exists(i, i.price < 5)
  first_line: purchase.items[0]
  campaign: web.utm_campaign
  pattern: '"^a+$"'
  silence: since_last(activity)
  by_hand: email.action == "opened" && !email.machine_open
  recent: by_hand && email.occurred_at > timestamp("2026-01-01T00:00:00Z")
`
	for _, tc := range []struct{ in, want string }{
		{`twice > 3`, `count(web, days(7)) * 2 > 3`},
		{`did(web, week + hours(1))`, `count(web, hours(169)) > 0`},
		{`profile.country in markets`, `profile.country in ["DE", "FR"]`},
		{`did(cheap)`, `count(purchase.items.exists(v0, v0.price < 5.0) && purchase.kind == "completed") > 0`},
		{`did(purchase.items.all(j, j.quantity > 1 && cheap))`, `count(purchase.items.all(v0, purchase.items.exists(v2, v2.price < 5.0) && v0.quantity > 1) && purchase.kind == "completed") > 0`},
		{`did(first_line.quantity > 1)`, `count(purchase.items[0].quantity > 1 && purchase.kind == "completed") > 0`},
		{`distinct(campaign) > 1 && did(campaign.matches(pattern))`, `count(web.utm_campaign.matches("^a+$")) > 0 && distinct(web.utm_campaign) > 1`},
		{`silence >= days(3)`, `since_last(activity) >= days(3)`},
		{`did(recent)`, `count(!email.machine_open && email.action == "opened" && email.occurred_at > timestamp("2026-01-01T00:00:00Z")) > 0`},
	} {
		if got := when(parse(t, one(tc.in)+defines).Spec); got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.in, got, tc.want)
		}
	}
}

// TestDefineInComprehension: the variables of a definition do not get mixed up
// with those around the place where it is used.
func TestDefineInComprehension(t *testing.T) {
	set := parse(t, one(`did(purchase.items.exists(j, cheap && j.price > 100))`)+"define: {cheap: 'purchase.items.exists(i, i.price < 5)'}\n")
	cond := set.Spec.Inputs[0].Sources[0].Cond
	item := func(price int64) expr.Value {
		v := make([]expr.Value, 7)
		v[6] = expr.DecimalValue(price * expr.DecimalOne)
		return expr.RecordValue(v)
	}
	for _, tc := range []struct {
		prices []int64
		want   bool
	}{{[]int64{1, 200}, true}, {[]int64{200, 1}, true}, {[]int64{1, 50}, false}, {[]int64{50, 200}, false}} {
		var items []expr.Value
		for _, p := range tc.prices {
			items = append(items, item(p))
		}
		c := expr.Compiler{Slot: func(path string) int {
			if path == "items" {
				return 0
			}
			return 1
		}}
		fn, err := c.Compile(cond)
		if err != nil {
			t.Fatal(err)
		}
		got := fn(&expr.Env{Fields: []expr.Value{expr.ListValue(items), expr.StringValue("completed")}})
		if got.K != expr.Bool || (got.N == 1) != tc.want {
			t.Errorf("%v gives %v", tc.prices, got)
		}
	}
}
