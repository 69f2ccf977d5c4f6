package docs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/mapping"
)

// TestLimits: the table of limits has the numbers of the program.
func TestLimits(t *testing.T) {
	text := read(t, "limits.md")
	for row, limit := range map[string]int{
		"file": rule.MaxFileSize, "expression with its definitions expanded": language.MaxNodes,
		"nesting of `exists`": language.MaxFolds, "streams of your own": plan.MaxOwnStreams,
		"events in one list": aggregate.MaxEntries, "values of `distinct`": aggregate.MaxDistinct,
		"carts": aggregate.MaxCarts, "entries of all carts": aggregate.MaxCartEntries,
		"texts in a list field": frame.MaxListTexts, "values that a change names": plan.MaxEvidence,
		"id of a customer": schemas.MaxIDBytes, "all lists and maps": frame.MaxItems,
		"events of one record": mapping.MaxEvents, "steps of the expressions": mapping.MaxSteps,
	} {
		m := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(row) + `[^|]*\| ([0-9,]+)`).FindStringSubmatch(text)
		if m == nil {
			t.Errorf("no row %q", row)
			continue
		}
		if n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", "")); err != nil || n != limit {
			t.Errorf("%s: %s, and the program has %d", row, m[1], limit)
		}
	}
	if want := fmt.Sprintf("| text that a rule reads | %d KiB |", frame.MaxText>>10); !strings.Contains(text, want) {
		t.Errorf("no %q", want)
	}
	if want := fmt.Sprintf("100 of %d bytes each", frame.MaxListText); !strings.Contains(text, want) {
		t.Errorf("no %q", want)
	}
}
