package group

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	g := newFleet(t, 1)
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.Metrics = metrics.New(reg) })
	in.ready()
	bad := g.Event(plan.Web, "anna", g.Now(), nil)
	bad.Value = []byte("{")
	bought := g.Event(plan.Purchase, "anna", g.Now(), nil)
	again := *bought
	g.Produce(bad, bought, &again)
	in.caughtUp()
	g.Eventually("gauges", func() bool { return fixture.Gather(t, reg)["segmill_tasks{running}"] == 1 })
	in.stop()
	got := fixture.Gather(t, reg)
	for name, want := range map[string]float64{
		"segmill_events_total{dead_letter,web}":                    1,
		"segmill_events_total{folded,purchase}":                    1,
		"segmill_events_total{duplicate,purchase}":                 1,
		"segmill_dead_letters_total{format}":                       1,
		"segmill_membership_changes_total{entered,event,buyer}":    1,
		"segmill_membership_changes_total{entered,event,frequent}": 0,
		"segmill_task_acquisitions_total{assigned}":                1,
		"segmill_event_time_lag_seconds{0,purchase}":               0,
		"segmill_clock_stopped{}":                                  0,
		"segmill_state_restore_seconds{}":                          1,
		"segmill_end_to_end_seconds{}":                             1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"segmill_commit_seconds{}", "segmill_fold_seconds{}", "segmill_transactions_total{committed}"} {
		if got[name] == 0 {
			t.Errorf("%s is 0", name)
		}
	}
	kafka := false
	for name := range got {
		kafka = kafka || strings.HasPrefix(name, "segmill_kafka_")
		if strings.Contains(name, "anna") {
			t.Errorf("%s names a customer", name)
		}
	}
	if !kafka {
		t.Error("nothing of the client library")
	}
}

// The topics that the engine creates for itself have the settings that its
// guarantees need.
func TestTopicsCreated(t *testing.T) {
	g := newFleet(t, 2)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	in.stop()
	topics := []string{rig.App + ".changelog", rig.App + ".repartition", rig.App + ".dlq", "changes", "triggers"}
	for topic, n := range g.PartitionsOf(topics...) {
		if n != 2 {
			t.Errorf("%s has %d partitions", topic, n)
		}
	}
	if got := g.Setting(rig.App+".changelog", "cleanup.policy"); got != "compact" {
		t.Errorf("the changelog is %q", got)
	}
	if got := g.Setting(rig.App+".repartition", "retention.ms"); got != "-1" {
		t.Errorf("forwarded records are kept %q", got)
	}
	if !slices.Equal(in.o.Config.Inputs, []string{"profile", "purchase", "web"}) {
		t.Errorf("inputs %v", in.o.Config.Inputs)
	}
}
