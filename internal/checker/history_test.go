package checker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

const rules = `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) >= 1"}
  - {id: browsing, objective: a, owner: b, review_by: 2099-01-01, when: "did(web, minutes(20))"}
  - {id: big, objective: a, owner: b, review_by: 2099-01-01, when: "sum(purchase.revenue, hours(2)) > 300"}
  - {id: french, objective: a, owner: b, review_by: 2099-01-01, when: "profile.country == 'FR'"}
triggers:
  - {id: cart_left, kind: abandoned_cart, after: 30m}
  - {id: silent, kind: inactivity, after: 3h}
`

var topics = map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile}

const parts = 2

// good is what a run over a history leaves, with the store that it used.
type good struct {
	cfg   Config
	h     *History
	store *state.Store
}

// made makes each history once.
var made = map[config.ClockMode]func() (*good, error){
	config.EventsClock: sync.OnceValues(func() (*good, error) { return makeGood(config.EventsClock, nil) }),
	config.WallClock:   sync.OnceValues(func() (*good, error) { return makeGood(config.WallClock, nil) }),
}

// makeGood runs the engine over a history: with the clock of events to an
// instant, with the wall clock until it has read everything. more makes records of several
// events beside each of the others; nil: there are none.
func makeGood(mode config.ClockMode, more func(n int, at time.Time) []*kgo.Record) (*good, error) {
	inputs := slices.Collect(maps.Keys(topics))
	if more != nil {
		inputs = append(inputs, logTopic)
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(parts, inputs...))
	if err != nil {
		return nil, err
	}
	defer broker.Close()
	seeds := kgo.SeedBrokers(broker.ListenAddrs()...)
	r, err := app.CompileRules([]rule.File{{Name: "rules.yaml", Data: []byte(rules + mappings)}})
	if err != nil {
		return nil, err
	}
	var maps []*plan.Mapping
	for i := range r.Set.Spec.Mappings {
		maps = append(maps, &r.Set.Spec.Mappings[i])
	}
	reader, err := schemas.NewReader(schemas.Config{
		Catalog: r.Engine.Catalog(), Layouts: r.Engine.Layout, Topics: topics, Mappings: map[string][]*plan.Mapping{logTopic: maps},
	})
	if err != nil {
		return nil, err
	}
	c := config.Default()
	c.App, c.Kafka, c.Inputs, c.Changes, c.Triggers = "shop", []kgo.Opt{seeds}, inputs, "changes", "triggers"
	c.Engine, c.Read, c.Now = r.Engine, reader.Read, time.Now
	c.Logger = slog.New(slog.DiscardHandler)
	if c.Encoder, err = schemas.NewEncoder(schemas.JSON, c.App, schemas.IDs{}); err != nil {
		return nil, err
	}
	if c.Store, err = state.Open("state", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf, Logger: c.Logger}); err != nil {
		return nil, err
	}
	cfg := Config{
		Kafka: c.Kafka, App: c.App, Inputs: c.Inputs, Changes: c.Changes, Triggers: c.Triggers,
		Spec: r.Set.Spec, Engine: r.Engine, Read: c.Read, Zones: app.Zones(), Clock: mode, Grace: 2_000,
		Horizon: engine.Millis(time.Now().Add(5 * time.Minute).UnixMilli()), Stores: []*state.Store{c.Store},
	}
	start := time.Now().Add(-40 * time.Hour).Truncate(time.Millisecond)
	if err := publish(seeds, mode, start, more); err != nil {
		return nil, err
	}
	c.Batch.Records = 20
	c.Time.Clock = mode
	if mode == config.EventsClock {
		cfg.Until = engine.Millis(start.Add(30 * time.Hour).UnixMilli())
		c.Time.Until = cfg.Until
	}
	if err := runToEnd(c); err != nil {
		return nil, err
	}
	h, err := Load(context.Background(), cfg)
	return &good{cfg, h, c.Store}, err
}

// publish writes 300 events, some of them late, bad, far ahead, repeated or on a
// wrong partition, and some erasures.
func publish(seeds kgo.Opt, mode config.ClockMode, start time.Time, more func(n int, at time.Time) []*kgo.Record) error {
	cl, err := kgo.NewClient(seeds, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	rng := rand.New(rand.NewPCG(7, 7))
	enc := schemas.NewEventEncoder(schemas.JSON, [plan.NumBuiltin]int{})
	route := router(parts)
	var records []*kgo.Record
	add := func(s plan.Stream, customer string, at time.Time, fields map[string]any) error {
		all := map[string]any{"event_id": "e" + strconv.Itoa(len(records)), "customer_id": customer, "occurred_at": at}
		maps.Copy(all, fields)
		v, err := enc.Append(nil, s, all)
		records = append(records, &kgo.Record{Topic: s.String(), Partition: route(customer), Key: []byte(customer), Value: v, Timestamp: at})
		return err
	}
	for i := range 300 {
		at := start.Add(time.Duration(i) * 4 * time.Minute)
		customer := fmt.Sprintf("c%d", rng.IntN(12))
		occurred := at
		if mode == config.EventsClock && i%25 == 24 {
			occurred = at.Add(-time.Hour) // late
		}
		switch i % 4 {
		case 0:
			err = add(plan.Purchase, customer, occurred, map[string]any{"order_id": "o", "currency": "EUR", "revenue": strconv.Itoa(rng.IntN(300))})
		case 1:
			err = add(plan.Web, customer, occurred, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}})
		case 2:
			err = add(plan.Profile, "p"+customer, occurred, map[string]any{"country": []string{"FR", "DE"}[rng.IntN(2)]})
		default:
			err = add(plan.Web, customer, occurred, map[string]any{"name": "page_viewed"})
		}
		if err != nil {
			return err
		}
		last := records[len(records)-1]
		if more != nil {
			records = append(records, more(i, at)...)
		}
		switch i {
		case 20, 120:
			last.Value = []byte("{")
		case 61:
			last.Partition = 1 - last.Partition
		case 70:
			records = append(records, last)
		case 82, 142:
			records = append(records, &kgo.Record{Topic: "profile", Partition: last.Partition, Key: last.Key, Timestamp: at})
		case 90:
			if mode == config.EventsClock {
				last.Value = []byte("[]") // one of the future would end the reading
				break
			}
			if err := add(plan.Web, customer, time.Now().Add(24*time.Hour), map[string]any{"name": "page_viewed"}); err != nil {
				return err
			}
			records[len(records)-1].Timestamp = at
		}
	}
	return cl.ProduceSync(context.Background(), records...).FirstErr()
}

// runToEnd runs an Owner until it has read everything and fired what is due.
func runToEnd(c config.Config) error {
	o, err := group.New(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if c.Time.Until == 0 {
		go func() {
			for tick := time.Tick(20 * time.Millisecond); ctx.Err() == nil; <-tick {
				st := o.Status()
				recent := engine.Millis(time.Now().Add(-5 * time.Second).UnixMilli())
				if len(st.Tasks) == parts && st.Ready && st.Lag == 0 && st.Clock > recent && st.Clock != engine.Never {
					cancel()
				}
			}
		}()
	}
	return o.Run(ctx)
}
