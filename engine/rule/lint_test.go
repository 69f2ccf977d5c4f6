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
		{`!did(web) && count(email) == 0`, []string{size}},
		{`count(web) <= 1`, []string{size}},
		{`sum(purchase.revenue, days(30)) < 100`, []string{size}},
		{`true`, []string{size}},
		{`!consented("email")`, []string{size}},
		{`count(web) > 1 && false`, []string{"this is never true"}},
		{`did(web.name == "added_to_cart")`, []string{`"added_to_cart" is not a usual value of web.name`}},
		{`did(web.name in ["page_viewed", "added_to_cart"])`, []string{`"added_to_cart" is not a usual value of web.name`}},
	} {
		set := parse(t, one(tc.in, `count(web) > 1`)+"  - {id: s0x, objective: o, owner: w, review_by: 2027-06-01, when: count(web) > 3}\n")
		var got []string
		for _, w := range set.Warnings {
			if w.Severity != Warning || w.Pos.Line != 8 {
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
}

// TestWarningPrinted: a warning says that it is one.
func TestWarningPrinted(t *testing.T) {
	set := parse(t, one("count(web) < 1"))
	want := `r.yaml:8:7: warning: this is true of every known customer who did nothing
    count(web) < 1
    ^ add what they did, such as count(purchase) > 0`
	if got := set.Warnings.Error(); got != want {
		t.Errorf("got\n%s", got)
	}
}
