package group

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/reshard"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// counting are rules that tell how much of a customer's history is known.
var counting = func() string {
	text := "version: 1\ndefaults: {timezone: UTC}\nsegments:\n"
	for _, stream := range []string{"purchase", "web"} {
		for n := 1; n <= 24; n++ {
			text += fmt.Sprintf("  - {id: %s%d, objective: a, owner: b, review_by: 2099-01-01, when: \"count(%s) >= %d\"}\n", stream, n, stream, n)
		}
	}
	return text
}()

// moved is where a test moves an application to.
type moved struct {
	*fleet
	inPlace bool // the inputs have grown; else they are others, whose names end in 2
}

// grow makes the inputs that an application moves to.
func (g *fleet) grow(n int32, inPlace bool) *moved {
	g.Helper()
	to := &moved{&fleet{g.Beside(n)}, inPlace}
	for _, topic := range []string{"web", "purchase", "profile"} {
		if inPlace {
			g.AddPartitions(topic, int(n))
		} else if err := g.Broker.CreateTopic(topic+"2", n, nil); err != nil {
			g.Fatal(err)
		}
	}
	to.Connect() // only now, or the client would not know the partitions yet
	return to
}

// name returns the new topic of a stream.
func (m *moved) name(topic string) string {
	if m.inPlace {
		return topic
	}
	return topic + "2"
}

// to changes a Config to that of the new application.
func (m *moved) to(c *config.Config) {
	m.Helper()
	topics := map[string]plan.Stream{m.name("web"): plan.Web, m.name("purchase"): plan.Purchase, m.name("profile"): plan.Profile}
	reader, err := schemas.NewReader(schemas.Config{Layouts: c.Engine.Layout, Topics: topics})
	if err != nil {
		m.Fatal(err)
	}
	c.App, c.Changes, c.Triggers = rig.App+"2", "changes2", "triggers2"
	c.Inputs, c.Read = slices.Collect(maps.Keys(topics)), reader.Read
}

// reshard returns the move from the application on files.
func (m *moved) reshard(g *fleet, store *state.Store) *reshard.Reshard {
	r := &reshard.Reshard{From: g.Config(fixture.Rules, store), To: m.Config(fixture.Rules, store), Streams: map[string]string{}}
	m.to(&r.To)
	for _, topic := range []string{"web", "purchase", "profile"} {
		r.Streams[topic] = m.name(topic)
	}
	return r
}

// run moves the state, with changes to the move.
func (m *moved) run(g *fleet, files vfs.FS, change func(*reshard.Reshard)) (reshard.Resharded, error) {
	m.Helper()
	store := g.Store(files)
	r := m.reshard(g, store)
	if change != nil {
		change(r)
	}
	done, err := r.Run(context.Background())
	if cerr := store.Close(); cerr != nil {
		m.Error(cerr)
	}
	return done, err
}

// both returns a change of a Config that makes two.
func both(a, b func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) { a(c); b(c) }
}

// upTo makes a Config read history up to an instant.
func upTo(at time.Time) func(*config.Config) {
	return func(c *config.Config) {
		rig.OverHistory(c)
		c.Time.Until = engine.Millis(at.UnixMilli())
	}
}

// timeline returns events of some customers in order of time, and an instant
// behind each of them.
func (g *fleet) timeline(rng *rand.Rand, n int) []*kgo.Record {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var records []*kgo.Record
	for range n {
		at = at.Add(time.Second + time.Duration(rng.Int64N(int64(20*time.Minute)))).Truncate(time.Millisecond)
		customer := fmt.Sprintf("c%d", rng.IntN(40))
		switch rng.IntN(6) {
		case 0, 1:
			records = append(records, g.Event(plan.Purchase, customer, at, map[string]any{"revenue": strconv.Itoa(rng.IntN(200))}))
		case 2:
			records = append(records, g.Event(plan.Web, customer, at, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}}))
		case 3:
			records = append(records, g.Event(plan.Profile, customer, at, nil))
		default:
			records = append(records, g.Event(plan.Web, customer, at, nil))
		}
	}
	return records
}

// put produces records of the streams on topics of n partitions.
func (g *fleet) put(name func(string) string, records []*kgo.Record) {
	g.Helper()
	var all []*kgo.Record
	for _, r := range records {
		c := *r
		c.Topic, c.Partition = name(r.Topic), g.Route.Partition(string(r.Key))
		all = append(all, &c)
	}
	g.Produce(all...)
}

// emitted returns the effects of each customer, in order, without ids: they are made
// with the name of the application.
func emitted(t testing.TB, views ...map[int32][]*kgo.Record) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	for _, view := range views {
		for _, records := range view {
			for _, r := range records {
				var e rig.Effect
				if err := json.Unmarshal(r.Value, &e); err != nil {
					t.Fatal(err)
				}
				kind := "change"
				if e.Trigger != "" {
					kind = "trigger"
				}
				got[e.Customer+" "+kind] = append(got[e.Customer+" "+kind], e.String())
			}
		}
	}
	return got
}

// stored returns every customer's bytes in a local copy.
func (g *fleet) stored(files vfs.FS) map[string]string {
	g.Helper()
	s := g.Store(files)
	got := map[string]string{}
	for p := range g.Partitions {
		if err := s.Task(p).Scan("", func(id string, b []byte) error { got[id] = string(b); return nil }); err != nil {
			g.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		g.Fatal(err)
	}
	return got
}

// memberships returns who is in which segment by the records of some topics, the
// older topic first.
func (g *fleet) memberships(topics ...string) []string {
	g.Helper()
	n := g.Partitions
	defer func() { g.Partitions = n }()
	in := map[string]bool{}
	for _, topic := range topics {
		if g.Partitions = int32(g.PartitionsOf(topic)[topic]); g.Partitions == 0 {
			g.Fatalf("%s has no partitions", topic)
		}
		for _, records := range g.Read(topic) {
			for _, r := range records {
				var e rig.Effect
				if err := json.Unmarshal(r.Value, &e); err != nil {
					g.Fatal(err)
				}
				switch key := e.Customer + " " + e.Segment; e.Action {
				case "entered":
					in[key] = true
				case "exited":
					delete(in, key)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(in))
}
