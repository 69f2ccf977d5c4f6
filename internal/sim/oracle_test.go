package sim

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine"
)

// The oracle itself keeps the laws that it judges the engine by.
func TestOracleKeepsItsLaws(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := RandomRules(r, world())
		calls := RandomHistory(r, rules.Spec, 60)
		o := NewOracle(rules.Spec, engine.Options{Zones: Zones})
		emitted := ledger{}
		for i := range calls {
			l, _ := o.Run(&calls[i])
			if err := emitted.add(l); err != nil {
				t.Fatalf("call %d %s: %v", i, &calls[i], err)
			}
			c := calls[i].Customer
			if c == "" {
				c = calls[i].Record.Customer
			}
			at := max(o.Instant(c), 0)
			if calls[i].Do == DoAdvance {
				at = max(at, calls[i].Clock)
			}
			if got, want := o.Told(c), o.Members(c, at); !slices.Equal(got, want) {
				t.Fatalf("call %d %s:\ntold to be in %v, but is in %v", i, &calls[i], got, want)
			}
		}
	})
}
