package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

var (
	shopFrom = expr.MillisOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	shopTo   = shopFrom + 120*Day
)

// The shop's events are in order, inside the time asked for, have different ids,
// fields of the schemas' names and kinds, and are the same every time.
func TestShop(t *testing.T) {
	all := slices.Collect(Shop(7, 50, shopFrom, shopTo))
	if again := slices.Collect(Shop(7, 50, shopFrom, shopTo)); !cmp.Equal(all, again) {
		t.Error("the same seed gives other events")
	}
	kinds := fieldKinds()
	ids, last := map[string]bool{}, shopFrom
	for i := range all {
		r := &all[i]
		if r.At < last || r.At >= shopTo {
			t.Fatalf("%s: after %s, want in order before %s", r, last, shopTo)
		}
		last = r.At
		if key := r.Stream.String() + r.Source + r.ID; ids[key] {
			t.Fatalf("%s: id used before", r)
		} else {
			ids[key] = true
		}
		for path, v := range r.Fields {
			if want := kinds[r.Stream.String()+"."+path]; v.K != want {
				t.Fatalf("%s: %s is of kind %d, want %d", r, path, v.K, want)
			}
		}
	}
	for range Shop(7, 50, shopFrom, shopTo) {
		break // a reader may stop at any time
	}
}

// fieldKinds returns the kind of every field by stream and path.
func fieldKinds() map[string]expr.Kind {
	kinds := map[string]expr.Kind{}
	for s, fields := range schemas.Catalog().Streams {
		for _, f := range fields {
			kinds[fmt.Sprintf("%s.%s", plan.Stream(s), f.Name)] = f.Type.Kind
		}
	}
	for _, path := range []string{"web.attributes.plan", "profile.traits.device"} {
		kinds[path] = expr.String
	}
	return kinds
}

// A realistic history, too, gives the effects that the oracle expects, and enough
// of them to be worth looking at.
func TestShopAgainstOracle(t *testing.T) {
	spec := mustParse(t, "shop", scenarioRules(shopRules))
	o, u := NewOracle(spec, engine.Options{Zones: Zones}), newSubject(t, spec)
	seen := map[string]int{}
	check := func(c Call) {
		want, _ := o.Run(&c)
		got, _ := u.Run(&c)
		if d := compareEffects(want, got); d != "" {
			t.Fatalf("%s\n%s", &c, d)
		}
		for i := range got {
			seen[got[i].Action.String()+" "+got[i].Name]++
		}
	}
	customers := map[string]bool{}
	for r := range Shop(3, 12, shopFrom, shopTo) {
		customers[r.Customer] = true
		check(Call{Do: DoApply, Customer: r.Customer, Clock: r.At - 2*Second, Record: r})
	}
	for id := range customers {
		check(Call{Do: DoAdvance, Customer: id, Clock: shopTo})
	}
	for _, name := range []string{"entered loyal", "exited loyal", "entered life/lapsing", "fired cart", "fired quiet", "fired birthday", "entered reads"} {
		if seen[name] == 0 {
			t.Errorf("nobody %s; seen %v", name, seen)
		}
	}
}

const shopRules = `
zone Europe/Paris
segment loyal: count(purchase, days(60)) >= 2 && sum(purchase.revenue, days(60)) > 150.0
segment reads: did(email.action == "opened" && !email.machine_open, days(14)) && consented("email")
stage life/lapsing: count(purchase) > 0 && since_last(activity) >= days(30)
stage life/buyer: count(purchase) > 0
stage life/visitor: true
trigger cart: {kind: abandoned_cart, after: 30m}
trigger quiet: {kind: inactivity, after: 21d}
trigger birthday: {kind: anniversary, date: profile.birth_date, at: "09:00", offset: -7d}
`
