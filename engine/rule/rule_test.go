package rule

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
)

// one makes a file with one segment per condition, each in a literal block.
func one(conditions ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\nsegments:\n")
	for i, c := range conditions {
		fmt.Fprintf(&b, "  - id: s%d\n    objective: test\n    owner: me\n    review_by: 2027-06-01\n    when: |\n      %s\n",
			i, strings.ReplaceAll(strings.TrimSpace(c), "\n", "\n      "))
	}
	return b.String()
}

func parse(t *testing.T, text string) *Set {
	t.Helper()
	set, err := Parse([]File{{Name: "r.yaml", Data: []byte(text)}}, testCatalog(), testKinds(), testZones)
	if err != nil {
		t.Fatalf("unexpected error:\n%v", err)
	}
	return set
}

func parseError(t *testing.T, text string) Problems {
	t.Helper()
	_, err := Parse([]File{{Name: "r.yaml", Data: []byte(text)}}, testCatalog(), testKinds(), testZones)
	if err == nil {
		t.Fatalf("no error for\n%s", text)
	}
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("error is a %T", err)
	}
	return ps
}

// when returns the canonical text of the first segment's condition.
func when(s *plan.Spec) string {
	return s.Segments[0].When.Text(func(i int) string { return s.Inputs[i].Text })
}

// compiles reports the first tree of s that package expr cannot compile.
func compiles(s *plan.Spec) error {
	trees := canon.Roots(s)
	for _, in := range s.Inputs {
		for _, src := range in.Sources {
			for _, n := range []*expr.Node{src.Cond, src.Negate} {
				if n != nil {
					trees = append(trees, n)
				}
			}
		}
	}
	for _, n := range trees {
		if _, err := canon.Evaluate(testZones, n, func(int) expr.Value { return expr.Value{} }); err != nil {
			return err
		}
	}
	return nil
}
