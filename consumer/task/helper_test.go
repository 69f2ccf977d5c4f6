package task

import (
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// rules are what most tests run: things that events change, that time changes,
// and that a silence triggers.
const rules = `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) >= 1"}
  - {id: frequent, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase, days(2)) >= 3"}
  - {id: browsing, objective: a, owner: b, review_by: 2099-01-01, when: "did(web, hours(3))"}
  - {id: big, objective: a, owner: b, review_by: 2099-01-01, when: "sum(purchase.revenue, days(5)) > 300"}
triggers:
  - {id: cart_left, kind: abandoned_cart, after: 30m}
`

func zones(name string) (*time.Location, bool) {
	l, err := time.LoadLocation(name)
	return l, err == nil
}

func newEngine(t testing.TB, text string) *engine.Engine {
	t.Helper()
	set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), zones)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(set.Spec, zones)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(p, triggers.New(p), engine.Options{Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// testLogger writes to standard error if SEGMILL_LOG is set.
func testLogger() *slog.Logger {
	w := io.Discard
	if os.Getenv("SEGMILL_LOG") != "" {
		w = os.Stderr
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetHelp() == "" || !strings.HasPrefix(f.GetName(), "segmill_") {
			t.Errorf("%s has no help or another prefix", f.GetName())
		}
		if (f.GetType().String() == "COUNTER") != strings.HasSuffix(f.GetName(), "_total") {
			t.Errorf("%s is %v", f.GetName(), f.GetType())
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			key := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			got[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
}

const other = `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) >= 1"}
  - {id: frequent, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase, days(2)) >= 2"}
  - {id: visitor, objective: a, owner: b, review_by: 2099-01-01, when: "count(web) >= 20"}
`
