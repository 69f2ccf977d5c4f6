package rig

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// History writes a random history to the inputs, in order of event time, and
// returns how many records are good, bad and on a wrong partition.
func (g *Rig) History(rng *rand.Rand, n int) (good, bad, wrong int) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var records []*kgo.Record
	for range n {
		at = at.Add(time.Duration(rng.Int64N(int64(10 * time.Minute))))
		customer := fmt.Sprintf("c%d", rng.IntN(40))
		var r *kgo.Record
		switch rng.IntN(10) {
		case 0, 1, 2:
			r = g.Event(plan.Purchase, customer, at, map[string]any{"revenue": strconv.Itoa(rng.IntN(200))})
		case 3:
			name := []string{"product_added", "product_removed"}[rng.IntN(2)]
			r = g.Event(plan.Web, customer, at, map[string]any{"name": name, "items": []map[string]any{{"product_id": "p", "quantity": 1 + rng.IntN(3)}}})
		case 4:
			r = g.Event(plan.Profile, customer, at, nil)
		default:
			r = g.Event(plan.Web, customer, at.Add(-time.Duration(rng.Int64N(int64(time.Hour)))), nil)
		}
		switch rng.IntN(40) {
		case 0:
			r.Value = []byte("{")
			bad++
		case 1:
			// All that is forwarded to a partition comes from one other: the order of
			// what two tasks forward is not decided by the history.
			if p := rng.Int32N(g.Partitions); p != r.Partition {
				r.Partition = (r.Partition + 1) % g.Partitions
				wrong++
			}
			good++
		default:
			good++
		}
		records = append(records, r)
	}
	g.Produce(records...)
	return good, bad, wrong
}

// HistoryEnd is the instant at which a run over a history ends, later than its events.
var HistoryEnd = engine.Millis(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli())

// OverHistory makes a Config read history to its end.
func OverHistory(c *config.Config) {
	c.Time.Clock, c.Time.Until = config.EventsClock, HistoryEnd
	c.Batch.Records, c.Batch.Interval = 20, 5*time.Millisecond
}
