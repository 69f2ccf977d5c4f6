package group

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// keepsTexts are rules that keep a text of each of many attributes.
func keepsTexts(n int) string {
	var b strings.Builder
	b.WriteString("version: 1\ndefaults: {timezone: UTC}\nsegments:\n")
	b.WriteString("  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: \"count(purchase) >= 1\"}\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {id: s%d, objective: a, owner: b, review_by: 2099-01-01, when: \"last(web.attributes[\\\"a%d\\\"]) == \\\"x\\\"\"}\n", i, i)
	}
	return b.String()
}

// A customer about which rules keep more than a record can hold costs a dead letter for
// each event that does not fit, and no transaction: everybody else of the partition
// goes on, and so does the customer with what fits.
func TestFatCustomer(t *testing.T) {
	g := newFleet(t, 1)
	reg := prometheus.NewRegistry()
	var log syncBuffer
	const attributes = 60
	in := g.start(keepsTexts(attributes), vfs.NewMem(), func(c *config.Config) {
		c.Metrics, c.Logger = metrics.New(reg), slog.New(slog.NewTextHandler(&log, nil))
	})
	in.ready()
	large := strings.Repeat("x", 30<<10)
	var records []*kgo.Record
	for i := range attributes {
		records = append(records, g.Event(plan.Web, "fat", g.Now(), map[string]any{"attributes": map[string]string{fmt.Sprint("a", i): large}}))
	}
	records = append(records, g.Event(plan.Purchase, "fat", g.Now(), nil), g.Event(plan.Purchase, "thin", g.Now(), nil),
		g.Event(plan.Web, "fat", g.Now(), map[string]any{"attributes": map[string]string{"a0": "x"}})) // makes room
	g.Produce(records...)
	in.caughtUp()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"fat buyer", "fat s0", "thin buyer"}) {
		t.Errorf("%v", got)
	}
	got := fixture.Gather(t, reg)
	dead := got["segmill_dead_letters_total{customer_size}"]
	fit := engine.MaxCustomerBytes / len(large)
	if want := float64(attributes - fit); dead < want || dead > want+2 {
		t.Errorf("%v dead letters, want about %v", dead, want)
	}
	if n := got["segmill_transactions_total{error}"]; n != 0 {
		t.Errorf("%v transactions failed", n)
	}
	for _, want := range []string{"customer_hash=", `last(web.attributes.a`, "largest_bytes=30", "rule=s"} {
		if !strings.Contains(log.b.String(), want) {
			t.Errorf("the log does not have %s: %s", want, log.b.String())
		}
	}
	if strings.Contains(log.b.String(), "=fat") {
		t.Error("the log names the customer")
	}
	g.verifyFromNothing(keepsTexts(attributes), nil)
}

// A record as large as inputs may have, with headers, that came to a wrong partition is
// forwarded; on topics of brokers' own limit, which were made by an earlier version, it
// is a dead letter.
func TestForwardingOfLargeRecords(t *testing.T) {
	for _, c := range []struct {
		limit string // of the repartition topic; "": as it is created
		want  []string
	}{{"", []string{"anna buyer"}}, {"1048588", nil}} {
		g := newFleet(t, 2)
		g.Client = g.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(3<<20))
		if c.limit != "" {
			if err := g.Broker.CreateTopic(rig.App+".repartition", 2, map[string]string{"max.message.bytes": c.limit}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := kadm.NewClient(g.Client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: kadm.StringPtr("3000000")}}, "purchase"); err != nil {
			t.Fatal(err)
		}
		in := g.start(fixture.Rules, vfs.NewMem(), nil)
		in.ready()
		r := g.Event(plan.Purchase, "anna", g.Now(), nil)
		r.Value = append(r.Value, strings.Repeat(" ", 1<<20-len(r.Value))...)
		r.Headers = []kgo.RecordHeader{{Key: "trace", Value: make([]byte, 100<<10)}}
		r.Partition = 1 - r.Partition
		g.Produce(r)
		in.caughtUp()
		dead := g.count(rig.App + ".dlq")
		if c.want != nil {
			g.Eventually("forwarded", func() bool { return slices.Equal(g.Members(), c.want) })
		} else if dead != 1 {
			t.Errorf("%d dead letters", dead)
		}
		in.stop()
	}
}
