package lab

import (
	"math"
	"testing"
)

func TestSeries(t *testing.T) {
	for _, c := range []struct {
		s         Series
		p         float64
		want, med float64
	}{
		{Series{5}, 99, 5, 5},
		{Series{4, 1, 3, 2}, 50, 2, 2.5},
		{Series{4, 1, 3, 2}, 51, 3, 2.5},
		{Series{4, 1, 3, 2}, 100, 4, 2.5},
		{Series{4, 1, 3, 2}, 0, 1, 2.5},
		{Series{3, 1, 2}, 99.9, 3, 2},
	} {
		if got := c.s.Percentile(c.p); got != c.want {
			t.Errorf("percentile %v of %v: %v, not %v", c.p, c.s, got, c.want)
		}
		if got := c.s.Median(); got != c.med {
			t.Errorf("median of %v: %v, not %v", c.s, got, c.med)
		}
	}
	if !math.IsNaN(Series{}.Median()) || !math.IsNaN(Series{}.Percentile(50)) {
		t.Error("nothing has a median")
	}
	if got := (Series{3, 1, 2.5}).Spread(1); got != "2.5 (1.0-3.0)" {
		t.Error(got)
	}
}
