package rule

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
)

func parseFiles(files ...string) (*Set, error) {
	var fs []File
	for i := 0; i < len(files); i += 2 {
		fs = append(fs, File{Name: files[i], Data: []byte(files[i+1])})
	}
	return Parse(fs, testCatalog(), testKinds(), testZones)
}

// TestSeveralFiles: names of one file are known in the others, and every clash
// names both places. Errors come sorted by file.
func TestSeveralFiles(t *testing.T) {
	const meta = ", objective: o, owner: w, review_by: 2027-06-01, when: "
	set, err := parseFiles(
		"b.yaml", "version: 1\nsegments:\n  - {id: b"+meta+"in_segment('a') && spend > 3}\n",
		"a.yaml", "version: 1\ndefaults: {timezone: Asia/Tokyo}\ndefine: {spend: sum(purchase.revenue)}\nsegments:\n  - {id: a"+meta+"spend > 5}\n",
	)
	if err != nil {
		t.Fatal(err)
	}
	if set.Spec.Zone != "Asia/Tokyo" || len(set.Spec.Segments) != 2 || set.Spec.Segments[0].ID != "a" {
		t.Errorf("spec is %+v", set.Spec)
	}
	if got := set.Spec.Segments[1].Meta.Pos; got != (plan.Pos{File: "b.yaml", Line: 3, Column: 10}) {
		t.Errorf("segment b is at %v", got)
	}

	_, err = parseFiles(
		"b.yaml", "version: 1\ndefaults: {timezone: UTC}\nactivity: [web]\ndefine: {x: count(email)}\nsegments:\n  - {id: s"+meta+"x > 3}\n",
		"a.yaml", "version: 1\ndefaults: {timezone: Asia/Tokyo}\nactivity: [purchase]\ndefine: {x: count(web)}\nsegments:\n  - {id: s"+meta+"x > 5}\nlifecycles:\n  - {id: s, objective: o, owner: w, review_by: 2027-06-01, stages: [{id: x, when: true}]}\n",
	)
	want := `a.yaml:8:10: the id "s" is already used in a.yaml:6
    - {id: s, objective: o, owner: w, review_by: 2027-06-01, stages: [{id: x, when: true}]}
           ^
b.yaml:2:22: the default time zone is UTC here and Asia/Tokyo in a.yaml:2
    defaults: {timezone: UTC}
                         ^
b.yaml:3:11: activity is also set in a.yaml:3, to another value
    activity: [web]
              ^
b.yaml:4:10: "x" is already defined in a.yaml:4
    define: {x: count(email)}
             ^
b.yaml:6:10: the id "s" is already used in a.yaml:6
    - {id: s, objective: o, owner: w, review_by: 2027-06-01, when: x > 3}
           ^`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSameDefaultsTwice: equal values in two files are no clash.
func TestSameDefaultsTwice(t *testing.T) {
	text := "version: 1\ndefaults: {timezone: UTC}\nactivity: [web, purchase]\n"
	if _, err := parseFiles("a.yaml", text, "b.yaml", text); err != nil {
		t.Error(err)
	}
}

// TestPlaces: errors stand at the right character whatever way the condition is
// written in YAML.
func TestPlaces(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		line, col   int
	}{
		{"plain", ` count(web) > foo`, 7, 24},
		{"plain with wide letters before", ` profile.country == "Müñchen" || foo`, 7, 43},
		{"plain over two lines", " count(web) > 1\n      && foo", 8, 10},
		{"plain on the next line", "\n      count(web) > foo", 8, 20},
		{"plain after an empty line", " count(web) > 1\n\n      && foo", 9, 10},
		{"single quotes", ` 'profile.country == ''FR'' || foo'`, 7, 41},
		{"single quotes over lines", " 'count(web) > 1\n     &&\n        foo'", 9, 9},
		{"double quotes", ` "profile.country == \"FR\" || foo"`, 7, 41},
		{"double quotes with escapes", ` "profile.country == \"\x46\u00e9\U0001F600\" || foo"`, 7, 59},
		{"double quotes with escaped line break", " \"count(web) > 1 \\\n    && foo\"", 8, 8},
		{"double quotes with written line break", ` "count(web) > 1\n&& foo"`, 7, 31},
		{"double quotes folded", " \"count(web) > 1\n    && foo\"", 8, 8},
		{"literal", " |\n      count(web) > 1\n      && foo", 9, 10},
		{"literal with a deeper line", " |\n      count(web) > 1\n         && foo", 9, 13},
		{"literal with a comment in its header", " |-  # why\n      count(web) > 1\n\n      && foo", 10, 10},
		{"literal with an indentation sign", " |2\n        count(web) > 1\n      && foo", 9, 10},
		{"literal with carriage returns", " |\r\n      count(web) > 1\r\n      && foo\r", 9, 10},
		{"folded", " >\n      count(web) > 1\n      && foo", 9, 10},
		{"folded with an empty line", " >-\n      count(web) > 1\n\n\n      && foo", 11, 10},
		{"comment after", " count(web) > foo # not this", 7, 24},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := "version: 1\nsegments:\n  - id: a\n    objective: o\n    owner: w\n    review_by: 2027-06-01\n    when:" + tc.value + "\n"
			ps := parseError(t, text)
			if len(ps) != 1 || ps[0].Message != `unknown name "foo"` {
				t.Fatalf("problems are\n%v", ps)
			}
			if got := ps[0].Pos; got.Line != tc.line || got.Column != tc.col {
				t.Errorf("place is %d:%d, want %d:%d\n%v", got.Line, got.Column, tc.line, tc.col, ps)
			}
			if line := []rune(ps[0].Line); !strings.HasPrefix(string(line[ps[0].Pos.Column-1:]), "foo") {
				t.Errorf("the line is %q", ps[0].Line)
			}
		})
	}
}

