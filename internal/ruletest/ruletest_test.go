package ruletest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

func zones(name string) (*time.Location, bool) {
	l, err := time.LoadLocation(name)
	return l, err == nil && name != ""
}

func newRules(t testing.TB, text string, cover *Coverage) *Rules {
	t.Helper()
	set, err := rule.Parse([]rule.File{{Name: "r.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), zones)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(set.Spec, zones)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(p, triggers.New(p), engine.Options{Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRules(e, zones, 2000, cover)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// load returns the tests of a file, and what is wrong with it.
func load(r *Rules, text []byte) ([]*Test, rule.Problems) {
	var log file.Log
	f := Read(rule.File{Name: "r_test.yaml", Data: text}, &log)
	tests := f.Bind(r)
	errs, _ := log.Split()
	return tests, errs
}

// TestGolden: testdata/*.txtar have rules, a test file, and what comes of it: the errors
// of the file, or the report with its coverage. UPDATE=1 rewrites them.
func TestGolden(t *testing.T) {
	all, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, path := range all {
		t.Run(filepath.Base(path), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cover := NewCoverage()
			r := newRules(t, string(ar.Files[0].Data), cover)
			tests, errs := load(r, ar.Files[1].Data)
			var out bytes.Buffer
			if len(errs) > 0 {
				out.WriteString(errs.Error() + "\n")
			} else {
				report := &Report{Files: 1, Covered: true}
				for _, x := range tests {
					report.Results = append(report.Results, x.Run())
				}
				report.Gaps, report.Shown, report.Rules = cover.Gaps()
				report.Text(&out)
			}
			if os.Getenv("UPDATE") != "" {
				ar.Files[2].Data = out.Bytes()
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got, want := out.String(), string(ar.Files[2].Data); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestCoverage: parts decide at the instants of timers, too, and are said as they are
// written.
func TestCoverage(t *testing.T) {
	const meta = "objective: o, owner: w, review_by: 2099-01-01"
	cover := NewCoverage()
	r := newRules(t, `version: 1
define:
  slow: since_last(web) >= minutes(45)
segments:
  - {id: quiet, `+meta+`, when: slow && !did(purchase)}
  - {id: other, `+meta+`, when: "(count(web) + count(email)) * 2 > 500 && (did(email) || did(web, days(2))) && (profile.country in ['F)', \"DE\"])  &&\n slow"}
`, cover)
	tests, errs := load(r, []byte(`tests:
  - name: between events
    of: [quiet]
    events: [{at: 0s, stream: web}, {at: 30m, stream: purchase}, {at: 5h, stream: web}]
    expect: none
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if got := tests[0].Run(); len(got.Failures) > 0 {
		t.Fatal(got.Failures)
	}
	var parts []string
	gaps, _, _ := cover.Gaps()
	for _, g := range gaps {
		parts = append(parts, g.Rule+": "+g.Lacks+" "+g.Part)
	}
	want := []string{
		"quiet: never true ",
		"other: never true ", "other: never decided (count(web) + count(email)) * 2 > 500", "other: never decided did(email) || did(web, days(2))",
		`other: never decided profile.country in ['F)', "DE"]`, "other: never decided slow",
	}
	slices.Sort(parts)
	slices.Sort(want)
	if !slices.Equal(parts, want) {
		t.Errorf("got\n%s", strings.Join(parts, "\n"))
	}
}

// TestTwice: a test that is run again gives the same.
func TestTwice(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/wrong.txtar")
	if err != nil {
		t.Fatal(err)
	}
	tests, errs := load(newRules(t, string(ar.Files[0].Data), nil), ar.Files[1].Data)
	if errs != nil {
		t.Fatal(errs)
	}
	text := func() string {
		var b bytes.Buffer
		r := &Report{Files: 1}
		for _, x := range tests {
			r.Results = append(r.Results, x.Run())
		}
		r.Text(&b)
		return b.String()
	}
	if a, b := text(), text(); a != b {
		t.Errorf("first\n%s\nthen\n%s", a, b)
	}
}

// FuzzFiles: whatever a test file holds, it gives errors or tests that end.
func FuzzFiles(f *testing.F) {
	all, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range all {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[1].Data)
	}
	f.Add([]byte("tests: [{name: a, events: [{at: 0s, stream: profile, traits: [1]}], expect: none}]"))
	f.Add([]byte("tests: [{name: $a, cases: [{a: [b]}, {a: {}}, 3], events: $a, expect: $a}]"))
	ar, err := txtar.ParseFile("testdata/wrong.txtar")
	if err != nil {
		f.Fatal(err)
	}
	r := newRules(f, string(ar.Files[0].Data), nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		tests, errs := load(r, text)
		for _, e := range errs {
			if e.Pos.Line < 1 || e.Pos.Line > strings.Count(string(text), "\n")+1 || e.Message == "" {
				t.Errorf("a problem without a place or a text: %+v", e)
			}
		}
		for _, x := range tests {
			if x.until-x.start < 400*86_400_000 {
				x.Run()
			}
		}
	})
}

// docs/semantics.md, 1.9: ids are remembered for as long as the rules say, and otherwise for
// as long as the stream does.
func TestDedupHorizon(t *testing.T) {
	const rules = `version: 1
segments:
  - {id: twice, objective: o, owner: w, review_by: 2099-01-01, when: count(web) >= 2}
`
	const events = `tests:
  - name: one id, ten days apart
    events:
      - {at: 0d, stream: web, event_id: a, name: product_viewed}
      - {at: 9d23h, stream: email, action: sent} # by which the customer's instant is near
      - {at: 10d, stream: web, event_id: a, name: product_viewed}
    expect: `
	for more, want := range map[string]string{
		"":                                "[{at: 10d, segment: twice, action: entered}]\n",
		"readings: {dedup: {web: 9d}}\n":  "[{at: 10d, segment: twice, action: entered}]\n",
		"readings: {dedup: {web: 11d}}\n": "none\n",
	} {
		tests, errs := load(newRules(t, rules+more, nil), []byte(events+want))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if r := tests[0].Run(); len(r.Failures) > 0 {
			t.Errorf("%q: %v", more, r.Failures)
		}
	}
}
