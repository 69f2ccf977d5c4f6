package rule

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/rule/file"
)

// TestWarningsAreDocumented: docs/rules.md has a row for each class of warnings, in order.
func TestWarningsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	ids := file.IDs()
	if !slices.IsSorted(ids) {
		t.Errorf("not in order: %v", ids)
	}
	at := 0
	for _, id := range ids {
		i := strings.Index(string(doc)[at:], "\n| `"+string(id)+"` | ")
		if i < 0 {
			t.Errorf("docs/rules.md has no row for %s, or not in order", id)
			continue
		}
		at += i
	}
}