// TestNotYAML: files that are no rule files at all.
func TestNotYAML(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "r.yaml:1:1: the file is empty\n    start with version: 1"},
		{"# nothing\n", "r.yaml:1:1: the file is empty\n    # nothing\n    ^ start with version: 1"},
		{"version: 1\n---\nversion: 1\n", "r.yaml:1:1: not YAML: a rule file holds one document\n    version: 1\n    ^ remove the --- between the documents"},
		{"version: 1\ndefine:\n  x: profile.country == \"a: b\"\n", "r.yaml:3:27: not YAML: mapping values are not allowed in this context\n    x: profile.country == \"a: b\"\n                            ^ put a value that contains \": \" in quotes or in a | block"},
		{"version: 1\ndefine:\n  x: \"FR\" == profile.country\n", "r.yaml:3:11: not YAML: did not find expected key\n    x: \"FR\" == profile.country\n            ^ put a condition that starts with a quote, a bracket or a sign in a | block"},
		{"version: 1\ndefine:\n  x: !did(web)\n", "r.yaml:3:6: YAML reads !did(web) as a tag\n    x: !did(web)\n       ^ put a condition that starts with ! in quotes or in a | block"},
		{"version: 1\ndefine:\n  x: &a count(web)\n  y: *a\n", "r.yaml:3:6: rule files have no YAML anchors and aliases\n    x: &a count(web)\n       ^ name a shared condition under define instead\nr.yaml:4:6: rule files have no YAML anchors and aliases\n    y: *a\n       ^ name a shared condition under define instead"},
		{"version: 1\ndefine:\n  <<: {x: count(web)}\n", "r.yaml:3:3: rule files have no YAML merge keys\n    <<: {x: count(web)}\n    ^"},
		{"version: 1\n\xff", "r.yaml:2:1: the file is not UTF-8 text: byte 0xff\n    \ufffd\n    ^"},
		{"- version: 1\n", "r.yaml:1:1: a rule file must be a mapping, but this is a list\n    - version: 1\n    ^ write it as key: value lines"},
		{"version: 1\nversion: 1\n", "r.yaml:2:1: duplicate key \"version\", already set in line 1\n    version: 1\n    ^"},
		{"segments: []\n", "r.yaml:1:1: a rule file has no version\n    segments: []\n    ^ start the file with version: 1"},
		{"version: 1\nactivity: []\n", "r.yaml:2:11: activity is empty\n    activity: []\n              ^ remove the key to get the default"},
		{"version: 1\nactivity: [profile, count(web), web.name, web.url == email.link_url, true]\n", `r.yaml:2:12: a profile update is not activity
    activity: [profile, count(web), web.name, web.url == email.link_url, true]
               ^
r.yaml:2:21: count cannot be used inside another aggregate or together with the fields of an event
    activity: [profile, count(web), web.name, web.url == email.link_url, true]
                        ^ move it out, or combine two aggregates: sum(…) / count(…)
r.yaml:2:33: a condition must be true or false, but this is a string
    activity: [profile, count(web), web.name, web.url == email.link_url, true]
                                    ^
r.yaml:2:43: activity must list streams, or conditions on one stream each
    activity: [profile, count(web), web.name, web.url == email.link_url, true]
                                              ^ for example web, or email.action == "clicked"
r.yaml:2:70: activity must list streams, or conditions on one stream each
    activity: [profile, count(web), web.name, web.url == email.link_url, true]
                                                                         ^ for example web, or email.action == "clicked"`},
	} {
		if diff := cmp.Diff(tc.want, parseError(t, tc.text).Error()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.text, diff)
		}
	}
}

