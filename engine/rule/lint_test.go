package rule

import (
	"testing"
)

// TestWarnings: conditions that are right and probably not meant.
func TestWarnings(t *testing.T) {
	const size = "this is true of every known customer who did nothing"
	for _, tc := range []struct {
		in   string
		want []string
	}{
		{`profile.country == "FR"`, nil},
		{`profile.country != "FR" && count(web) > 1`, []string{"where profile.country is absent, this != is unknown and not true"}},
		{`(profile.country != "FR" || !has(profile.country)) && count(web) > 1`, nil},
		{`!(profile.country == "FR") && count(web) > 1`, []string{"where profile.country is absent, this ! is unknown and not true"}},
		{`!has(profile.country) && count(web) > 1`, nil},
		{`!in_segment("s0x") && count(web) > 1`, nil},
		{`last(purchase.channel) != "store"`, []string{"where last(purchase.channel) is absent, this != is unknown and not true"}},
		{`did(purchase.channel != "store")`, []string{"where purchase.channel is absent, this != is unknown and not true"}},
		{`did(purchase.currency != "EUR")`, nil},
		{`did(purchase.items.exists(i, i.category != "shoes"))`, []string{"where i.category is absent, this != is unknown and not true"}},
		{`!(last(web) > last(purchase)) && count(web) > 1`, []string{"where last(purchase) is absent, this ! is unknown and not true"}},
		{`last(web) > last(purchase)`, []string{"where last(purchase) is absent, this comparison is unknown and not true"}},
		{`last(purchase) < last(web)`, []string{"where last(purchase) is absent, this comparison is unknown and not true"}},
		{`last(web) > last(purchase) && count(purchase) >= 1`, nil},
		{`last(web) > last(purchase) && did(purchase.channel == "store", days(3))`, nil},
		{`last(web) > last(purchase) && !did(purchase)`, []string{"this is never true: no customer meets !(count(purchase) > 0) and last(web) > last(purchase) together", "where last(purchase) is absent, this comparison is unknown and not true"}},
		{`last(web) > last(purchase) || did(web) && !did(purchase)`, nil},
		{`last(web) > last(purchase) || did(purchase)`, []string{"where last(purchase) is absent, this comparison is unknown and not true"}},
		{`last(web) > last(purchase) && since_last(purchase) < days(9)`, nil},
		{`did(purchase) ? last(web) > last(purchase) : did(web)`, nil},
		{`last(web) > orElse(last(purchase), timestamp("1970-01-01T00:00:00Z"))`, nil},
		{`last(web) > first(web)`, nil},
		{`last(web) == last(purchase)`, nil},
		{`last(web) > timestamp("2026-01-01T00:00:00Z")`, nil},
		{`sum(purchase.revenue) > avg(purchase.revenue)`, nil},
		{`did(purchase.discount > purchase.total)`, []string{"where purchase.total is absent, this comparison is unknown and not true"}},
		{`did(has(purchase.total) && purchase.discount > purchase.total)`, nil},
		{`profile.country != "FR" && profile.country != "BE" && did(web)`, []string{
			"where profile.country is absent, this != is unknown and not true", "where profile.country is absent, this != is unknown and not true",
		}},
		{`!did(web) && count(email) == 0`, []string{size}},
		{`count(web) <= 1`, []string{size}},
		{`sum(purchase.revenue, days(30)) < 100`, []string{size}},
		{`true`, []string{"this is true of every customer"}},
		{`count(web) >= 0`, []string{"this is always true: count(web) is a whole number and never below 0"}},
		{`count(web) < 0`, []string{"this is never true: count(web) is a whole number and never below 0"}},
		{`count(web) == 2.5`, []string{"this is never true: count(web) is a whole number and never below 0"}},
		{`count(web) > 2 && count(web) < 3 && did(email)`, []string{"this is never true: no customer meets count(web) < 3 and count(web) > 2 together"}},
		{`count(web, days(7)) > 5 && count(web, days(30)) < 5`, []string{"this is never true: no customer meets count(web, days(30)) < 5 and count(web, days(7)) > 5 together"}},
		{`did(web, days(7)) && since_last(web) > days(8)`, []string{"this is never true: no customer meets count(web, days(7)) > 0 and since_last(web) > days(8) together"}},
		{`since_last(web) < days(7) && !did(web, days(7))`, []string{"this is never true: no customer meets !(count(web, days(7)) > 0) and since_last(web) < days(7) together"}},
		{`since_last(web) >= days(7) && !did(web, days(7))`, nil},
		{`did(web.name == "x", days(7)) && !did(web)`, []string{`this is never true: no customer meets !(count(web) > 0) and count(web.name == "x", days(7)) > 0 together`, `"x" is not a usual value of web.name`}},
		{`profile.country == "FR" && profile.country == "BE"`, []string{`this is never true: no customer meets profile.country == "BE" and profile.country == "FR" together`}},
		{`profile.country in ["FR", "BE"] && !(profile.country in ["FR", "BE", "DE"])`, []string{`this is never true: no customer meets !(profile.country in ["BE", "DE", "FR"]) and profile.country in ["BE", "FR"] together`, "where profile.country is absent, this ! is unknown and not true"}},
		{`(count(web) > 5 || did(email)) && count(web) < 5 && !did(email)`, []string{"this is never true: no customer meets !(count(email) > 0) and count(email) > 0 || count(web) > 5 and count(web) < 5 together"}},
		{`did(web.occurred_at.getHours() >= 24)`, []string{"this is never true: web.occurred_at.getHours() is from 0 to 23"}},
		{`did(web.name == "page_viewed" && web.name == "product_viewed")`, []string{`this is never true: no event meets web.name == "page_viewed" and web.name == "product_viewed" together`}},
		{`last(purchase.kind) == "refunded"`, []string{`this is never true: last(purchase.kind) is always "completed"`}},
		{`min(purchase.revenue, purchase.revenue >= 50) < 20`, []string{`this is never true: min(purchase.revenue, purchase.kind == "completed" && purchase.revenue >= 50.0) is never below 50.0`}},
		{`last(web) > last(web)`, []string{"this is never true"}},
		{`2 * count(web) + 1 < 1`, []string{"this is never true: 2 * count(web) + 1 is a whole number and never below 1"}},
		{`has(profile.country) && !has(profile.country)`, []string{"this is never true: no customer meets !has(profile.country) and has(profile.country) together"}},
		{`!consented("email")`, []string{size}},
		{`count(web) > 1 && false`, []string{"this is never true"}},
		{`did(web.name == "added_to_cart")`, []string{`"added_to_cart" is not a usual value of web.name`}},
		{`profile.country == "France"`, []string{`"France" is not a country code of ISO 3166`}},
		{`profile.country in ["FR", "UK"]`, []string{`"UK" is not a country code of ISO 3166`}},
		{`did(email.action == "opened")`, []string{"this also counts mails that a mail program or a proxy opened"}},
		{`did(email.action == "opened" && !email.machine_open)`, nil},
		{`did(email.action == "opened" && email.machine_open == true)`, nil},
		{`did(email.action == "clicked")`, nil},
		{`did(!(email.action in ["opened", "sent"]))`, nil},
		{`did(email.action != "opened")`, nil},
		{`did(purchase.currency == "euro")`, []string{`"euro" is not a currency code of ISO 4217`}},
		{`count(web) / count(email) > 0.2`, []string{"count(web) / count(email) is a whole number: the fraction is cut off"}},
		{`count(web) / count(email) >= 2`, nil},
		{`double(count(web)) / count(email) > 0.2`, nil},
		{`profile.traits["n"] > "5"`, []string{`texts are compared letter by letter: "10" is less than "9"`}},
		{`first(purchase.coupon) != ""`, []string{"first(purchase.coupon) is that of the earliest event that has a value, which need not be the first one", "where first(purchase.coupon) is absent, this != is unknown and not true"}},
		{`first(has(purchase.coupon)) == first(purchase)`, nil},
		{`first(web.utm_campaign == "spring") == first(web)`, nil},
		{`consented("email") && did(web)`, []string{"consented() does not know who unsubscribed or complained in the stream email"}},
		{`consented("email") && !did(email.action in ["unsubscribed", "complained"])`, nil},
		{`!consented("email") && did(web)`, nil},
		{`consented("sms") && did(web)`, nil},
		{`did(web.name in ["page_viewed", "added_to_cart"])`, []string{`"added_to_cart" is not a usual value of web.name`}},
	} {
		set := parse(t, "defaults: {currency: EUR}\n"+one(tc.in, `count(web) > 1`)+"  - {id: s0x, objective: o, owner: w, review_by: 2027-06-01, when: did(email) && count(web) > 3}\n")
		var got []string
		for _, w := range set.Warnings {
			if w.Severity != Warning || w.Pos.Line != 9 {
				t.Errorf("%s: %v", tc.in, w)
			}
			got = append(got, w.Message)
		}
		if len(got) != len(tc.want) || len(got) > 0 && got[0] != tc.want[0] {
			t.Errorf("%s: warnings are %q, want %q", tc.in, got, tc.want)
		}
	}
}

