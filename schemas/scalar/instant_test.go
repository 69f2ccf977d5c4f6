package scalar

import (
	"math"
	"math/rand"
	"testing"

	"github.com/segmill/segmill/engine/expr"
)

func TestAppendInstant(t *testing.T) {
	g := rand.New(rand.NewSource(1))
	instants := []expr.Millis{0, -1, 999, MinInstant, MaxInstant, MaxInstant + 1, math.MaxInt64, math.MinInt64}
	for range 1000 {
		instants = append(instants, expr.Millis(g.Int63n(int64(MaxInstant-MinInstant)))+MinInstant)
	}
	for _, m := range instants {
		if got := string(AppendInstant([]byte("x"), m)); got != "x"+m.String() {
			t.Errorf("%d: %s, want %s", m, got, m)
		}
	}
}