// TestBounds: what is too large is an error, and a fast one.
func TestBounds(t *testing.T) {
	deep := strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500)
	blowUp := "version: 1\ndefine:\n  x0: count(web) + count(email)\n"
	for i := range 40 {
		blowUp += "  x" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ": " + strings.Repeat("PREV + ", 9) + "1\n"
	}
	lines := strings.Split(blowUp, "\n")
	prev := "x0"
	for i, l := range lines {
		if strings.Contains(l, "PREV") {
			lines[i] = strings.ReplaceAll(l, "PREV", prev)
			prev = strings.TrimSpace(strings.SplitN(l, ":", 2)[0])
		}
	}
	for name, text := range map[string]string{
		"at most 1048576 bytes":         "version: 1\n" + strings.Repeat("# padding\n", MaxFileSize/10),
		"a line can have at most":       "version: 1\n#" + strings.Repeat("x", 8<<10),
		"nested too deeply":             "version: 1\ndefine: " + strings.Repeat("[", 50) + strings.Repeat("]", 50),
		"too long or nested too deeply": one(deep),
		"has more than 4000 parts":      strings.Join(lines, "\n"),
		"nested at most 3 deep":         one(`did(purchase.items.all(a, purchase.items.all(b, purchase.items.all(c, purchase.items.all(d, d.quantity > a.quantity)))))`),
	} {
		if got := parseError(t, text).Error(); !strings.Contains(got, name) {
			t.Errorf("%s is not in the error\n%.2000s", name, got)
		}
	}
}

