package main

import (
	"strings"
	"testing"
	"time"
)

// A line is as wide as the terminal at most; to anything else it goes whole.
func TestFit(t *testing.T) {
	for _, c := range []struct {
		width int
		want  string
	}{{0, "évidence = 12"}, {13, "évidence = 12"}, {12, "évidence = …"}, {1, "…"}} {
		if got := fit("évidence = 12", c.width); got != c.want {
			t.Errorf("%d: %q, want %q", c.width, got, c.want)
		}
	}
	var b strings.Builder
	table := tableOutput{w: &b, width: 60}
	table.line("2026-01-01T00:00:00.000Z", "c1", "entered", "loyal", "event: count(purchase, days(90)) = 3")
	if got := strings.TrimSuffix(b.String(), "\n"); len([]rune(got)) != 60 || !strings.HasSuffix(got, "…") {
		t.Errorf("%q", got)
	}
}

func TestProgressText(t *testing.T) {
	for _, c := range []struct {
		read, size int64
		want       string
	}{
		{0, 0, "1000 lines, 100 a second"},
		{50, 0, "1000 lines, 100 a second"},
		{25, 100, "25 %, 30s left, 1000 lines, 100 a second"},
		{120, 100, "100 %, 0s left, 1000 lines, 100 a second"}, // the file grows
	} {
		if got := progressText(1000, c.read, c.size, 10*time.Second); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.read, c.size, got, c.want)
		}
	}
}
