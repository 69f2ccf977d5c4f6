package group_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// chaosApart is the least time between two events of a customer under the wall
// clock. A record that is sent again long after its time has no claim in the merge,
// and what stands behind it in its topic has to wait:
//
//  1. topic a holds an old record and then the customer's event of 10:00:00.001;
//  2. topic b holds the customer's event of 10:00:00.005;
//  3. the head of b has a claim and the one of a has none: b goes first.
//
// Which records are old depends on when they are read, so nobody can say beforehand
// whether that happens. It moves an event by as many records as there are old ones
// in a row, which are few.
const chaosApart = 50 // milliseconds

// load makes the events of a seed. A customer's next event is made when the one
// before has been acknowledged, so that all of them stand in the topics in the
// order of their times. With the wall clock, customers are noted when an event of theirs
// took longer than the grace: nobody can say what had to be emitted for them when.
type load struct {
	x   *chaos
	rng *rand.Rand
	cl  *kgo.Client
	enc *schemas.EventEncoder
	bad []badRecord
	// route is where a customer's records of a topic belong.
	route func(topic, customer string) int32

	produced int
	past     engine.Millis // time of the last record of preload
	kinds    map[string]int

	mu      sync.Mutex
	busy    map[string]bool
	last    map[string]engine.Millis // event time of the last event
	known   map[string]bool          // something came since the last erasure
	tainted map[string]bool
	memory  []*kgo.Record // to be sent again
	file    []*kgo.Record // to be imported; nil unless there is history to be made
	failed  error
}

// badRecord is a value that is no event of its topic.
type badRecord struct {
	topic string
	value []byte
}

// badRecords reads the corpus of the schemas, as far as this reader refuses it.
func badRecords(read func(*schemas.Record, *engine.Event) (schemas.Result, error)) ([]badRecord, error) {
	a, err := txtar.ParseFile("../../schemas/testdata/bad.txtar")
	if err != nil {
		return nil, err
	}
	var l []badRecord
	for _, f := range a.Files {
		r := badRecord{strings.Fields(f.Name)[0], []byte(strings.TrimSuffix(string(f.Data), "\n"))}
		if !slices.Contains(chaosInputs, r.topic) {
			continue
		}
		if h, ok := strings.CutPrefix(string(r.value), "hex "); ok {
			if r.value, err = hex.DecodeString(strings.ReplaceAll(h, " ", "")); err != nil {
				return nil, err
			}
		}
		var ev engine.Event
		var bad *schemas.BadInput
		if _, err := read(&schemas.Record{Topic: r.topic, Key: []byte("k"), Value: r.value}, &ev); errors.As(err, &bad) {
			l = append(l, r)
		}
	}
	if len(l) < 60 {
		return nil, fmt.Errorf("only %d bad records", len(l))
	}
	return l, nil
}

const (
	shoppers = 600 // customers with events of every kind
	visitors = 60  // customers with profiles only, who have no timers and may be erased
)

