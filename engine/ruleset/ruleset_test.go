package ruleset_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/fixture"
)

const before = `
version: 1
defaults: {timezone: UTC}
activity: [web, purchase]
segments:
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) >= 1"}
  - {id: frequent, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase, days(30)) >= 3"}
  - {id: best, objective: a, owner: b, review_by: 2099-01-01, when: "in_segment('frequent') && in_segment('buyer')"}
  - {id: adult, objective: a, owner: b, review_by: 2099-01-01, when: "age(profile.birth_date) >= 18"}
lifecycles:
  - id: life
    objective: a
    owner: b
    review_by: 2099-01-01
    stages:
      - {id: bought, when: "in_segment('buyer')"}
      - {id: seen, when: "did(web)"}
triggers:
  - {id: cart_left, kind: abandoned_cart, after: 30m}
  - {id: silent, kind: inactivity, after: 30d}
  - {id: welcome, kind: rule, when: "in_segment('frequent')"}
`

// What a change of a file changes: the rules, with those that read them, and the facts that
// are to be made of past events.
func TestChange(t *testing.T) {
	for _, c := range []struct {
		name, from, to string // in the file
		changed        string // ids
		facts          string // parts of the texts of summaries
	}{
		{"nothing", "", "", "", ""},
		{"a name and a purpose", "objective: a, owner: b, review_by: 2099-01-01, when: \"count(purchase) >= 1\"", "name: B, objective: c, owner: d, review_by: 2098-01-01, when: \"count(purchase) >= 1\"", "", ""},
		{"a threshold", ">= 3", ">= 4", "best frequent trigger:welcome", ""},
		{"a shorter window", "days(30)) >= 3", "days(20)) >= 3", "best frequent trigger:welcome", ""},
		{"a longer window", "days(30)) >= 3", "days(40)) >= 3", "best frequent trigger:welcome", "purchase"},
		{"another field", "count(purchase, days(30))", "sum(purchase.revenue, days(30))", "best frequent trigger:welcome", "revenue"},
		{"what many read", "count(purchase) >= 1", "count(purchase) >= 2", "best buyer life/bought life/seen", ""},
		{"the last stage", "did(web)", "count(web) >= 2", "life/bought life/seen", ""},
		{"the time zone", "timezone: UTC", "timezone: Europe/Paris", "adult", ""},
		{"the delay of a cart", "after: 30m", "after: 40m", "trigger:cart_left", ""},
		{"what activity is", "activity: [web, purchase]", "activity: [purchase]", "trigger:silent", "purchase"},
		{"another rule", "segments:", "segments:\n  - {id: new, objective: a, owner: b, review_by: 2099-01-01, when: \"did(email, days(3))\"}", "new", "email"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(before, c.from) {
				t.Fatalf("%q is not in the file", c.from)
			}
			was := ruleset.Of(fixture.NewEngine(t, before).Plan())
			p := fixture.NewEngine(t, strings.Replace(before, c.from, c.to, 1)).Plan()
			change := was.To(p)
			var changed, facts []string
			for u, differs := range change.Units {
				for _, cond := range p.Units[u].Conds {
					if differs && cond.Segment >= 0 {
						changed = append(changed, p.Segments[cond.Segment].ID)
					}
				}
			}
			for i, differs := range change.Triggers {
				if differs {
					changed = append(changed, "trigger:"+p.Triggers[i].ID)
				}
				if u := p.Triggers[i].Unit; u >= 0 && change.Units[u] != differs {
					t.Errorf("trigger %s and its condition differ", p.Triggers[i].ID)
				}
			}
			for i, differs := range change.Facts {
				if differs {
					facts = append(facts, p.Summaries[i].Text)
				}
			}
			slices.Sort(changed)
			if got := strings.Join(changed, " "); got != c.changed {
				t.Errorf("changed are %q, want %q", got, c.changed)
			}
			if c.facts == "" && len(facts) > 0 || c.facts != "" && (len(facts) != 1 || !strings.Contains(facts[0], c.facts)) {
				t.Errorf("facts to be made are %q, want one with %q", facts, c.facts)
			}
		})
	}
}

// What two sets have in common is what neither changed, as far back as both reach.
func TestCommon(t *testing.T) {
	long := fixture.NewEngine(t, strings.Replace(before, "days(30)) >= 3", "days(40)) >= 3", 1)).Plan()
	a := ruleset.Of(fixture.NewEngine(t, before).Plan())
	c := a.Common(long, nil)
	if _, ok := c.Rules["frequent"]; ok || c.Rules["buyer"] != a.Rules["buyer"] {
		t.Errorf("in common are the rules %v", c.Rules)
	}
	for i, differs := range c.To(long).Facts {
		if reach := long.Summaries[i].Reach; differs != (reach == 40*86_400_000) {
			t.Errorf("a summary that reaches %v back: to be made is %v", reach, differs)
		}
	}
	if len((ruleset.Set{}).Common(long, nil).Facts) != 0 {
		t.Error("there is something in common with nothing")
	}
}
