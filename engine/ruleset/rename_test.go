package ruleset_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/fixture"
)

// called returns a rule set of segments, each written "id condition" or "id was condition",
// where a condition is how many purchases are needed.
func called(t *testing.T, rules ...string) *plan.Plan {
	t.Helper()
	b := "version: 1\nsegments:\n"
	for _, rule := range rules {
		f := strings.Fields(rule)
		was := ""
		if len(f) == 3 {
			was = "was: " + f[1] + ", "
		}
		b += fmt.Sprintf("  - {id: %s, %sobjective: a, owner: b, review_by: 2099-01-01, when: count(purchase) >= %s}\n", f[0], was, f[len(f)-1])
	}
	return fixture.NewEngine(t, b).Plan()
}

// docs/semantics.md, 7.17: which rules are renamed, and which are not, or not again.
func TestRenamesTo(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after []string
		want          string
		again         string // of the same rules and another one
	}{
		{"one", []string{"a 1"}, []string{"b a 1"}, "a>b", ""},
		{"one that has changed", []string{"a 1"}, []string{"b a 2"}, "a>b", ""},
		{"one that never was", []string{"x 1"}, []string{"b a 1"}, "", ""},
		{"a chain", []string{"a 1", "b 2"}, []string{"b a 1", "c b 2"}, "a>b b>c", ""},
		{"a chain of which the end was there", []string{"a 1", "b 2", "c 3"}, []string{"b a 1", "c b 2"}, "", ""},
		{"two that swap", []string{"a 1", "b 2"}, []string{"a b 2", "b a 1"}, "a>b b>a", ""},
		{"two that swap, and one changes", []string{"a 1", "b 2"}, []string{"a b 3", "b a 1"}, "a>b b>a", ""},
		{"two that swap, and both change", []string{"a 1", "b 2"}, []string{"a b 3", "b a 4"}, "", ""},
		{"three in a ring", []string{"a 1", "b 2", "c 3"}, []string{"b a 1", "c b 2", "a c 3"}, "a>b b>c c>a", ""},
		{"one that takes the id of one that is gone", []string{"a 1", "b 2"}, []string{"b a 1"}, "", ""},
	} {
		list := func(r ruleset.Renames) string {
			var l []string
			for _, old := range slices.Sorted(maps.Keys(r)) {
				l = append(l, old+">"+r[old])
			}
			return strings.Join(l, " ")
		}
		before, after := called(t, c.before...).Versions(), called(t, c.after...)
		if got := list(ruleset.RenamesTo(after, before, before)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		more := called(t, append(slices.Clone(c.after), "more 9")...)
		if got := list(ruleset.RenamesTo(more, after.Versions(), after.Versions())); got != c.again {
			t.Errorf("%s, the next time: %q, want %q", c.name, got, c.again)
		}
	}
}

// Who says that a rule was what is not in force may have misspelt it.
func TestUnmet(t *testing.T) {
	before := called(t, "a 1", "b 2", "d 4").Versions()
	after := called(t, "c a 1", "x y 2", "d e 4", "new 9")
	if got := fmt.Sprint(ruleset.Unmet(after, before)); got != "[x (was y)]" {
		t.Error(got)
	}
}

// docs/semantics.md, 7.14: a rule is unchanged whatever it and those that it reads are called,
// and so are the lifecycles and triggers that read it.
func TestRenamedIsUnchanged(t *testing.T) {
	was := fixture.NewEngine(t, before).Plan()
	text := strings.NewReplacer(
		"{id: buyer,", "{id: customer, was: buyer,", "in_segment('buyer')", "in_segment('customer')",
		"{id: frequent,", "{id: often, was: frequent,", "in_segment('frequent')", "in_segment('often')",
		"id: life\n", "id: way\n    was: life\n", "{id: seen,", "{id: noticed, was: seen,",
		"{id: cart_left,", "{id: left, was: cart_left,",
	).Replace(before)
	is := fixture.NewEngine(t, text).Plan()
	renames := ruleset.RenamesTo(is, was.Versions(), was.Versions())
	if len(renames) != 5 {
		t.Errorf("renamed are %v", renames)
	}
	kept := ruleset.Of(was).Common(is, renames)
	own := ruleset.Of(is)
	if !maps.Equal(kept.Rules, own.Rules) || !maps.Equal(kept.Facts, own.Facts) {
		t.Errorf("kept is %v of %v", kept, own)
	}
	// The ids of stages may not change places without a word.
	swapped := fixture.NewEngine(t, strings.NewReplacer("{id: bought,", "{id: seen,", "{id: seen,", "{id: bought,").Replace(before)).Plan()
	if kept := ruleset.Of(was).Common(swapped, nil); kept.Rules["life/seen"] != 0 || kept.Rules["buyer"] == 0 {
		t.Errorf("kept is %v", kept.Rules)
	}
}
