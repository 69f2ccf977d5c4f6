package archtest

import (
	"go/ast"
	"slices"
	"testing"
)

// Which streams there are is the table of engine/plan. Of the packages that every
// stream goes through, none asks which one it is.
func TestStreamsAreData(t *testing.T) {
	through := []string{"engine", "engine/rule/", "triggers", "schemas", "internal/app", "state", "consumer/", "cmd/"}
	for _, src := range sources(t) {
		if !covers(through, src.pkg) || !slices.Contains(src.imports(), module+"engine/plan") {
			continue
		}
		ast.Inspect(src.file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "plan" && slices.Contains([]string{"Web", "Email", "Purchase"}, s.Sel.Name) {
				t.Errorf("%s names plan.%s: put what is particular about the stream into its row", src.path, s.Sel.Name)
			}
			return true
		})
	}
}
