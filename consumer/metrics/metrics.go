// Package metrics has every instrument that the tasks of an instance count with, and
// their names. The one rule it keeps: no label holds a customer.
package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// Metrics are what the tasks of an instance count. No label holds a customer.
type Metrics struct {
	Events       *prometheus.CounterVec // topic, result
	Lag          *prometheus.GaugeVec   // topic, partition
	Changes      *prometheus.CounterVec // segment, action, cause
	Triggers     *prometheus.CounterVec // trigger
	TimerDelay   prometheus.Histogram
	Commit       prometheus.Histogram
	Fold         prometheus.Histogram
	EndToEnd     prometheus.Histogram
	Restore      prometheus.Histogram
	Restored     prometheus.Counter
	Restoring    *prometheus.GaugeVec   // partition
	Damaged      *prometheus.CounterVec // cause
	Standbys     *prometheus.GaugeVec   // state
	StandbyLag   *prometheus.GaugeVec   // partition
	StandbyRead  prometheus.Counter
	DeadLetters  *prometheus.CounterVec // cause
	LeftOut      *prometheus.CounterVec // cause
	Forwarded    prometheus.Counter
	EarlyWakes   prometheus.Counter
	Coarsened    prometheus.Counter
	Unmatched    prometheus.Counter
	Nobody       prometheus.Counter
	Losses       *prometheus.CounterVec // facts
	Overdue      prometheus.Counter
	Transactions *prometheus.CounterVec // result
	Acquisitions *prometheus.CounterVec // reason
	MergeWaits   prometheus.Counter
	FetchIdle    prometheus.Counter
	FetchPauses  prometheus.Counter
	Waiting      *prometheus.GaugeVec   // partition, topic
	PassedOver   *prometheus.CounterVec // topic
	Grown        *prometheus.CounterVec // topic
	Weak         *prometheus.GaugeVec   // topic, weakness
	State        *prometheus.GaugeVec   // state
	StateBytes   *prometheus.GaugeVec   // kind
	ClockStopped prometheus.Gauge
	Kafka        []kgo.Hook // kprom, registered once for all clients
}

// Causes of segmill_state_damaged_total.
const (
	DamagedStart   = "start"   // the database could not be opened
	DamagedRunning = "running" // wrong bytes were met while it was in use
	DamagedDigest  = "digest"  // one partition's copy is not what its position says
)

