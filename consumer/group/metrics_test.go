package group

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine/plan"
)

// gather returns the values of counters and gauges, and the counts of
// histograms, by name and labels.
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

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	g := newRig(t, 1)
	in := g.start(rules, vfs.NewMem(), func(c *config.Config) { c.Metrics = metrics.New(reg) })
	in.ready()
	bad := g.event(plan.Web, "anna", g.now(), nil)
	bad.Value = []byte("{")
	bought := g.event(plan.Purchase, "anna", g.now(), nil)
	again := *bought
	g.produce(bad, bought, &again)
	in.caughtUp()
	g.eventually("gauges", func() bool { return gather(t, reg)["segmill_tasks{running}"] == 1 })
	in.stop()
	got := gather(t, reg)
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

// An input that gets more partitions ends the run.
func TestMorePartitions(t *testing.T) {
	g := newRig(t, 2)
	in := g.start(rules, vfs.NewMem(), func(c *config.Config) { c.Watch = 10 * feed.Interval })
	in.ready()
	g.addPartition("web", 3)
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "web now has 3 partitions and had 2") {
		t.Errorf("%v", err)
	}
	in = g.start(rules, vfs.NewMem(), nil)
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "has 3") {
		t.Errorf("%v", err)
	}
}

// The topics that the engine creates for itself have the settings that its
// guarantees need.
func TestTopicsCreated(t *testing.T) {
	g := newRig(t, 2)
	in := g.start(rules, vfs.NewMem(), nil)
	in.ready()
	in.stop()
	topics := []string{app + ".changelog", app + ".repartition", app + ".dlq", "changes", "triggers"}
	for topic, n := range g.partitionsOf(topics...) {
		if n != 2 {
			t.Errorf("%s has %d partitions", topic, n)
		}
	}
	if got := g.setting(app+".changelog", "cleanup.policy"); got != "compact" {
		t.Errorf("the changelog is %q", got)
	}
	if got := g.setting(app+".repartition", "retention.ms"); got != "-1" {
		t.Errorf("forwarded records are kept %q", got)
	}
	if !slices.Equal(in.o.Config.Inputs, []string{"profile", "purchase", "web"}) {
		t.Errorf("inputs %v", in.o.Config.Inputs)
	}
}
