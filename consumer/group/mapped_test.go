package group

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// actMappings read records of an input, "log", that are several events of two streams.
const actMappings = `
mappings:
  pages:
    stream: web
    each: msg.acts
    when: has(it.page)
    map: {event_id: it.n, customer_id: it.who, occurred_at: it.t, name: it.page, source: it.from}
  sales:
    stream: purchase
    each: msg.acts
    when: has(it.cents)
    map: {event_id: it.n, customer_id: it.who, occurred_at: it.t, order_id: it.n, currency: '"EUR"', revenue: it.cents / 100, source: it.from}
`

// mappedFleet is newFleet with the input "log".
func mappedFleet(t testing.TB, partitions int32) *fleet {
	t.Helper()
	return newFleet(t, partitions, kfake.SeedTopics(partitions, "log"))
}

// readsLog makes a Config read "log" by the mappings of rules.
func readsLog(t testing.TB, text string, c *config.Config) {
	t.Helper()
	set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), fixture.Zones)
	if err != nil {
		t.Fatal(err)
	}
	var l []*plan.Mapping
	for i := range set.Spec.Mappings {
		l = append(l, &set.Spec.Mappings[i])
	}
	reader, err := schemas.NewReader(schemas.Config{
		Catalog: c.Engine.Catalog(), Layouts: c.Engine.Layout, Locations: fixture.Zones,
		Topics:   map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile},
		Mappings: map[string][]*plan.Mapping{"log": l},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Inputs, c.Mapped, c.Read = append(c.Inputs, "log"), []string{"log"}, reader.Read
}

// startMapped is start for rules with mappings.
func (g *fleet) startMapped(text string, files vfs.FS, change func(*config.Config)) *instance {
	g.Helper()
	return g.start(text, files, func(c *config.Config) {
		readsLog(g, text, c)
		if change != nil {
			change(c)
		}
	})
}

// act is an element of a record of "log".
type act struct {
	N     string    `json:"n"`
	Who   string    `json:"who,omitempty"`
	At    time.Time `json:"t"`
	Page  string    `json:"page,omitempty"`
	Cents int       `json:"cents,omitempty"`
}

// acts makes elements in order of time.
func acts(rng *rand.Rand, n int) (l []act) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		at = at.Add(time.Duration(1+rng.Int64N(20*60_000)) * time.Millisecond)
		a := act{N: fmt.Sprintf("a%d", i), Who: fmt.Sprintf("c%d", rng.IntN(30)), At: at}
		if rng.IntN(3) == 0 {
			a.Cents = 100 * (1 + rng.IntN(200))
		} else {
			a.Page = []string{"page_viewed", "product_added"}[rng.IntN(2)]
		}
		l = append(l, a)
	}
	return l
}

// logOf returns a record of elements, in any order.
func (g *fleet) logOf(rng *rand.Rand, l []act) *kgo.Record {
	g.Helper()
	shuffled := slices.Clone(l)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	value, err := json.Marshal(map[string]any{"acts": shuffled})
	if err != nil {
		g.Fatal(err)
	}
	return &kgo.Record{Topic: "log", Partition: rng.Int32N(g.Partitions), Value: value, Timestamp: l[0].At}
}

// docs/semantics.md, 12.1 and 12.3: records of several events give what the same events
// give that are written one by one with the names of the schemas.
func TestMappedEqualsCanonical(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 2) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			l := acts(rng, 400)
			mapped, plain := mappedFleet(t, 1), mappedFleet(t, 1)
			for _, a := range l {
				fields := map[string]any{"event_id": a.N, "name": a.Page}
				stream := plan.Web
				if a.Cents > 0 {
					stream = plan.Purchase
					fields = map[string]any{"event_id": a.N, "order_id": a.N, "revenue": fmt.Sprint(a.Cents / 100)}
				}
				plain.Produce(plain.Event(stream, a.Who, a.At, fields))
			}
			for rest := l; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(6))
				mapped.Produce(mapped.logOf(rng, rest[:n]))
				rest = rest[n:]
			}
			for _, g := range []*fleet{mapped, plain} {
				if err := g.startMapped(fixture.Rules+actMappings, vfs.NewMem(), rig.OverHistory).wait(); err != nil {
					t.Fatal(err)
				}
			}
			if diff := gocmp.Diff(plain.byCustomer(), mapped.byCustomer()); diff != "" || len(plain.byCustomer()) == 0 {
				t.Errorf("(-one by one +mapped)\n%s", diff)
			}
		})
	}
}

