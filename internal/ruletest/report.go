package ruletest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Report is what became of all tests.
type Report struct {
	Files   int
	Results []Result
	// Gaps are nil if nobody asked for them.
	Gaps         []Gap
	Shown, Rules int // rules without gaps, and all
	Covered      bool
	Untested     []string // rules that need a test and have none
}

// Failed is how many tests failed.
func (r *Report) Failed() (n int) {
	for i := range r.Results {
		if len(r.Results[i].Failures) > 0 {
			n++
		}
	}
	return n
}

// Passed reports whether nothing is wrong.
func (r *Report) Passed() bool { return r.Failed() == 0 && len(r.Untested) == 0 }

// Require notes the rules among need that no test of the files is about.
func (r *Report) Require(need []string, tests []*Test) {
	for _, name := range need {
		if !slices.ContainsFunc(tests, func(t *Test) bool { return slices.Contains(t.Names, name) }) {
			r.Untested = append(r.Untested, name)
		}
	}
	slices.Sort(r.Untested)
}

// kindOf names what a name is of.
func kindOf(name string) string {
	switch {
	case strings.HasPrefix(name, "trigger:"):
		return "trigger"
	case strings.Contains(name, "/"):
		return "stage"
	}
	return "segment"
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) {
	for i := range r.Results {
		res := &r.Results[i]
		if len(res.Failures) == 0 {
			continue
		}
		fmt.Fprintf(w, "FAIL  %s:%d: %s\n", res.File, res.Pos.Line, res.Title())
		for _, f := range res.Failures {
			fmt.Fprintf(w, "      at %s, %s: expected %s, got %s\n", f.At, f.Customer, f.Expected, f.Got)
			for _, p := range f.Values {
				fmt.Fprintf(w, "        %s = %s\n", p.Name, valueText(p.Value))
			}
		}
	}
	for _, name := range r.Untested {
		fmt.Fprintf(w, "FAIL  %s %s has no test\n", kindOf(name), Shown(name))
	}
	if r.Covered {
		for _, g := range r.Gaps {
			what := g.Rule
			if g.Part != "" {
				what += ": " + g.Part
			}
			fmt.Fprintf(w, "%s:%d: %s: %s\n", g.File, g.Line, what, g.Lacks)
		}
		fmt.Fprintf(w, "coverage: %d of %s shown in full\n", r.Shown, plural(r.Rules, "rule"))
	}
	if r.Files == 0 {
		fmt.Fprintln(w, "no *_test.yaml files")
		return
	}
	fmt.Fprintf(w, "%s, %s: ", plural(r.Files, "file"), plural(len(r.Results), "test"))
	if n := r.Failed(); n > 0 {
		fmt.Fprintf(w, "%d failed\n", n)
	} else {
		fmt.Fprintln(w, "all passed")
	}
}

func valueText(v string) string {
	if v == "" {
		return "(absent)"
	}
	return v
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

type jsonTest struct {
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Name     string    `json:"name"`
	Passed   bool      `json:"passed"`
	Failures []Failure `json:"failures,omitempty"`
}

type jsonCoverage struct {
	Rules int   `json:"rules"`
	Shown int   `json:"shown"`
	Gaps  []Gap `json:"gaps"`
}

// JSON writes the report as one JSON object.
func (r *Report) JSON(w io.Writer) error {
	doc := struct {
		Passed   int           `json:"passed"`
		Failed   int           `json:"failed"`
		Tests    []jsonTest    `json:"tests"`
		Untested []string      `json:"untested,omitempty"`
		Coverage *jsonCoverage `json:"coverage,omitempty"`
	}{Failed: r.Failed(), Passed: len(r.Results) - r.Failed(), Tests: []jsonTest{}}
	for i := range r.Results {
		t := &r.Results[i]
		doc.Tests = append(doc.Tests, jsonTest{t.File, t.Pos.Line, t.Title(), len(t.Failures) == 0, t.Failures})
	}
	for _, name := range r.Untested {
		doc.Untested = append(doc.Untested, Shown(name))
	}
	if r.Covered {
		doc.Coverage = &jsonCoverage{r.Rules, r.Shown, append([]Gap{}, r.Gaps...)}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	if s.Tests++; c.Failure != nil {
		s.Failures++
	}
}

// JUnit writes the report in the XML form that JUnit made common: a suite for each
// file.
func (r *Report) JUnit(w io.Writer) error {
	var suites []*junitSuite
	suite := func(name string) *junitSuite {
		if i := slices.IndexFunc(suites, func(s *junitSuite) bool { return s.Name == name }); i >= 0 {
			return suites[i]
		}
		suites = append(suites, &junitSuite{Name: name})
		return suites[len(suites)-1]
	}
	for i := range r.Results {
		t := &r.Results[i]
		c := junitCase{Class: t.File, Name: t.Title(), File: t.File, Line: t.Pos.Line}
		if len(t.Failures) > 0 {
			lines := make([]string, len(t.Failures))
			for i, f := range t.Failures {
				lines[i] = fmt.Sprintf("at %s, %s: expected %s, got %s", f.At, f.Customer, f.Expected, f.Got)
			}
			c.Failure = &junitFailure{lines[0], strings.Join(lines, "\n")}
		}
		suite(t.File).add(c)
	}
	for _, name := range r.Untested {
		what := kindOf(name) + " " + Shown(name)
		suite("rules without a test").add(junitCase{Class: "rules", Name: what, Failure: &junitFailure{Message: what + " has no test"}})
	}
	doc := struct {
		XMLName xml.Name      `xml:"testsuites"`
		Suites  []*junitSuite `xml:"testsuite"`
	}{Suites: suites}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