// TestUnreachableStage: a stage below one that takes everybody is a mistake.
func TestUnreachableStage(t *testing.T) {
	set := parse(t, `version: 1
lifecycles:
  - {id: l, objective: o, owner: w, review_by: 2027-06-01, stages: [{id: x, when: true}, {id: y, when: count(web) > 1}]}
`)
	if len(set.Warnings) != 1 || set.Warnings[0].Message != "nobody reaches the stages below this one" {
		t.Errorf("warnings are %v", set.Warnings)
	}
	for stages, want := range map[string]string{
		`[{id: x, when: count(purchase) > 0 && since_last(activity) >= days(45)}, {id: y, when: count(purchase) > 0 && since_last(activity) >= days(120)}]`: `nobody reaches this stage: all who meet it are in stage "x"`,
		`[{id: y, when: count(purchase) > 0 && since_last(activity) >= days(120)}, {id: x, when: count(purchase) > 0 && since_last(activity) >= days(45)}]`: "",
		`[{id: x, when: count(web) > 5}, {id: y, when: count(web) < 6}, {id: z, when: did(email)}]`:                                                         "nobody reaches this stage: all who meet it are in stages above it",
		`[{id: x, when: profile.country == "FR"}, {id: y, when: 'profile.country in ["FR", "BE"]'}]`:                                                        "",
	} {
		set := parse(t, "version: 1\nlifecycles:\n  - {id: l, objective: o, owner: w, review_by: 2027-06-01, stages: "+stages+"}\n")
		if got := set.Warnings; len(got) > 1 || len(got) == 1 != (want != "") || want != "" && got[0].Message != want {
			t.Errorf("%s: warnings are %v", stages, got)
		}
	}
}