// one makes one event, or something else, at an instant, with what is to be done
// when it has been acknowledged. It returns nil if the customer of choice is not
// to be had.
func (l *load) one(at engine.Millis) (*kgo.Record, func(*kgo.Record, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x, rng := l.x, l.rng
	customer := fmt.Sprintf("c%d", rng.IntN(shoppers))
	visitor := rng.IntN(12) == 0
	if visitor {
		customer = fmt.Sprintf("v%d", rng.IntN(visitors))
	}
	dice := rng.IntN(1000)
	if dice < 10 {
		return l.broken(customer, at), l.noted
	}
	if dice >= 900 && dice < 960 {
		return l.several(at)
	}
	if dice < 20 && len(l.memory) > 0 && !x.events {
		if r := l.memory[rng.IntN(len(l.memory))]; !l.busy[string(r.Key)] {
			l.busy[string(r.Key)] = true
			l.kinds["repeats"]++
			again := *r
			return &again, l.free
		}
	}
	if l.busy[customer] {
		return nil, nil
	}
	if last, ok := l.last[customer]; ok && !x.events && at < last+chaosApart {
		return nil, nil
	}
	if at <= l.last[customer] {
		at = l.last[customer] + 1
	}
	occurred := at
	if x.events && dice >= 980 {
		occurred -= engine.Millis(rng.IntN(10_000))
		l.kinds["late"]++
	}
	var r *kgo.Record
	switch stream := rng.IntN(10); {
	case l.known[customer] && (visitor && dice < 100 || x.events && !x.forwards && dice < 25):
		delete(l.known, customer)
		r = &kgo.Record{Topic: "profile", Key: []byte(customer)}
		l.kinds["erasures"]++
	case visitor, stream == 0:
		r = l.event(plan.Profile, customer, occurred, map[string]any{"country": []string{"FR", "DE", "IT"}[rng.IntN(3)]})
	case stream < 4:
		r = l.event(plan.Purchase, customer, occurred, map[string]any{"order_id": "o", "currency": "EUR", "revenue": strconv.Itoa(rng.IntN(250))})
	case stream < 6:
		r = l.event(plan.Web, customer, occurred, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p", "quantity": 1}}})
	case stream == 6:
		r = l.event(plan.Web, customer, occurred, map[string]any{"name": "product_removed", "items": []map[string]any{{"product_id": "p", "quantity": 1}}})
	default:
		r = l.event(plan.Web, customer, occurred, map[string]any{"name": "page_viewed"})
	}
	r.Partition, r.Timestamp = l.route(r.Topic, customer), at.Time()
	if r.Value != nil {
		l.known[customer] = true
	}
	if x.events && dice >= 25 && dice < 35 {
		l.kinds["repeats"]++
		l.keep(r) // taken up by preload
	}
	if n := x.sizes[r.Topic].Load(); x.forwards && !visitor && dice >= 40 && dice < 45 && n > 1 {
		r.Partition = (r.Partition + 1 + rng.Int32N(n-1)) % n
		l.kinds["misplaced"]++
	}
	l.busy[customer], l.last[customer] = true, at
	if !x.events && r.Value != nil && !visitor && len(l.memory) < 200 {
		l.keep(r)
	}
	return r, l.acked
}

// keep remembers a record to be sent again: a copy, since the client writes into the
// one that it sends.
func (l *load) keep(r *kgo.Record) {
	again := *r
	l.memory = append(l.memory, &again)
}

// broken makes a record that must be refused.
func (l *load) broken(customer string, at engine.Millis) *kgo.Record {
	l.kinds["bad"]++
	b := l.bad[l.rng.IntN(len(l.bad))]
	r := &kgo.Record{Topic: b.topic, Key: []byte(customer), Value: b.value}
	switch l.rng.IntN(4) {
	case 0:
		r.Topic, r.Value = chaosInputs[l.rng.IntN(len(chaosInputs))], make([]byte, 1+l.rng.IntN(40))
		for i := range r.Value {
			r.Value[i] = byte(l.rng.Uint32())
		}
		r.Value[0] |= 0x80 // no JSON, and no schema id
	case 1:
		r = l.event(plan.Web, customer, at+engine.Millis(24*time.Hour/time.Millisecond), map[string]any{"name": "page_viewed"})
	}
	r.Partition, r.Timestamp = l.rng.Int32N(l.x.sizes[r.Topic].Load()), at.Time()
	return r
}

func (l *load) event(s plan.Stream, customer string, at engine.Millis, fields map[string]any) *kgo.Record {
	l.produced++
	all := map[string]any{"event_id": "e" + strconv.Itoa(l.produced), "customer_id": customer, "occurred_at": at.Time()}
	maps.Copy(all, fields)
	v, err := l.enc.Append(nil, s, all)
	if err != nil {
		panic(err) // of fields that are written here
	}
	return &kgo.Record{Topic: s.String(), Key: []byte(customer), Value: v}
}

// acked notes that an event is there. If that took longer than the grace, the
// engine may have taken the customer to be silent.
func (l *load) acked(r *kgo.Record, err error) {
	late := l.x.now().Sub(r.Timestamp) > chaosGrace-50*time.Millisecond
	l.mu.Lock()
	if late && !l.x.events {
		l.tainted[string(r.Key)] = true
	}
	l.mu.Unlock()
	l.free(r, err)
}

// free lets the customer have another event.
func (l *load) free(r *kgo.Record, err error) {
	l.mu.Lock()
	delete(l.busy, string(r.Key))
	l.mu.Unlock()
	l.noted(r, err)
}

// noted keeps the first error.
func (l *load) noted(_ *kgo.Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.failed == nil {
		l.failed = err
	}
}

// live produces n records over a time, while things go wrong.
func (l *load) live(n int, over time.Duration) {
	start := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for sent := 0; sent < n; {
		for due := int(float64(n) * float64(time.Since(start)) / float64(over)); sent < min(n, due); sent++ {
			if r, done := l.one(engine.Millis(l.x.now().UnixMilli())); r != nil {
				l.cl.Produce(context.Background(), r, done)
			}
		}
		<-tick.C
	}
	l.finish()
}

// preload produces n records of a minute of the past at once.
func (l *load) preload(n int) {
	if l.past == 0 {
		l.past = engine.Millis(time.Now().Add(-time.Hour).UnixMilli())
	}
	at := l.past
	defer func() { l.past = at }()
	for range n {
		at += engine.Millis(l.rng.IntN(30))
		r, _ := l.one(at)
		if r != nil && !l.toFile(r) {
			l.cl.Produce(context.Background(), r, l.free)
		}
		for _, again := range l.memory {
			copied := *again
			l.cl.Produce(context.Background(), &copied, l.noted)
		}
		l.mu.Lock()
		clear(l.busy) // one producer, so the order is that of the calls
		l.memory = nil
		l.mu.Unlock()
	}
	l.finish()
}

// history makes n records as preload does, and imports them: with a value, to the partitions
// of the tasks that their keys have. Every third one is on its input as well, and those of
// which none is imported are there alone.
func (l *load) history(n int) {
	l.file = []*kgo.Record{}
	l.preload(n)
	rig.NewImport([]kgo.Opt{kgo.SeedBrokers(l.x.broker.ListenAddrs()...)}, chaosPartitions, 1, func(err error) { l.noted(nil, err) }).Write(l.file...).Finish()
	l.file = nil
}

// toFile takes a record that is to be imported, and reports whether it is not to be on its
// input.
func (l *load) toFile(r *kgo.Record) bool {
	if l.file == nil || len(r.Value) == 0 {
		return false
	}
	copied := *r
	copied.Partition = int32(kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(r, chaosPartitions))
	l.file = append(l.file, &copied)
	return len(l.file)%3 > 0
}

func (l *load) finish() {
	if err := l.cl.Flush(context.Background()); err != nil {
		l.noted(nil, err)
	}
}
