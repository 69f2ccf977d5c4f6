//go:build e2e

package e2e

import (
	"context"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/checker"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// judge runs the checker over what an app left on the broker and in the states of
// its instances, which must have stopped. With until the last of them ran to that
// instant, else the wall clock was used.
func (b broker) judge(t *testing.T, appName, rules string, until time.Time, es ...*instance) *checker.Report {
	t.Helper()
	loaded, err := app.LoadRules([]string{rules})
	if err != nil {
		t.Fatal(err)
	}
	read, topics := readerOf(t, loaded)
	cfg := checker.Config{
		Kafka: []kgo.Opt{kgo.SeedBrokers(b.kafka)}, App: appName, Changes: appName + ".changes", Triggers: appName + ".triggers",
		Spec: loaded.Set.Spec, Engine: loaded.Engine, Zones: app.Zones(), Grace: app.DefaultGrace,
		Read: read, Inputs: topics,
	}
	if !until.IsZero() {
		cfg.Clock, cfg.Until = config.EventsClock, engine.Millis(until.UnixMilli())
	}
	for _, e := range es {
		if _, err := os.Stat(e.state); err != nil {
			continue // it lost it last
		}
		s, err := state.Open(e.state, state.Options{Wake: engine.WakeOf})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.WasReset(); err != nil {
			t.Errorf("the state left in %s was damaged: %v", e.state, err)
		}
		cfg.Stores = append(cfg.Stores, s)
	}
	r, err := checker.Check(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.Count() > 0 {
		t.Error("the checker found violations")
	}
	return r
}

// readerOf returns how records are read for rules, and the topics that they are on.
func readerOf(t *testing.T, rules *app.Rules) (read func(*schemas.Record, *engine.Event) (schemas.Result, error), topics []string) {
	t.Helper()
	inputs := map[string]plan.Stream{"events.web": plan.Web, "events.email": plan.Email, "events.purchase": plan.Purchase}
	zones := app.Zones()
	reader, err := schemas.NewReader(schemas.Config{
		Catalog: rules.Engine.Catalog(), Layouts: rules.Engine.Layout, Topics: inputs,
		Zones: func(name string) bool { _, ok := zones(name); return ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	return reader.Read, slices.Sorted(maps.Keys(inputs))
}
