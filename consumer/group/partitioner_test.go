package group

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// Whatever partitioner producers use, customers have the same facts and memberships,
// and what it costs is counted. consistent_random is librdkafka's default.
func TestPartitioners(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 1) {
		eng := fixture.NewEngine(t, fixture.Rules)
		type result struct {
			members []string
			facts   map[string]string
		}
		var want result
		rng := rand.New(rand.NewPCG(seed, 1))
		for _, p := range []struct {
			name string
			of   func(key []byte, n int32) int32
		}{
			{"murmur2", func(key []byte, n int32) int32 { return broker.NewRouter(n).Partition(string(key)) }},
			{"consistent_random", func(key []byte, n int32) int32 { return int32(crc32.ChecksumIEEE(key) % uint32(n)) }},
			{"random", func(_ []byte, n int32) int32 { return rng.Int32N(n) }},
		} {
			t.Run(fmt.Sprintf("%s/SEED=%d", p.name, seed), func(t *testing.T) {
				g := newFleet(t, 4)
				records := g.timeline(rand.New(rand.NewPCG(seed, 0)), 800)
				wrong := map[string]int{}
				for _, r := range records {
					if r.Partition = p.of(r.Key, g.Partitions); r.Partition != g.Route.Partition(string(r.Key)) {
						wrong[r.Topic]++
					}
				}
				g.Produce(records...)
				reg := prometheus.NewRegistry()
				files := vfs.NewMem()
				in := g.start(fixture.Rules, files, func(c *config.Config) {
					rig.OverHistory(c)
					c.Metrics = metrics.New(reg)
				})
				if err := in.wait(); err != nil {
					t.Fatal(err)
				}
				got := result{g.Members(), g.facts(eng, files)}
				if p.name == "murmur2" {
					want = got
				}
				if diff := gocmp.Diff(want.members, got.members); diff != "" {
					t.Error(diff)
				}
				if diff := gocmp.Diff(want.facts, got.facts); diff != "" {
					t.Errorf("facts differ: %d bytes of difference", len(diff))
				}
				metrics, all := fixture.Gather(t, reg), 0
				for _, topic := range []string{"web", "purchase", "profile"} {
					all += wrong[topic]
					if n := metrics["segmill_events_total{forwarded,"+topic+"}"]; int(n) != wrong[topic] {
						t.Errorf("%v records of %s were forwarded, want %d", n, topic, wrong[topic])
					}
				}
				if n := metrics["segmill_forwarded_total{}"]; int(n) != all || (all == 0) != (p.name == "murmur2") {
					t.Errorf("%v records were forwarded, want %d of %d", n, all, len(records))
				}
				folded, dead, forwarded := g.Totals()
				if int(folded) != len(records) || dead != 0 || int(forwarded) != all {
					t.Errorf("folded %d, dead letters %d, forwarded %d", folded, dead, forwarded)
				}
				g.verifyFromNothing(fixture.Rules, func(c *config.Config) { c.Time.Clock = config.EventsClock })
			})
		}
	}
}

// facts returns the facts of every customer in a local copy, as of the end of
// history.
func (g *fleet) facts(eng *engine.Engine, files vfs.FS) map[string]string {
	g.Helper()
	got := map[string]string{}
	for id, b := range g.stored(files) {
		c, err := eng.Decode(id, []byte(b))
		if err != nil {
			g.Fatal(err)
		}
		got[id] = string(eng.AppendFacts(nil, c, rig.HistoryEnd))
	}
	return got
}