// docs/semantics.md, 12.3 and 12.5: a task that dies while records of several events are
// in its batch gives the outputs of one that lives: all events of a record count or none,
// and each is forwarded once, as the mapping has made it.
func TestDeathWithMappedRecords(t *testing.T) {
	run := func(t *testing.T, delivery config.Delivery, change func(*config.Config)) (transcript string, forwarded []string) {
		g := mappedFleet(t, 2)
		g.Delivery = delivery
		rng := rand.New(rand.NewPCG(3, 0))
		var records []*kgo.Record
		for rest := acts(rng, 300); len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(6))
			l := slices.Clone(rest[:n])
			if rng.IntN(5) == 0 {
				l = append(l, act{N: "nobody", At: l[0].At, Page: "page_viewed"})
			}
			records, rest = append(records, g.logOf(rng, l)), rest[n:]
		}
		g.Produce(records...)
		in := g.startMapped(fixture.Rules+actMappings, vfs.NewMem(), func(c *config.Config) {
			rig.OverHistory(c)
			c.Batch.Records = 3
			change(c)
		})
		if err := in.wait(); err != nil {
			t.Fatal(err)
		}
		g.Members()
		seen := map[string]bool{}
		for _, l := range g.Read(rig.App + ".repartition") {
			for _, r := range l {
				if string(r.Headers[0].Value) == "" || strings.Contains(string(r.Value), "acts") {
					t.Errorf("%s is forwarded as it came", r.Value)
				}
				seen[fmt.Sprint(r.Partition, " ", string(r.Value))] = true
			}
		}
		return g.Transcript(), slices.Sorted(maps.Keys(seen))
	}
	want, wantForwarded := run(t, config.ExactlyOnce, func(*config.Config) {})
	if len(wantForwarded) < 50 {
		t.Fatalf("only %d events are forwarded", len(wantForwarded))
	}
	for _, point := range []string{"begun", "produced", "ended", "applied", "inputs read", "forwarded read"} {
		for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
			t.Run(fmt.Sprintf("%s, delivery %d", point, delivery), func(t *testing.T) {
				t.Parallel()
				var n, crashes atomic.Int32
				got, forwarded := run(t, delivery, func(c *config.Config) {
					rig.FailAt(t, c, func(_ int32, p string) error {
						if p != point || n.Add(1)%3 != 0 || crashes.Add(1) > 6 {
							return nil
						}
						return rig.ErrCrash
					})
				})
				if diff := gocmp.Diff(want, got) + gocmp.Diff(wantForwarded, forwarded); diff != "" {
					t.Error(diff)
				}
				if n.Load() == 0 {
					t.Error("the point was never passed")
				}
			})
		}
	}
}

// docs/semantics.md, 12.7: a rebuild reads mapped records where they came in, so that what
// lives on other partitions is read by today's mapping, too, also if a mapping says now that
// it is about somebody else.
func TestRebuildByOtherMappings(t *testing.T) {
	for _, c := range []struct{ name, mappings string }{
		{"another amount", otherMappings},
		{"another customer", strings.ReplaceAll(actMappings, "it.who", `it.who + "x"`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			fresh, g := mappedFleet(t, 3), mappedFleet(t, 3)
			for _, f := range []*fleet{fresh, g} {
				rng := rand.New(rand.NewPCG(5, 0))
				for rest := acts(rng, 400); len(rest) > 0; {
					n := min(len(rest), 1+rng.IntN(6))
					f.Produce(f.logOf(rng, rest[:n]))
					rest = rest[n:]
				}
			}
			if err := fresh.startMapped(fixture.Rules+c.mappings, vfs.NewMem(), rig.OverHistory).wait(); err != nil {
				t.Fatal(err)
			}
			files := vfs.NewMem()
			if err := g.startMapped(fixture.Rules+actMappings, files, rig.OverHistory).wait(); err != nil {
				t.Fatal(err)
			}
			rebuild := func(rules string) {
				in := g.startMapped(rules, files, func(c *config.Config) {
					c.Time.Clock, c.Rebuild = config.EventsClock, true
				})
				in.ready()
				in.stop()
			}
			rebuild(fixture.Rules + c.mappings)
			// Copies by the former mapping are still there when something else changes.
			rebuild(fixture.OtherRules + c.mappings)
			rebuild(fixture.Rules + c.mappings)
			if diff := gocmp.Diff(fresh.Members(), g.Members()); diff != "" || len(fresh.Members()) == 0 {
				t.Errorf("(-by these mappings from the beginning +rebuilt)\n%s", diff)
			}
		})
	}
}

