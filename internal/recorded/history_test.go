package recorded

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// partitions is how many each topic has.
const partitions = 3

// customers is how many there are, spread over the partitions by their ids.
const customers = 90

// inputs are the topics that are read.
var inputs = map[string]plan.Stream{"web": plan.Web, "email": plan.Email, "purchase": plan.Purchase, "profile": plan.Profile}

// history makes records, always the same ones in the same order.
type history struct {
	rng   *rand.Rand
	json  *schemas.EventEncoder
	avro  *schemas.EventEncoder // nil: every event is JSON
	route kgo.TopicPartitioner
	made  int
	past  []*kgo.Record // some of those that were made
}

func newHistory(avro bool) *history {
	h := &history{
		rng: rand.New(rand.NewPCG(12, 1)), route: kgo.StickyKeyPartitioner(nil).ForTopic(""),
		json: schemas.NewEventEncoder(schemas.JSON, [plan.NumBuiltin]int{}),
	}
	if avro {
		var ids [plan.NumBuiltin]int
		for _, s := range inputs {
			ids[s] = schemaID(s)
		}
		h.avro = schemas.NewEventEncoder(schemas.Avro, ids)
	}
	return h
}

// home returns the partition of a customer's records.
func (h *history) home(customer string) int32 {
	return int32(h.route.Partition(&kgo.Record{Key: []byte(customer)}, partitions))
}

// customer draws a customer of a partition, or of any if it is negative.
func (h *history) customer(partition int32) string {
	for {
		id := fmt.Sprintf("c%d", h.rng.IntN(customers))
		if partition < 0 || h.home(id) == partition {
			return id
		}
	}
}

// window is how far back the events of one page of the history lie, at most.
const window = 2 * time.Second

// page returns n records of events that happen in the window before an instant, in
// order, with everything that can be wrong with records.
func (h *history) page(n int, now time.Time, partition int32) []*kgo.Record {
	var records []*kgo.Record
	for i := range n {
		at := now.Add(-window + time.Duration(i+1)*window/time.Duration(n+1))
		records = append(records, h.record(at.Truncate(40*time.Millisecond), partition)) // some at once
	}
	return records
}

// record returns a record that is written at an instant.
func (h *history) record(at time.Time, partition int32) *kgo.Record {
	customer := h.customer(partition)
	switch what := h.rng.IntN(1000); {
	case what < 25 && len(h.past) > 0 && partition < 0: // a duplicate
		r := h.past[h.rng.IntN(len(h.past))]
		return h.put(r.Topic, string(r.Key), r.Value, at)
	case what < 55:
		return h.bad(customer, at)
	case what < 65: // an erasure
		return h.put("profile", customer, nil, at)
	case what < 110: // late, by seconds or by days
		late := time.Duration(h.rng.IntN(60_000)) * time.Millisecond
		if h.rng.IntN(3) == 0 {
			late *= 5_000
		}
		return h.event(customer, at.Add(-late), at)
	}
	r := h.event(customer, at, at)
	if h.rng.IntN(4) == 0 {
		h.past = append(h.past, r)
	}
	return r
}

// put returns a record on its customer's partition.
func (h *history) put(topic, customer string, value []byte, at time.Time) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: h.home(customer), Key: []byte(customer), Value: value, Timestamp: at}
}

// bad returns a record that can't be taken.
func (h *history) bad(customer string, at time.Time) *kgo.Record {
	switch h.rng.IntN(6) {
	case 0: // not well-formed
		r := h.event(customer, at, at)
		r.Value = r.Value[:h.rng.IntN(len(r.Value))]
		return r
	case 1: // of a field of another type
		return h.put("web", customer, fmt.Appendf(nil, `{"event_id":"x%d","occurred_at":"soon","name":"page_viewed"}`, h.made), at)
	case 2: // without what is required
		return h.put("purchase", customer, []byte(`{"occurred_at":"2027-03-01T00:00:00Z"}`), at)
	case 3: // ahead of the clock
		return h.event(customer, at.Add(time.Hour), at)
	case 4: // of nobody
		r := h.event(customer, at, at)
		r.Key = nil
		r.Value = fmt.Appendf(nil, `{"event_id":"x%d","occurred_at":%q,"name":"page_viewed"}`, h.made, at.Format(time.RFC3339Nano))
		return r
	default: // of a schema that nobody knows
		return h.put("email", customer, []byte{0, 0, 0, 1, 1, 2, 3}, at)
	}
}

// event returns a record of an event that happened at one instant and was written at
// another.
func (h *history) event(customer string, occurred, written time.Time) *kgo.Record {
	h.made++
	id := fmt.Sprintf("e%d", h.made)
	fields := map[string]any{"event_id": id, "customer_id": customer, "occurred_at": occurred, "source": "/recorded"}
	stream, more := h.describe(occurred)
	maps.Copy(fields, more)
	enc := h.json
	if h.avro != nil && h.rng.IntN(2) == 0 {
		enc = h.avro
	}
	value, err := enc.Append(nil, stream, fields)
	if err != nil {
		panic(err) // the fields are those of the schema
	}
	return h.put(stream.String(), customer, value, written)
}

// describe makes an event one of a kind.
func (h *history) describe(at time.Time) (plan.Stream, map[string]any) {
	pick := func(texts ...string) string { return texts[h.rng.IntN(len(texts))] }
	item := map[string]any{
		"product_id": fmt.Sprintf("p%d", h.rng.IntN(5)), "quantity": 1 + h.rng.IntN(2), "price": "9.90",
		"category": pick("shoes/boots", "shoes/sandals", "books"),
	}
	switch h.rng.IntN(10) {
	case 0, 1, 2:
		revenue := fmt.Sprintf("%d.%02d", 5+h.rng.IntN(120), h.rng.IntN(100))
		return plan.Purchase, map[string]any{
			"order_id": fmt.Sprintf("o%d", h.made), "kind": pick("completed", "completed", "completed", "refunded", "cancelled"),
			"revenue": revenue, "total": revenue, "currency": "EUR", "channel": pick("store", "web", "app"), "items": []map[string]any{item},
		}
	case 3, 4:
		return plan.Web, map[string]any{"name": "product_added", "currency": "EUR", "items": []map[string]any{item}}
	case 5:
		return plan.Web, map[string]any{"name": "product_removed", "currency": "EUR", "items": []map[string]any{item}}
	case 6:
		return plan.Email, map[string]any{"action": pick("sent", "opened", "clicked"), "campaign_id": "spring"}
	case 7:
		born := at.AddDate(-20-h.rng.IntN(40), 0, h.rng.IntN(40))
		return plan.Profile, map[string]any{
			"birth_date": born, "country": pick("FR", "BE", "DE"),
			"time_zone": pick("Europe/Paris", "America/New_York", "Asia/Kathmandu", "UTC"),
			"traits":    map[string]string{"card": pick("gold", "none")},
		}
	default:
		return plan.Web, map[string]any{"name": "page_viewed", "url": fmt.Sprintf("/p/%d", h.rng.IntN(8))}
	}
}

// misplace moves two of three records to the partition, wherever it belongs.
func misplace(records []*kgo.Record, partition int32) {
	for i, r := range records {
		if i%3 != 0 && len(r.Key) > 0 {
			r.Partition = partition
		}
	}
}
