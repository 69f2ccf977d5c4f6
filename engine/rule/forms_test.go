package rule

import "testing"

func TestForms(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{`count(purchase) >= 3`, `count(purchase) >= 3`},
		{`count(purchase, days(90)) >= 3`, `count(purchase, days(90)) >= 3`},
		{`3 <= count( purchase , days(9*10) )`, `count(purchase, days(90)) >= 3`},
		{`count(purchase.kind == "completed") > 1`, `count(purchase) > 1`},
		{`count(purchase.kind == "refunded") > 1`, `count(purchase.kind == "refunded") > 1`},
		{`count(purchase.total > 5) > 1`, `count(purchase.kind == "completed" && purchase.total > 5.0) > 1`},
		{`did(web, weeks(1))`, `count(web, days(7)) > 0`},
		{`!did(web, hours(36))`, `!(count(web, hours(36)) > 0)`},
		{`sum(purchase.revenue, days(90)) > 500`, `sum(purchase.revenue, days(90)) > 500.0`},
		{`sum(purchase.revenue, purchase.channel == "store", days(90)) > 500`, `sum(purchase.revenue, purchase.channel == "store" && purchase.kind in ["cancelled", "completed", "refunded"], days(90)) > 500.0`},
		{`sum(purchase.revenue, purchase.kind == "refunded") < -5`, `sum(purchase.revenue, purchase.kind == "refunded") < -5.0`},
		{
			`avg(purchase.total, days(30)) >= 80 && min(purchase.total) > 1 && max(purchase.total) < 9`,
			`avg(purchase.total, days(30)) >= 80.0 && max(purchase.total) < 9.0 && min(purchase.total) > 1.0`,
		},
		{`distinct(web.url, days(7)) > 3`, `distinct(web.url, days(7)) > 3`},
		{`distinct(web.attributes["plan"], web.name == "page_viewed") > 3`, `distinct(web.attributes.plan, web.name == "page_viewed") > 3`},
		{`last(purchase.revenue) > 1000`, `last(purchase.revenue) > 1000.0`},
		{`first(purchase.channel) == "store"`, `first(purchase.channel) == "store"`},
		{`last(email.machine_open)`, `last(email.machine_open)`},
		{`last(email.machine_open == true) > first(web)`, `last(email.machine_open == true) > first(web)`},
		{`last(web.name == "product_added") > last(purchase)`, `last(web.name == "product_added") > last(purchase)`},
		{`since_last(activity) >= days(45)`, `since_last(activity) >= days(45)`},
		{`days(45) <= since_last(activity)`, `since_last(activity) >= days(45)`},
		{`since_first(purchase) < days(30)`, `since_first(purchase) < days(30)`},
		{`since_first(purchase) < days(30)`, `since_first(purchase) < days(30)`},
		{`since(profile.signed_up_at) < hours(1)`, `since(profile.signed_up_at) < hours(1)`},
		{`age(profile.birth_date) < 30`, `years_since(profile.birth_date) < 30`},
		{`years_since(last(purchase)) >= 1.0`, `years_since(last(purchase)) >= 1`},
		{
			`10 * count(purchase, days(365)) + sum(purchase.revenue, days(365)) / 20 > 30`,
			`10 * count(purchase, days(365)) + sum(purchase.revenue, days(365)) / 20 > 30.0`,
		},
		{`sum(purchase.revenue) == 0`, `sum(purchase.revenue) == 0.0`},
		{`profile.country in ["FR", "DE", "FR"]`, `profile.country in ["DE", "FR"]`},
		{`count(web) in [1, 2.0]`, `count(web) in [1, 2]`},
		{`has(profile.country)`, `has(profile.country)`},
		{`profile.traits["shoe size"] == "44" && profile.traits.tier == "gold"`, `profile.traits.tier == "gold" && profile.traits["shoe size"] == "44"`},
		{`"tier" in profile.traits`, `has(profile.traits.tier)`},
		{`has(profile.traits.tier)`, `has(profile.traits.tier)`},
		{`did(has(web.attributes.plan) && "x" in web.attributes)`, `count(has(web.attributes.plan) && has(web.attributes.x)) > 0`},
		{`consented("email")`, `consented("email", "marketing")`},
		{`consented("sms", "analytics")`, `consented("sms", "analytics")`},
		{`did(consent.state == "withdrawn", days(7))`, `count(consent.state == "withdrawn", days(7)) > 0`},
		{
			`did(purchase.items.exists(i, i.category == "shoes" || i.price > 100))`,
			`count(purchase.items.exists(v0, v0.category == "shoes" || v0.price > 100.0) && purchase.kind == "completed") > 0`,
		},
		{
			`did(purchase.items.all(i, i.quantity > 1) && purchase.items.exists_one(x, x.brand == "b"))`,
			`count(purchase.items.all(v0, v0.quantity > 1) && purchase.items.exists_one(v0, v0.brand == "b") && purchase.kind == "completed") > 0`,
		},
		{`did(size(purchase.items.filter(i, i.quantity > 1)) > 2)`, `count(purchase.kind == "completed" && size(purchase.items.filter(v0, v0.quantity > 1)) > 2) > 0`},
		{`did("shoes" in purchase.items.map(i, i.category))`, `count("shoes" in purchase.items.map(v0, v0.category) && purchase.kind == "completed") > 0`},
		{`did("x" in purchase.items.map(i, i.quantity > 1, i.category))`, `count("x" in purchase.items.map(v0, v0.quantity > 1, v0.category) && purchase.kind == "completed") > 0`},
		{`did(purchase.items[0].product_id == "p")`, `count(purchase.items[0].product_id == "p" && purchase.kind == "completed") > 0`},
		{`did(web.url.matches("^/sale/[0-9]+$"))`, `count(web.url.matches("^/sale/[0-9]+$")) > 0`},
		{
			`did(web.url.contains("a") || web.url.startsWith("b") || web.url.endsWith("c"), days(1))`,
			`count(web.url.contains("a") || web.url.endsWith("c") || web.url.startsWith("b"), days(1)) > 0`,
		},
		{`did(web.occurred_at.getHours("Europe/Paris") >= 18)`, `count(web.occurred_at.getHours("Europe/Paris") >= 18) > 0`},
		{`profile.signed_up_at > timestamp("2026-01-01T00:00:00+01:00")`, `profile.signed_up_at > timestamp("2025-12-31T23:00:00Z")`},
		{`last(purchase) - first(purchase) > days(30) + hours(1)`, `last(purchase) - first(purchase) > hours(721)`},
		{`count(web) > (2 + 3) * 4`, `count(web) > 20`},
		{`(count(web) + 1) * 2 > 4 && (count(web) - (1 - count(email))) > 0`, `(count(web) + 1) * 2 > 4 && count(web) - (1 - count(email)) > 0`},
		{`(count(web) > 1 || count(email) > 1) && (count(web) > 2 && count(email) > 0)`, `count(email) > 0 && (count(email) > 1 || count(web) > 1) && count(web) > 2`},
		{`count(web) > 1 ? count(email) > 1 : count(email) > 2`, `count(web) > 1 ? count(email) > 1 : count(email) > 2`},
		{`!!(count(web) > 1)`, `count(web) > 1`},
		{`did(!(!email.machine_open))`, `count(email.machine_open) > 0`},
		{`double(count(web)) / 2 > 1.5 && int(sum(purchase.revenue)) % 2 == 0`, `double(count(web)) / 2 > 1.5 && int(sum(purchase.revenue)) % 2 == 0`},
		{`string(count(web)) == "3"`, `string(count(web)) == "3"`},
		{`since_last(web) > duration("36h")`, `since_last(web) > hours(36)`},
		{`since_last(web) > duration("1500ms")`, `since_last(web) > duration("1.5s")`},
		{`["FR", "DE"].exists(c, c == profile.country)`, `["FR", "DE"].exists(v0, v0 == profile.country)`},
		{`count(web) > 1 && true`, `count(web) > 1`},
		{`-count(web) < -3`, `-count(web) < -3`},
		{`profile.country + "x" == "FRx"`, `profile.country + "x" == "FRx"`},
		{`orElse( profile.country,"unknown") == "FR"`, `orElse(profile.country, "unknown") == "FR"`},
		{`last(web) > orElse(last(purchase), timestamp("1970-01-01T00:00:00Z"))`, `last(web) > orElse(last(purchase), timestamp("1970-01-01T00:00:00Z"))`},
		{`1 + orElse(first(purchase.revenue), 2) * 2 > 3`, `1 + orElse(first(purchase.revenue), 2.0) * 2 > 3.0`},
		{`until(profile.birth_date) < days(7)`, `until(profile.birth_date) < days(7)`},
	} {
		set := parse(t, one(tc.in))
		if err := compiles(set.Spec); err != nil {
			t.Errorf("%s: %v", tc.in, err)
		}
		got := when(set.Spec)
		if got != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.in, got, tc.want)
			continue
		}
		// What is printed means the same when read again.
		if again := when(parse(t, one(got)).Spec); again != got {
			t.Errorf("%s\nread again: %s", got, again)
		}
	}
}