// New returns metrics registered with reg; nil registers them nowhere.
func New(reg prometheus.Registerer) *Metrics {
	m := &Metrics{}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "segmill", Name: name, Help: help}, labels)
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "segmill", Name: name, Help: help})
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "segmill", Name: name, Help: help}, labels)
	}
	seconds := func(name, help string, from float64, n int) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "segmill", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(from, 2, n),
		})
	}
	m.Events = vec("events_total", "Records read, by topic and by what became of them.", "topic", "result")
	m.Lag = gauges("event_time_lag_seconds", "Wall clock minus the time of the last event taken, 0 if the partition is read to its end.", "topic", "partition")
	m.Changes = vec("membership_changes_total", "Membership changes committed.", "segment", "action", "cause")
	m.Triggers = vec("triggers_fired_total", "Triggers committed.", "trigger")
	m.TimerDelay = seconds("timer_delay_seconds", "Wall clock minus due instant of timers that the task clock fired.", 0.01, 16)
	m.Commit = seconds("commit_seconds", "Duration of a transaction, from its begin to its answer.", 0.001, 14)
	m.Fold = seconds("fold_seconds", "Duration of folding one batch, without its commit.", 0.0001, 16)
	m.EndToEnd = seconds("end_to_end_seconds", "Wall clock at commit minus the time of the event that caused an effect.", 0.01, 16)
	m.Restore = seconds("state_restore_seconds", "Duration of restoring a task from its changelog.", 0.001, 20)
	m.Restored = counter("state_restored_records_total", "Changelog records read to restore tasks.")
	m.Restoring = gauges("restore_remaining_records", "Changelog offsets that a restore has yet to read.", "partition")
	m.Damaged = vec("state_damaged_total", "Times that local state was found to be damaged and was restored, by how it was found.", "cause")
	for _, cause := range []string{DamagedStart, DamagedRunning, DamagedDigest} {
		m.Damaged.WithLabelValues(cause) // so that the first one is an increase
	}
	m.Standbys = gauges("standbys", "Copies of partitions of other instances that are kept here, by state.", "state")
	m.StandbyLag = gauges("standby_lag_records", "Changelog offsets that such a copy lacks.", "partition")
	m.StandbyRead = counter("standby_records_total", "Changelog records read to keep such copies.")
	m.DeadLetters = vec("dead_letters_total", "Records refused: put on the dead-letter topic, or named there by a dead letter of several.", "cause")
	m.LeftOut = vec("dead_letters_left_out_total", "Records refused that have no dead letter of their own, because there were too many; one of several names their offsets.", "cause")
	m.Forwarded = counter("forwarded_total", "Records that arrived on a wrong partition and were forwarded.")
	m.EarlyWakes = counter("timer_early_wakes_total", "Wake-ups at which nothing changed.")
	m.Coarsened = counter("lists_coarsened_total", "Lists and sets of customers that became inexact because of their size.")
	m.Unmatched = counter("cart_removals_unmatched_total", "Items removed from carts that had nothing of the kind in them when the removal was read.")
	m.Nobody = counter("erasures_unknown_total", "Erasures of customers of whom nothing was known.")
	m.Losses = vec("rebuild_losses_total", "Customers who lost facts in a rebuild, because inputs no longer have their events: all or some.", "facts")
	m.Overdue = counter("timers_deferred_total", "Times that overdue timers were held back to keep their rate bounded.")
	m.Transactions = vec("transactions_total", "Transactions, by result.", "result")
	m.Acquisitions = vec("task_acquisitions_total", "Times a task was acquired, by reason.", "reason")
	m.MergeWaits = counter("merge_waits_exceeded_total", "Times that records were taken without waiting any longer for another topic.")
	m.Waiting = gauges("waiting_seconds", "For how long a running partition has waited without progress although there is something to do, 0 after it. Topic is empty if it is not an input that is waited for.", "partition", "topic")
	m.Weak = gauges("topic_weaknesses", "1 for a topic whose settings are weaker than the guarantees assume, as seen at the start.", "topic", "weakness")
	m.Grown = vec("input_partitions_added_total", "Partitions that an input has got while the engine runs, and that are read from their beginning.", "topic")
	m.PassedOver = vec("open_transactions_passed_over_total", "Transactions that stayed open on an input for longer than max_open_transaction, so that timers no longer wait for them.", "topic")
	m.FetchIdle = counter("fetch_idle_polls_total", "Times that a task waited a few milliseconds for records that are known to be unread, and none came.")
	m.FetchPauses = counter("fetch_pauses_total", "Times that a topic was left out of fetches because it had enough in hand while another one had nothing.")
	m.State = gauges("tasks", "Tasks of this instance by state.", "state")
	m.StateBytes = gauges("state_bytes", "Size of the local state.", "kind")
	m.ClockStopped = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "segmill", Name: "clock_stopped", Help: "1 while timers are stopped because the wall clock jumped ahead.",
	})
	if reg != nil {
		reg.MustRegister(m.Events, m.Lag, m.Changes, m.Triggers, m.TimerDelay, m.Commit, m.Fold, m.EndToEnd,
			m.Restore, m.Restored, m.Restoring, m.Damaged, m.Standbys, m.StandbyLag, m.StandbyRead, m.DeadLetters, m.LeftOut, m.Forwarded, m.EarlyWakes, m.Coarsened, m.Unmatched, m.Nobody, m.Losses, m.Overdue, m.Transactions, m.Acquisitions,
			m.MergeWaits, m.FetchIdle, m.FetchPauses, m.Waiting, m.PassedOver, m.Grown, m.Weak, m.State, m.StateBytes, m.ClockStopped)
		m.Kafka = kafkaHooks(reg)
	}
	return m
}

// kafkaHooks returns the client library's own metrics. kprom registers its
// collectors when a client is made and unregisters them when it is closed, and
// clients come and go with every task; so it is registered once, with no client.
func kafkaHooks(reg prometheus.Registerer) []kgo.Hook {
	k := kprom.NewMetrics("segmill", kprom.Subsystem("kafka"), kprom.Registerer(clientless{reg}))
	k.OnNewClient(nil)
	return []kgo.Hook{sharedHook{k}}
}

// clientless leaves out the gauges that ask one client what it has buffered.
type clientless struct{ prometheus.Registerer }

// MustRegister registers collectors, but for gauges of buffers.
func (r clientless) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		descs := make(chan *prometheus.Desc, 16)
		c.Describe(descs)
		if !strings.Contains((<-descs).String(), "buffered_") {
			r.Registerer.MustRegister(c)
		}
	}
}

// sharedHook is kprom without its opinion on clients.
type sharedHook struct{ *kprom.Metrics }

// OnNewClient does nothing.
func (sharedHook) OnNewClient(*kgo.Client) {}

// OnClientClosed does nothing.
func (sharedHook) OnClientClosed(*kgo.Client) {}

// Since observes the time from start to now in seconds.
func Since(h prometheus.Histogram, start, now time.Time) { h.Observe(now.Sub(start).Seconds()) }
