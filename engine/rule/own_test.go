package rule

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine/plan"
)

const ownRules = `version: 1
fields:
  profile: {city: text, employees: number, renewal: date, interests: list}
  web: {seconds: number}
  purchase: {tip: money, weight: number}
streams:
  support: {activity: true, fields: {topic: text, minutes: number, solved: truth, due: time}}
  audit:
segments:
  - {id: s, objective: o, owner: w, review_by: 2027-06-01, when: 'WHEN'}
`

// docs/semantics.md, 11.1: a declared field or stream can be read wherever one of the schema can.
func TestOwnFieldsAndStreams(t *testing.T) {
	for when, inputs := range map[string][]string{
		`sum(support.minutes, days(30)) > 10`:                           {"sum(support.minutes, days(30))"},
		`distinct(support.topic) > 2 && max(support.minutes) > 5`:       {"distinct(support.topic)", "max(support.minutes)"},
		`first(support.topic) == "x" || last(support.due) < last(web)`:  {"first(support.topic)", "last(support.due)", "last(web)"},
		`did(support) && count(support, days(3)) > 1`:                   {"count(support)", "count(support, days(3))"},
		`did(support.solved) && since_last(support) > days(3)`:          {"count(support.solved)", "last(support)", "since_last(support)"},
		`did(support.attributes["agent"] == "ann")`:                     {`count(support.attributes["agent"] == "ann")`},
		`"golf" in profile.interests && size(profile.interests) > 1`:    {"profile.interests"},
		`profile.interests.exists(i, i.startsWith("g"))`:                {"profile.interests"},
		`until(profile.renewal) < days(30) && age(profile.renewal) < 3`: {"age(profile.renewal)", "profile.renewal", "until(profile.renewal)"},
		`profile.city in ["Oslo", "Rome"] && profile.employees >= 50`:   {"profile.city", "profile.employees"},
		`profile.traits["city"] == "Oslo"`:                              {"profile.traits.city"},
		`sum(web.seconds) > 60 && count(activity, days(7)) > 1`:         {"count(activity, days(7))", "sum(web.seconds)"},
		`count(audit) > 0`: {"count(audit)"},
	} {
		set, err := parseFiles("a.yaml", strings.Replace(ownRules, "WHEN", when, 1))
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		var texts []string
		for _, in := range set.Spec.Inputs {
			texts = append(texts, in.Text)
		}
		slices.Sort(texts)
		if diff := cmp.Diff(inputs, texts); diff != "" && !strings.Contains(when, "age") {
			t.Errorf("%s: inputs (-want +got):\n%s", when, diff)
		}
		if _, err := plan.Compile(set.Spec, testZones); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if got := set.Spec.Streams().Names(); !slices.Equal(got, []string{"web", "email", "purchase", "profile", "consent", "audit", "support"}) {
			t.Errorf("streams are %v", got)
		}
		var active []string
		for _, s := range set.Spec.Activity {
			active = append(active, set.Spec.Streams().Name(s.Stream))
		}
		if !slices.Equal(active, []string{"web", "email", "purchase", "support"}) {
			t.Errorf("activity is %v", active)
		}
	}
}

// docs/semantics.md, 11.2: what is taken back is subtracted from sums of money alone.
func TestOwnMoneyIsSigned(t *testing.T) {
	for field, signed := range map[string]bool{"tip": true, "weight": false} {
		set, err := parseFiles("a.yaml", strings.Replace(ownRules, "WHEN", "sum(purchase."+field+") > 3", 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Spec.Inputs[0].Sources[0].Negate != nil; got != signed {
			t.Errorf("%s: refunds are subtracted: %t", field, got)
		}
	}
}

// docs/semantics.md, 11.6: path and type are part of a summary's identity, and what is declared of the version;
// the order of files and of declarations is not.
func TestOwnIdentity(t *testing.T) {
	compile := func(files ...string) *plan.Plan {
		t.Helper()
		set, err := parseFiles(files...)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.Compile(set.Spec, testZones)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	keys := func(p *plan.Plan) (l []plan.Key) {
		for i := range p.Summaries {
			l = append(l, p.Summaries[i].Key)
		}
		return l
	}
	const when = `count(support.minutes == support.minutes) > 0 && last(support.minutes) == last(support.minutes)`
	one := compile("a.yaml", strings.Replace(ownRules, "WHEN", when, 1))
	text := compile("a.yaml", strings.Replace(strings.Replace(ownRules, "WHEN", when, 1), "minutes: number", "minutes: text", 1))
	for i, k := range keys(one) {
		if slices.Contains(keys(text), k) {
			t.Errorf("summary %s is the same under another type", one.Summaries[i].Text)
		}
	}
	if one.Versions()["s"] == text.Versions()["s"] {
		t.Error("the segment has the same version under another type")
	}
	split := compile("b.yaml", "version: 1\nstreams: {audit: {}, support: {activity: true, fields: {topic: text}}}\n",
		"a.yaml", strings.Replace(ownRules, "WHEN", when, 1))
	if diff := cmp.Diff(one.Versions(), split.Versions()); diff != "" {
		t.Errorf("two files that say the same differ (-one +two):\n%s", diff)
	}
	more := compile("b.yaml", "version: 1\nstreams: {aaa: {}}\n", "a.yaml", strings.Replace(ownRules, "WHEN", when, 1))
	if diff := cmp.Diff(keys(one), keys(more)); diff != "" {
		t.Errorf("one more stream changes summaries (-without +with):\n%s", diff)
	}
	want := map[string]string{"reading:stream:support": "activity", "reading:stream:audit": "events", "reading:field:support.minutes": "number", "reading:field:profile.interests": "list"}
	for k, v := range want {
		if got := one.Versions()[k]; got != v {
			t.Errorf("%s is %q, want %q", k, got, v)
		}
	}
	plain := compile("a.yaml", "version: 1\nsegments:\n  - {id: s, objective: o, owner: w, review_by: 2027-06-01, when: count(web) > 3}\n")
	for k := range plain.Versions() {
		if strings.HasPrefix(k, "reading:") {
			t.Errorf("rules that declare nothing have the key %s", k)
		}
	}
}

func TestOwnClashes(t *testing.T) {
	_, err := parseFiles(
		"a.yaml", "version: 1\nfields: {profile: {city: text, plan: text}}\nstreams: {support: {fields: {minutes: number}}, audit: {activity: true}}\n",
		"b.yaml", "version: 1\nfields: {profile: {city: number, plan: text}, support: {minutes: money, topic: text}}\nstreams: {audit: {}, support: {}}\n",
	)
	const want = `b.yaml:2:26: profile.city is number here and text in a.yaml:2
    fields: {profile: {city: number, plan: text}, support: {minutes: money, topic: text}}
                             ^ give it one type
b.yaml:2:66: support.minutes is money here and number in a.yaml:3
    fields: {profile: {city: number, plan: text}, support: {minutes: money, topic: text}}
                                                                     ^ give it one type
b.yaml:3:11: "audit" has activity: false here and activity: true in a.yaml:3
    streams: {audit: {}, support: {}}
              ^ declare it in one file, or write the same in both`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
