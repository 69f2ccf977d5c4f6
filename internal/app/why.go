package app

import (
	"fmt"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// Why says in a few words what a trigger fired for, or which values decided on a
// membership.
func Why(e *engine.Effect) string {
	if e.Action != engine.Fired {
		return pairs(e.Evidence)
	}
	switch e.Kind {
	case plan.AbandonedCart:
		s := Plural(len(e.Items), "product") + " left"
		if e.Value.Present() {
			s += strings.TrimRight(fmt.Sprintf(", worth %s %s", e.Value, e.Currency), " ")
		}
		return s
	case plan.Inactivity:
		return fmt.Sprintf("silent for %s since %s", Plural(int(e.Silent), "day"), e.LastAt)
	case plan.Anniversary:
		return fmt.Sprintf("%s after %s", Plural(int(e.Years), "year"), e.Date)
	default:
		return pairs(e.Context)
	}
}

func pairs(l []engine.Pair) string {
	parts := make([]string, len(l))
	for i, p := range l {
		parts[i] = p.Name + " = " + p.Value
	}
	return strings.Join(parts, ", ")
}

// Plural writes a number with its noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