// TestWarningPrinted: a warning says that it is one.
func TestWarningPrinted(t *testing.T) {
	set := parse(t, one("count(web) < 1"))
	want := `r.yaml:8:7: warning: this is true of every known customer who did nothing [matches-idle]
    count(web) < 1
    ^ add what they did, such as count(purchase) > 0`
	if got := set.Warnings.Error(); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestMoney: amounts are not added across currencies unless the rules say so.
func TestMoney(t *testing.T) {
	for in, want := range map[string]int{
		`sum(purchase.revenue) > 100`: 1, `sum(purchase.revenue, purchase.currency == "EUR") > 100`: 0,
		`last(purchase.revenue) > 100`: 0, `sum(purchase.revenue) > 100 && avg(purchase.total) > 3`: 2,
	} {
		if got := parse(t, one(in)).Warnings; len(got) != want || want > 0 && got[0].ID != "mixed-currency" {
			t.Errorf("%s: %v", in, got)
		}
		if got := parse(t, "defaults: {currency: EUR}\n"+one(in)).Warnings; got != nil {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// TestSameRules: rules that another one makes superfluous.
func TestSameRules(t *testing.T) {
	for _, tc := range []struct {
		conditions []string
		want       string
	}{
		{[]string{"count(web) > 3", "count(web) >= 2 && did(email)", "did(email) && count(web) >= 2"}, `segment "s1" in r.yaml:14 has the same condition`},
		{[]string{"count(web) > 3", "count(web) > 5"}, `whoever is in this segment is in segment "s0" too`},
		{[]string{"count(web, days(3)) < 9 && did(web)", "count(web, days(3)) < 5 && did(web)"}, `whoever is in this segment is in segment "s0" too`},
		{[]string{"count(web) > 3 && count(email) < 3", "count(web) > 5 && count(email) < 5"}, ""},
		{[]string{"count(web) > 3", "count(email) > 5"}, ""},
	} {
		got := parse(t, one(tc.conditions...)).Warnings
		if len(got) > 1 || len(got) == 1 != (tc.want != "") || tc.want != "" && got[0].Message != tc.want {
			t.Errorf("%q: %v", tc.conditions, got)
		}
	}
}
