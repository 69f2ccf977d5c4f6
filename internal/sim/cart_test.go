package sim

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

const cartRules = `
version: 1
triggers:
  - {id: left, kind: abandoned_cart, after: 20m}
  - {id: left_long, kind: abandoned_cart, after: 6h}
  - {id: left_once, kind: abandoned_cart, after: 1d, reentry: once}
  - {id: left_month, kind: abandoned_cart, after: 30d}
`

// Several carts, variants, fractions, removals that match nothing and carts that are
// replaced: the engine says what the oracle says, whether or not it stores the customer
// between two events.
func TestCartsEqualOracle(t *testing.T) {
	spec := cartsUnder(t, schemas.Catalog())
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		store := chance(r, 50)
		judge(t, Rules{Spec: spec}, RandomHistory(r, spec, 120), func(t testing.TB, s *plan.Spec, calls []Call) string {
			if !store {
				return againstOracle(t, s, calls)
			}
			u := newSubject(t, s)
			u.store = true
			return lockstep(NewOracle(s, engine.Options{Zones: Zones}), u, calls)
		})
	})
}

// A line item that gains an optional field, in any place, leaves every
// abandoned cart as it is.
func TestCartOfAnotherSchema(t *testing.T) {
	base := cartsUnder(t, schemas.Catalog())
	size := len(lineFields(base.Catalog))
	for _, at := range []int{0, 3, size} {
		wide := cartsUnder(t, withLineField(schemas.Catalog(), at))
		fired := 0
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 2))
			calls := RandomHistory(r, base, 100)
			want := allTold(NewOracle(base, engine.Options{Zones: Zones}), calls)
			fired += len(want)
			moved := slices.Clone(calls)
			for i := range moved {
				moved[i].Record.Fields = widened(moved[i].Record.Fields, at)
			}
			for name, got := range map[string][]engine.Effect{
				"engine":                     allTold(newSubject(t, base), calls),
				"oracle of the wider schema": allTold(NewOracle(wide, engine.Options{Zones: Zones}), moved),
				"engine of the wider schema": allTold(newSubject(t, wide), moved),
			} {
				if d := compareEffects(want, got); d != "" {
					t.Errorf("field at %d, seed %d, %s: %s", at, seed, name, d)
				}
			}
		}
		if fired < 20 {
			t.Errorf("field at %d: %d carts, too few to say anything", at, fired)
		}
	}
}

// A schema whose line items lack what a cart needs is refused, and not read as if
// every cart were empty.
func TestCartNeedsItsFields(t *testing.T) {
	spec := *cartsUnder(t, schemas.Catalog())
	for _, name := range []string{"product_id", "quantity", "price"} {
		spec.Catalog = schemas.Catalog()
		l := lineFields(spec.Catalog)
		i := slices.IndexFunc(l, func(f expr.Field) bool { return f.Name == name })
		l[i].Name = "other"
		_, err := plan.Compile(&spec, Zones)
		want := `a cart needs the field "` + name + `" in the records of web.items, which the schema does not have`
		if err == nil || cmp.Diff(want, err.Error()) != "" {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func cartsUnder(t *testing.T, c *plan.Catalog) *plan.Spec {
	t.Helper()
	set, err := rule.Parse([]rule.File{{Name: "carts.yaml", Data: []byte(cartRules)}}, c, triggers.Kinds(), Zones)
	if err != nil {
		t.Fatal(err)
	}
	return set.Spec
}

// lineFields returns the fields of a line item of web.items.
func lineFields(c *plan.Catalog) []expr.Field {
	i := slices.IndexFunc(c.Fields[plan.Web], func(f expr.Field) bool { return f.Name == "items" })
	return c.Fields[plan.Web][i].Type.Elem.Fields
}

// withLineField returns c with one optional field more in its line items.
func withLineField(c *plan.Catalog, at int) *plan.Catalog {
	i := slices.IndexFunc(c.Fields[plan.Web], func(f expr.Field) bool { return f.Name == "items" })
	elem := c.Fields[plan.Web][i].Type.Elem
	elem.Fields = slices.Insert(elem.Fields, at, expr.Field{Name: "colour", Type: expr.Type{Kind: expr.String, Optional: true}})
	return c
}

// widened returns an event's fields under the schema of withLineField.
func widened(fields map[string]expr.Value, at int) map[string]expr.Value {
	out := map[string]expr.Value{}
	for path, v := range fields {
		if path == "items" {
			v.L = slices.Clone(v.L)
			for i := range v.L {
				v.L[i].L = slices.Insert(slices.Clone(v.L[i].L), at, expr.StringValue("red"))
			}
		}
		out[path] = v
	}
	return out
}

func allTold(r runner, calls []Call) []engine.Effect {
	var l []engine.Effect
	for i := range calls {
		emitted, _ := r.Run(&calls[i])
		l = append(l, emitted...)
	}
	return l
}
