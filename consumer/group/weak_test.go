package group

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/inspect"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// A changelog that Kafka would delete is refused, with the command that mends it; one
// whose records were deleted is no first start.
func TestChangelogMustBeKept(t *testing.T) {
	for _, policy := range []string{"delete", "compact,delete", "delete,compact"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 1)
			if err := g.Broker.CreateTopic(rig.App+".changelog", 1, map[string]string{"cleanup.policy": policy}); err != nil {
				t.Fatal(err)
			}
			in := g.start(fixture.Rules, vfs.NewMem(), nil)
			err := in.wait()
			if err == nil || !strings.Contains(err.Error(), "shop.changelog has cleanup.policy "+policy) ||
				!strings.Contains(err.Error(), "--entity-name shop.changelog --add-config cleanup.policy=compact") {
				t.Errorf("%v", err)
			}
			seen, err := inspect.Inspect(t.Context(), g.Config(fixture.Rules, nil), 0)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(seen.Findings, func(f inspect.Finding) bool {
				return f.Error && f.Topic == rig.App+".changelog" && strings.Contains(f.Message, "cleanup.policy "+policy)
			}) {
				t.Errorf("a check finds %v", seen.Findings)
			}
		})
	}
	t.Run("records deleted", func(t *testing.T) {
		t.Parallel()
		g := newFleet(t, 1)
		in := g.start(fixture.Rules, vfs.NewMem(), nil)
		in.ready()
		g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
		in.caughtUp()
		in.stop()
		end := g.Ends(rig.App + ".changelog")[rig.App+".changelog"][0]
		if err := g.Broker.DeleteRecords(rig.App+".changelog", 0, end); err != nil {
			t.Fatal(err)
		}
		before := g.Effects("changes")[0]
		in = g.start(fixture.Rules, vfs.NewMem(), nil)
		g.taskIs(in.o, 0, task.Stopped, "its records were deleted, and with them the state")
		in.stop()
		if after := g.Effects("changes")[0]; len(after) != len(before) {
			t.Errorf("%v is emitted a second time", after[len(before):])
		}
	})
}

// Inputs are created with the retention that rules need, and those that have less, or
// are compacted, are named.
func TestInputsMustBeKept(t *testing.T) {
	const day = engine.Millis(24 * 3_600_000)
	for _, c := range []struct {
		back map[string]engine.Millis
		want string
	}{
		{map[string]engine.Millis{"new": 30 * day, "web": day}, "2592000000"},
		{map[string]engine.Millis{"new": day}, "604800000"},
		{map[string]engine.Millis{"new": day, "web": plan.Forever}, "-1"},
		{nil, "604800000"}, // the broker's own
	} {
		g := newFleet(t, 1)
		in := g.start(fixture.Rules, vfs.NewMem(), func(cfg *config.Config) {
			cfg.Inputs, cfg.LookBack, cfg.Create.Partitions = append(cfg.Inputs, "new"), c.back, 1
		})
		g.Eventually("ready", func() bool { return in.o.Status().Ready })
		in.stop()
		if got := g.Setting("new", "retention.ms"); got != c.want {
			t.Errorf("%v: retention.ms %s, want %s", c.back, got, c.want)
		}
	}

	g := newFleet(t, 1)
	for topic, settings := range map[string]map[string]string{
		"short": {"retention.ms": "86400000"}, "long": {"retention.ms": "-1"}, "compacted": {"cleanup.policy": "compact"},
		"both": {"cleanup.policy": "compact,delete", "retention.ms": "1000"},
	} {
		if err := g.Broker.CreateTopic(topic, 1, settings); err != nil {
			t.Fatal(err)
		}
	}
	reg := prometheus.NewRegistry()
	metrics := metrics.New(reg)
	more := func(cfg *config.Config) {
		cfg.Metrics = metrics
		cfg.Inputs = append(cfg.Inputs, "short", "long", "compacted", "both")
		cfg.LookBack = map[string]engine.Millis{"short": 2 * day, "long": plan.Forever, "compacted": day, "both": day, "web": day, "purchase": 8 * day}
	}
	in := g.start(fixture.Rules, vfs.NewMem(), more)
	g.Eventually("ready", func() bool { return in.o.Status().Ready })
	got := fixture.Gather(t, reg)
	in.stop()
	want := map[string][]string{"compacted": {"both", "compacted"}, "retention": {"both", "purchase", "short"}}
	cfg := g.Config(fixture.Rules, nil)
	more(&cfg)
	seen, err := inspect.Inspect(t.Context(), cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	for kind, topics := range want {
		var measured []string
		for name := range maps.Keys(got) {
			if rest, ok := strings.CutPrefix(name, "segmill_topic_weaknesses{"); ok {
				if topic, ok := strings.CutSuffix(rest, ","+kind+"}"); ok {
					measured = append(measured, topic)
				}
			}
		}
		if slices.Sort(measured); !slices.Equal(measured, topics) {
			t.Errorf("%s: the metric has %v, want %v", kind, measured, topics)
		}
		if !slices.ContainsFunc(seen.Findings, func(f inspect.Finding) bool { return !f.Error && f.Topic == strings.Join(topics, ", ") }) {
			t.Errorf("%s: a check finds %v", kind, seen.Findings)
		}
	}
}

// How far back rules look in a stream: windows, and all time.
func TestLookBack(t *testing.T) {
	const day = engine.Millis(24 * 3_600_000)
	p := fixture.NewEngine(t, `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: a, objective: a, owner: b, review_by: 2099-01-01, when: "count(web, days(3)) >= 1 && sum(purchase.revenue, days(5)) > 300"}
  - {id: b, objective: a, owner: b, review_by: 2099-01-01, when: "distinct(web.name, days(40)) >= 2 && count(email) > 1"}
`).Plan()
	for stream, want := range map[plan.Stream]engine.Millis{
		plan.Web: 40 * day, plan.Purchase: 5 * day, plan.Email: plan.Forever, plan.Consent: 0,
	} {
		if got := p.LookBack(stream); got != want {
			t.Errorf("%v: %d, want %d", stream, got, want)
		}
	}
}
