package group

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/inspect"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// An inspection reports the share of records on a wrong partition by topic, of the
// newest ones only, and what is wrong with topics; it changes nothing.
func TestInspect(t *testing.T) {
	g := newFleet(t, 4)
	look := func(perPartition int, change func(*config.Config)) *inspect.Inspection {
		t.Helper()
		cfg := g.Config(fixture.Rules, nil)
		if change != nil {
			change(&cfg)
		}
		i, err := inspect.Inspect(t.Context(), cfg, perPartition)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	about := func(i *inspect.Inspection, topic, text string) bool {
		for _, f := range i.Findings {
			if f.Topic == topic && strings.Contains(f.Message, text) {
				return true
			}
		}
		return false
	}
	var records []*kgo.Record
	wrong := 0
	for i := range 400 {
		// These are old and of a producer that is right; the newest are not.
		records = append(records, g.Event(plan.Web, fmt.Sprintf("c%d", i), g.Now(), nil))
		r := g.Event(plan.Purchase, fmt.Sprintf("c%d", i), g.Now(), nil)
		if r.Partition = int32(crc32.ChecksumIEEE(r.Key) % 4); r.Partition != g.Route.Partition(string(r.Key)) {
			wrong++
		}
		records = append(records, r)
	}
	g.Produce(records...)
	// A transaction leaves an end behind that is no record.
	cl := g.NewClient(kgo.TransactionalID("producer"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	last := g.Event(plan.Profile, "anna", g.Now(), nil)
	if err := cl.ProduceSync(t.Context(), last).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}

	i := look(1000, nil)
	if i.Inputs != 3 || i.Partitions != 4 || i.Sampled != 801 || len(i.Create) != 6 {
		t.Errorf("%+v", i)
	}
	if !about(i, "purchase", fmt.Sprintf("%d %% of 400 sampled records are on another partition", (100*wrong+200)/400)) ||
		about(i, "web", "another partition") || about(i, "profile", "another partition") {
		t.Errorf("%d wrong: %+v", wrong, i.Findings)
	}
	if n := g.PartitionsOf(rig.App + ".changelog")[rig.App+".changelog"]; n > 0 {
		t.Error("it has created topics")
	}
	// Of the newest 10 of each partition; the horizon is that of the engine.
	var newest []*kgo.Record
	for p := range g.Partitions {
		for _, id := range g.CustomersOf((p+1)%g.Partitions, 10) {
			r := g.Event(plan.Web, id, g.Now(), nil)
			r.Partition = p
			newest = append(newest, r)
		}
	}
	g.Produce(newest...)
	if i = look(10, nil); i.Sampled != 81 || !about(i, "web", "100 % of 40 sampled records are on another partition") {
		t.Errorf("%+v", i)
	}
	g.Produce(&kgo.Record{Topic: "web", Partition: 1, Value: []byte("{")}, g.Event(plan.Web, "c1", g.Now().AddDate(1, 0, 0), nil))
	if i = look(1000, nil); !about(i, "web", "0.45 % of 442 sampled records are bad input: format 1, future 1") {
		t.Errorf("%+v", i.Findings)
	}

	// It finds what a start would refuse, and nothing else.
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	in.stop()
	for _, f := range look(0, nil).Findings {
		if f.Error {
			t.Errorf("%+v", f)
		}
	}
	// The log of rules is created by the program.
	if i := look(0, nil); !slices.Equal(i.Create, []string{rig.App + ".rules"}) {
		t.Errorf("%+v", i)
	}
	if i := look(0, func(c *config.Config) { c.Inputs = append(c.Inputs, "none") }); !about(i, "none", "does not exist") {
		t.Errorf("%+v", i.Findings)
	}
	g.AddPartitions("web", 5) // an input may have any number
	g.AddPartitions("changes", 5)
	if i = look(0, nil); !about(i, "changes", "it has 5 partitions and there are 4 tasks") || about(i, "web", "partitions and") || i.Partitions != 4 {
		t.Errorf("%+v", i.Findings)
	}
}
