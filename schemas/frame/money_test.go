package frame

import (
	"slices"
	"strings"
	"testing"
)

// Codes are counted by their names, and whatever else comes together.
func TestLabel(t *testing.T) {
	codes := strings.Fields(known)
	if !slices.IsSorted(codes) || len(codes)*(codeLength+1) != len(known) {
		t.Fatal("the codes are not sorted, or not of one width")
	}
	for _, code := range codes {
		if got := label([]byte(code)); got != code {
			t.Errorf("%s is counted as %s", code, got)
		}
	}
	for _, other := range []string{"", "XXX", "AAA", "ZZZ", "eur", "EU", "EURO", "D A", "NIL", "NAN"} {
		if got := label([]byte(other)); got != "other" {
			t.Errorf("%q is counted as %s", other, got)
		}
	}
	usd := []byte("USD")
	if n := testing.AllocsPerRun(10, func() { _ = Mixed(usd) }); n > 0 {
		t.Errorf("a note of a known code allocates %v times", n)
	}
}
