package group

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// stranger is a producer with a transaction that it has begun on an input and does not
// end.
func (g *fleet) stranger(topic string, partition int32) *kgo.Client {
	g.Helper()
	cl := g.NewClient(kgo.TransactionalID("stranger"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(time.Minute))
	err := cl.BeginTransaction()
	if err == nil {
		err = cl.ProduceSync(g.ctx(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte("{}")}).FirstErr()
	}
	if err != nil {
		g.Fatal(err)
	}
	return cl
}

func (g *fleet) ctx() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	g.Cleanup(cancel)
	return ctx
}

// leftIn returns a record of a cart that is left after so long.
func (g *fleet) leftIn(customer string, d time.Duration) *kgo.Record {
	g.Helper()
	return g.Event(plan.Web, customer, g.Now().Add(-30*time.Minute+d), map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}})
}

// What stands behind a transaction that somebody has left open was acknowledged, and
// nobody can read it: silence is not judged without it, the lag counts it, and the
// partition says what it waits for.
func TestOpenTransactionHoldsTheClock(t *testing.T) {
	t.Parallel()
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		t.Run("then ends", func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 1)
			reg := prometheus.NewRegistry()
			in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.Metrics, c.Time.MaxMergeWait = metrics.New(reg), 100*time.Millisecond })
			in.ready()
			in.caughtUp()
			stranger := g.stranger("purchase", 0)
			g.Produce(g.leftIn("anna", time.Second))
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
			g.Eventually("it is waited for", func() bool {
				return slices.ContainsFunc(in.o.Status().Tasks[0].Waits, func(w feed.Wait) bool {
					return w.Input.Topic == "purchase" && strings.Contains(w.Reason, "a transaction is open at offset 0")
				})
			})
			if n := len(g.Read("triggers")[0]); n > 0 {
				t.Errorf("%d carts are left although a purchase was acknowledged", n)
			}
			if lag := in.o.Status().Lag; lag < 2 {
				t.Errorf("a lag of %d", lag)
			}
			if got := g.Members(); !slices.Equal(got, []string{"anna browsing"}) {
				t.Errorf("events of the other topic are not taken: %v", got)
			}
			if err := stranger.EndTransaction(g.ctx(), end); err != nil {
				t.Fatal(err)
			}
			g.Eventually("the purchase counts", func() bool { return slices.Contains(g.Members(), "anna buyer") })
			in.follows(g.Now())
			in.stop()
			if n := len(g.Read("triggers")[0]); n > 0 {
				t.Errorf("%d carts are left although there was a purchase", n)
			}
		})
	}
	t.Run("for too long", func(t *testing.T) {
		t.Parallel()
		g := newFleet(t, 1)
		reg := prometheus.NewRegistry()
		in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
			c.Metrics, c.Time.MaxMergeWait, c.Time.MaxOpenTransaction = metrics.New(reg), 100*time.Millisecond, 6*time.Second
		})
		in.ready()
		in.caughtUp()
		stranger := g.stranger("purchase", 0)
		g.Produce(g.leftIn("anna", time.Second))
		g.Eventually("timers go on", func() bool { return len(g.Read("triggers")[0]) == 1 })
		if n := fixture.Gather(t, reg)["segmill_open_transactions_passed_over_total{purchase}"]; n != 1 {
			t.Errorf("%v were passed over", n)
		}
		// What comes out of it in the end counts, late.
		g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
		if err := stranger.EndTransaction(g.ctx(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		g.Eventually("the purchase counts", func() bool { return slices.Contains(g.Members(), "anna buyer") })
		in.stop()
	})
}

// A run with an end waits for a transaction that was open at its start: its records
// were there.
func TestUntilWaitsForOpenTransactions(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 1)
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	stranger := g.stranger("purchase", 0)
	g.Produce(g.Event(plan.Purchase, "anna", day, nil))
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(day.Add(time.Hour).UnixMilli())
	})
	g.Eventually("it is waited for", func() bool { return len(in.o.Status().Tasks) == 1 && in.o.Status().Tasks[0].Lag >= 2 })
	if err := stranger.EndTransaction(g.ctx(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	if got := g.Members(); !slices.Equal(got, []string{"anna buyer"}) {
		t.Error(got)
	}
}