// otherMappings are those of acts, with another meaning of one field.
var otherMappings = strings.Replace(actMappings, "it.cents / 100", "it.cents", 1)

// docs/semantics.md, 12.6: an instance whose mappings differ from those by which a
// partition was read ends and changes nothing; the other takes the partition back.
func TestMappingsOfTwoInstances(t *testing.T) {
	t.Parallel()
	g := mappedFleet(t, 2)
	a := g.startMapped(fixture.Rules+actMappings, vfs.NewMem(), nil)
	a.ready()
	rng := rand.New(rand.NewPCG(1, 0))
	sent := 0
	sell := func() {
		for p := range g.Partitions {
			who := g.CustomersOf(p, 20)[sent%20]
			sent++
			r := g.logOf(rng, []act{{N: fmt.Sprint("s", sent), Who: who, At: g.Now(), Cents: 1000}})
			r.Partition = p
			g.Produce(r)
		}
	}
	for range 3 {
		sell()
	}
	g.Eventually("both partitions are read", func() bool { return len(g.Members()) == sent })
	b := g.startMapped(fixture.Rules+otherMappings, vfs.NewMem(), nil)
	var err error
	for ended, late := false, time.After(15*time.Second); !ended; {
		sell()
		select {
		case err = <-b.done:
			ended = true
		case <-late:
			t.Fatal("the other instance does not end")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err == nil || !strings.Contains(err.Error(), "changed: reading:mapping:sales") || !strings.Contains(err.Error(), "--rebuild") {
		t.Errorf("the other instance ends with %v", err)
	}
	if err := b.store.Close(); err != nil {
		t.Error(err)
	}
	a.ready()
	sell()
	g.Eventually("everything is folded", func() bool { folded, _, _ := g.Totals(); return int(folded) == sent })
	a.stop()
	for _, m := range g.Members() {
		if strings.HasSuffix(m, " big") { // 10 euros would be 1,000
			t.Errorf("%s, by the mappings of the other instance", m)
		}
	}
}

// Two instances with different mappings that start at once may each read partitions that
// nobody has read before. Neither takes one from the other.
func TestMappingsOfTwoInstancesFromTheStart(t *testing.T) {
	t.Parallel()
	g := mappedFleet(t, 4)
	texts := []string{fixture.Rules + actMappings, fixture.Rules + otherMappings}
	var l []*instance
	for _, text := range texts {
		l = append(l, g.startMapped(text, vfs.NewMem(), nil))
	}
	rng := rand.New(rand.NewPCG(1, 0))
	who := map[string]int32{}
	for p := range g.Partitions {
		customer := g.CustomersOf(p, 1)[0]
		who[customer] = p
		r := g.logOf(rng, []act{{N: "s", Who: customer, At: g.Now(), Cents: 10_000}})
		r.Partition = p
		g.Produce(r)
	}
	g.Eventually("all is folded, or an instance has ended", func() bool {
		folded, _, _ := g.Totals()
		return int(folded) == len(who) || len(l[0].done)+len(l[1].done) > 0
	})
	// Whoever goes on alone is to take what the other has read, and must not.
	l[1].cancel()
	other := <-l[1].done
	g.Eventually("it has ended, or has all", func() bool {
		st := l[0].o.Status()
		return len(l[0].done) > 0 || st.Ready && len(st.Tasks) == int(g.Partitions)
	})
	l[0].cancel()
	err := <-l[0].done
	read := 0 // by the other: 100 euros are 10,000 to it
	for _, m := range g.Members() {
		if strings.HasSuffix(m, " big") {
			read++
		}
	}
	t.Logf("the other has read %d partitions, and ends with %v; this one with %v", read, other, err)
	if read > 0 && err == nil {
		t.Error("it goes on with what was read by other mappings")
	}
	for _, in := range l {
		if err := in.store.Close(); err != nil {
			t.Error(err)
		}
	}
}
