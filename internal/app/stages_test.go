package app

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/rule"
)

// What a lifecycle costs grows as its stages do. Memory is counted, since time
// depends on who else computes.
func TestManyStages(t *testing.T) {
	bytes := func(stages int) float64 {
		var b strings.Builder
		b.WriteString("version: 1\nlifecycles:\n  - id: l\n    objective: o\n    owner: w\n    review_by: 2099-01-01\n    stages:\n")
		for i := range stages {
			fmt.Fprintf(&b, "      - {id: s%d, when: count(web) > %d}\n", i, stages-i)
		}
		if b.Len() > rule.MaxFileSize {
			t.Fatalf("%d bytes", b.Len())
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(b.String())}})
		runtime.ReadMemStats(&after)
		if err != nil || len(r.Set.Spec.Lifecycles[0].Stages) != stages {
			t.Fatal(err)
		}
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	if few, many := bytes(4500), bytes(18_000); many > 6*few {
		t.Errorf("18,000 stages take %.0f MB, 4,500 take %.0f: more than in proportion", many/1e6, few/1e6)
	}
}
