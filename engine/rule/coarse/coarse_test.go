package coarse

import (
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// A window that is short against a longer one over the same list is warned of; one
// over a list of its own is not.
func TestCoarseWindows(t *testing.T) {
	head := "version: 1\nsegments:\n"
	segment := func(id, when string) string {
		return "  - {id: " + id + ", objective: o, owner: o, review_by: 2030-01-01, when: \"" + when + "\"}\n"
	}
	for _, c := range []struct {
		text string
		want int
	}{
		{segment("a", "count(web, days(365)) > 5") + segment("b", "count(web, minutes(10)) > 5"), 1},
		{segment("a", "count(web, days(365)) > 5") + segment("b", "count(web, days(1)) > 5"), 0},
		{segment("a", "count(web, days(365)) > 5") + segment("b", "count(email, minutes(10)) > 5"), 0},
	} {
		set, err := rule.Parse([]rule.File{{Name: "r.yaml", Data: []byte(head + c.text)}}, schemas.Catalog(), triggers.Kinds(), fixture.Zones)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.Compile(set.Spec, fixture.Zones)
		if err != nil {
			t.Fatal(err)
		}
		warnings := Windows(p, set)
		if len(warnings) != c.want {
			t.Errorf("%d warnings, want %d, of\n%s%v", len(warnings), c.want, c.text, warnings)
		}
		for _, w := range warnings {
			if w.Pos.Line != 4 || !strings.Contains(w.Message, "count(web, minutes(10))") {
				t.Errorf("%v", w)
			}
		}
	}
}
