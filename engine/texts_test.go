package engine

import (
	"fmt"
	"strings"
	"testing"
)

// A text is given for an equal one, and only a bounded number of them is copied.
func TestTexts(t *testing.T) {
	var x texts
	for i := range 10_000 {
		s := strings.Repeat("ab", i%25) + fmt.Sprint(i%300)
		for range 2 {
			if got := x.of(s); got != s {
				t.Fatalf("%q for %q", got, s)
			}
		}
	}
	s := []string{"web", "app", "store", "one", "two", "three"}
	if n := testing.AllocsPerRun(100, func() {
		for _, s := range s {
			x.of(s)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
