package promise

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Load writes events. Its producer is idempotent and never gives up, so that no
// record is in doubt: each is acknowledged, once.
type Load struct {
	// Customers is how many there are. Bad and Late of a thousand records are no
	// events, or events of up to a minute ago. Again of a thousand are written again.
	Customers, Bad, Late, Again int

	job    *Job
	client *kgo.Client
	events int
	memory []*kgo.Record

	mu      sync.Mutex
	acked   []*kgo.Record
	longest time.Duration // that an acknowledgement took
	last    map[string]*sent
	inexact map[string]bool
}

// sent is the last record of a customer.
type sent struct {
	topic string
	acked bool
}

func newLoad(j *Job, more []kgo.Opt) *Load {
	l := &Load{Customers: 40, Bad: 10, Again: 20, job: j, last: map[string]*sent{}, inexact: map[string]bool{}}
	var err error
	// All other settings are the client's defaults: acks=all, idempotent, retried for ever.
	// A broker that is killed when it has just accepted a connection looks to the client like
	// one that wants TLS, which it would not try again.
	if l.client, err = kgo.NewClient(j.Options(append([]kgo.Opt{kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(0), kgo.AlwaysRetryEOF()}, more...)...)...); err != nil {
		j.Fatal(err)
	}
	j.Cleanup(l.client.Close)
	return l
}

// exactWithin is the longest time in which a record of now has to be acknowledged,
// so that a run over history must emit the same about its customer as was emitted live.
const exactWithin = time.Second

// Publish writes a record; Flush waits for all.
func (l *Load) Publish(r *kgo.Record) {
	customer, begin := string(r.Key), time.Now()
	me := &sent{topic: r.Topic}
	l.mu.Lock()
	if before := l.last[customer]; before != nil && !before.acked && before.topic != r.Topic {
		l.inexact[customer] = true // which of the two came first?
	}
	l.last[customer] = me
	l.mu.Unlock()
	l.client.Produce(l.job.Context(), r, func(r *kgo.Record, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.job.Context().Err() != nil {
			return // the test has failed
		}
		if err != nil {
			l.job.Errorf("a record was not acknowledged: %v", err)
			return
		}
		took := time.Since(begin)
		l.longest = max(l.longest, took)
		if took > exactWithin || begin.Sub(r.Timestamp) > exactWithin {
			l.inexact[customer] = true
		}
		me.acked = true
		l.acked = append(l.acked, r)
	})
}

// Flush waits for all acknowledgements.
func (l *Load) Flush() {
	l.job.Helper()
	if err := l.client.Flush(l.job.Context()); err != nil {
		l.job.Fatal(err)
	}
}

// Acked returns the records that were acknowledged.
func (l *Load) Acked() []*kgo.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acked)
}

// Exact reports whether a run over history must emit the same about a customer as was emitted
// live: each record was acknowledged soon, and before the next one of another topic.
func (l *Load) Exact(customer string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.inexact[customer]
}

// Longest returns the longest time that an acknowledgement took.
func (l *Load) Longest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest.Round(time.Millisecond)
}

// Event makes the record of an event at an instant; some are bad, late, or were
// there before.
func (l *Load) Event(r *rand.Rand, at time.Time) *kgo.Record {
	if r.IntN(1000) < l.Again && len(l.memory) > 0 {
		again := l.memory[r.IntN(len(l.memory))]
		return &kgo.Record{Topic: again.Topic, Key: again.Key, Value: again.Value, Timestamp: again.Timestamp}
	}
	l.events++
	customer := fmt.Sprintf("c%d", r.IntN(l.Customers))
	occurred := at
	if r.IntN(1000) < l.Late {
		occurred = at.Add(-time.Duration(r.IntN(60_000)) * time.Millisecond)
	}
	e := map[string]any{
		"event_id": fmt.Sprintf("e%d", l.events), "customer_id": customer,
		"occurred_at": occurred.Format(time.RFC3339Nano), "source": "/test",
	}
	stream := describe(r, e)
	value, err := json.Marshal(e)
	if err != nil {
		l.job.Fatal(err)
	}
	if r.IntN(1000) < l.Bad {
		value = value[:r.IntN(len(value))]
	}
	record := &kgo.Record{Topic: l.job.Topic(stream), Key: []byte(customer), Value: value, Timestamp: occurred}
	if len(l.memory) < 200 {
		l.memory = append(l.memory, record)
	} else {
		l.memory[r.IntN(len(l.memory))] = record
	}
	return record
}

// describe makes an event one of a kind and returns its stream.
func describe(r *rand.Rand, e map[string]any) string {
	product := fmt.Sprintf("p%d", r.IntN(5))
	switch r.IntN(7) {
	case 0, 1:
		e["order_id"], e["currency"] = "o"+e["event_id"].(string), "EUR"
		e["revenue"] = fmt.Sprintf("%d.%02d", 5+r.IntN(120), r.IntN(100))
		if r.IntN(8) == 0 {
			e["kind"] = "refunded"
		}
		return "purchase"
	case 2, 3:
		e["name"], e["currency"] = "product_added", "EUR"
		e["items"] = []map[string]any{{"product_id": product, "quantity": 1 + r.IntN(2), "price": "9.90"}}
	case 4:
		e["name"], e["items"] = "product_removed", []map[string]any{{"product_id": product}}
	case 5:
		e["action"], e["campaign_id"] = []string{"opened", "clicked"}[r.IntN(2)], "spring"
		return "email"
	default:
		e["name"] = "page_viewed"
	}
	return "web"
}

// For publishes some events of now in each second, for a time.
func (l *Load) For(r *rand.Rand, d time.Duration, perSecond int) {
	begin := time.Now()
	for n := 0; time.Since(begin) < d; n++ {
		if due := begin.Add(time.Duration(n) * time.Second / time.Duration(perSecond)); time.Until(due) > 0 {
			time.Sleep(time.Until(due))
		}
		l.Publish(l.Event(r, time.Now()))
	}
}

// Begin publishes events of now in the background until the returned function is
// called, which returns when all are acknowledged.
func (l *Load) Begin(seed uint64, perSecond int) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	r := rand.New(rand.NewPCG(seed, 1))
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
				l.For(r, 100*time.Millisecond, perSecond)
			}
		}
	}()
	halt := sync.OnceFunc(func() {
		close(end)
		<-done
	})
	l.job.Cleanup(halt)
	return func() {
		halt()
		l.Flush()
	}
}
