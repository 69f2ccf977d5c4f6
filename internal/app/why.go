package app

import (
	"fmt"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/triggers"
)

// Why says in a few words what a trigger fired for, or which values decided on a
// membership.
func Why(e *engine.Effect) string {
	if e.Action != engine.Fired {
		return pairs(e.Evidence)
	}
	return triggers.Why(e.Message)
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