// TestCycle: a membership that depends on itself is an error that shows the way
// round, also through stages and definitions.
func TestCycle(t *testing.T) {
	text := `version: 1
define: {y: in_segment("a")}
segments:
  - {id: a, objective: o, owner: w, review_by: 2027-06-01, when: 'count(web) > 1 && in_segment("l/x")'}
  - {id: b, objective: o, owner: w, review_by: 2027-06-01, when: in_segment("a")}
lifecycles:
  - {id: l, objective: o, owner: w, review_by: 2027-06-01, stages: [{id: x, when: count(web) > 3}, {id: y, when: y}]}
`
	want := `r.yaml:2:24: "a" depends on itself: a → l → a
    define: {y: in_segment("a")}
                           ^`
	if diff := cmp.Diff(want, parseError(t, text).Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestActivity: what counts as activity can be replaced, and is then part of the
// text of every input that reads it.
func TestActivity(t *testing.T) {
	text := func(s []plan.Source) string { return canon.SourcesText(nil, s) }
	const rules = `
segments:
  - {id: a, objective: o, owner: w, review_by: 2027-06-01, when: since_last(activity) >= days(45)}
triggers:
  - {id: t, kind: inactivity, after: 45d}
  - {id: u, kind: inactivity, after: 45d, streams: [purchase, email]}
  - {id: v, kind: inactivity, after: 45d, streams: [consent]}
`
	spec := parse(t, "version: 1"+rules).Spec
	const byHand = `!email.machine_open && email.action == "opened" || email.action == "clicked"`
	if got, want := text(spec.Activity), `web, `+byHand+`, purchase.kind == "completed"`; got != want {
		t.Errorf("default activity is %s", got)
	}
	for i, want := range []string{text(spec.Activity), byHand + `, purchase.kind == "completed"`, "consent"} {
		if got := text(spec.Triggers[i].Sources); got != want {
			t.Errorf("trigger %d looks at %s, want %s", i, got, want)
		}
	}
	if got := spec.Inputs[0].Text; got != "last(activity)" {
		t.Errorf("input is %s", got)
	}

	set := parse(t, "version: 1\nactivity: [purchase, 'email.action == \"clicked\"', web, email.link_url == \"x\"]"+rules)
	spec = set.Spec
	want := `web, email.action == "clicked" || email.link_url == "x", purchase.kind == "completed"`
	if got := text(spec.Activity); got != want {
		t.Errorf("activity is %s", got)
	}
	if got := spec.Inputs[0].Text; got != "last(activity["+want+"])" {
		t.Errorf("input is %s", got)
	}
	if got := text(spec.Triggers[1].Sources); got != `email.action == "clicked" || email.link_url == "x", purchase.kind == "completed"` {
		t.Errorf("trigger u looks at %s", got)
	}
}

// TestPurchases: which purchases an aggregate sees, and which it subtracts.
func TestPurchases(t *testing.T) {
	for _, tc := range []struct{ in, cond, negate string }{
		{`count(purchase) > 1`, `purchase.kind == "completed"`, ``},
		{`count(purchase.channel == "store") > 1`, `purchase.channel == "store" && purchase.kind == "completed"`, ``},
		{`count(purchase.kind != "unknown") > 1`, `purchase.kind != "unknown"`, ``},
		{`avg(purchase.revenue) > 1.0`, `purchase.kind == "completed"`, ``},
		{`last(purchase.revenue) > 1.0`, `purchase.kind == "completed"`, ``},
		{`sum(purchase.revenue) > 1`, `purchase.kind in ["cancelled", "completed", "refunded"]`, `purchase.kind in ["cancelled", "refunded"]`},
		{`sum(purchase.total, purchase.kind == "refunded") < 1`, `purchase.kind == "refunded"`, `purchase.kind in ["cancelled", "refunded"]`},
		{`sum(web.value) > 1`, ``, ``},
	} {
		in := parse(t, one(tc.in)).Spec.Inputs[0]
		if len(in.Sources) != 1 || canon.Text(in.Sources[0].Cond) != tc.cond || canon.Text(in.Sources[0].Negate) != tc.negate {
			t.Errorf("%s: sources are %s, negate %s", tc.in, canon.SourcesText(nil, in.Sources), canon.Text(in.Sources[0].Negate))
		}
	}
}

// TestInputs: equal inputs are shared, those that others need come first, and
// what no rule reads is not there.
func TestInputs(t *testing.T) {
	spec := parse(t, one(
		`since_last(purchase) > days(3) && count( web,days(1) ) > 1`,
		`last(purchase) > first(purchase) && did(web, hours(24)) && age(profile.birth_date) > 3`,
		`years_since(profile.birth_date) > 4 && consented("email") && in_segment("s0")`,
	)+"define:\n  unused: count(email)\n").Spec
	var got []string
	for i, in := range spec.Inputs {
		got = append(got, in.Text)
		if (in.Kind == plan.InSince || in.Kind == plan.InYears) && (in.Of >= i || !strings.Contains(in.Text, spec.Inputs[in.Of].Text)) {
			t.Errorf("%s is of input %d", in.Text, in.Of)
		}
	}
	want := []string{
		`consented("email", "marketing")`, "count(web, days(1))", "first(purchase)", `in_segment("s0")`, "last(purchase)",
		"profile.birth_date", "since_last(purchase)", "years_since(profile.birth_date)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTriggers: what the keys of triggers come to.
func TestTriggers(t *testing.T) {
	spec := parse(t, `version: 1
triggers:
  - {id: cart, kind: abandoned_cart}
  - {id: cart2, kind: abandoned_cart, name: N, description: D, after: 1h30m, reentry: once}
  - {id: birthday, kind: anniversary, date: profile.birth_date, at: "08:30", offset: -7d, feb_29: mar_1}
  - {id: first_order, kind: anniversary, date: first(purchase), offset: 2w}
  - {id: big, kind: rule, when: last(purchase.revenue) > 1000, fields: {b: last(purchase.revenue), a: "'x'"}}
`).Spec
	in := func(i int) string { return spec.Inputs[i].Text }
	if got := spec.Triggers[0]; got.Setting("after").N != 30*60_000 || got.Reentry != plan.EveryTime || got.Pos.Line != 3 {
		t.Errorf("cart is %+v", got)
	}
	if got := spec.Triggers[1]; got.Setting("after").N != 90*60_000 || got.Reentry != plan.Once {
		t.Errorf("cart2 is %+v", got)
	}
	if got := spec.Triggers[2]; in(got.Input) != "profile.birth_date" || got.Setting("at").N != 510*60_000 || got.Setting("offset").N != -7 || !got.Setting("feb_29").True() {
		t.Errorf("birthday is %+v", got)
	}
	if got := spec.Triggers[3]; in(got.Input) != "first(purchase)" || got.Setting("at").N != 540*60_000 || got.Setting("offset").N != 14 || got.Setting("feb_29").True() {
		t.Errorf("first_order is %+v", got)
	}
	got := spec.Triggers[4]
	if got.When.Text(in) != "last(purchase.revenue) > 1000.0" || len(got.Fields) != 2 || got.Fields[0].Name != "a" || got.Fields[1].Node.Text(in) != "last(purchase.revenue)" {
		t.Errorf("big is %+v", got)
	}
	if in := spec.Inputs[got.Fields[1].Node.Ref]; in.Stored != expr.Decimal || in.Type != expr.Double {
		t.Errorf("revenue is %+v", in)
	}
}
