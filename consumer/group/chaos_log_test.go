package group_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/app"
)

// chaosLog is an input whose records are several events each, of several customers and of
// two streams.
const chaosLog = "log"

const chaosMappings = `
mappings:
  pages:
    stream: web
    each: msg.acts
    when: has(it.page)
    map: {event_id: 'id(msg.n, it.n)', customer_id: it.who, occurred_at: it.t, name: it.page}
  sales:
    stream: purchase
    each: msg.acts
    when: has(it.cents)
    map: {event_id: 'id(msg.n, it.n)', customer_id: it.who, occurred_at: it.t, order_id: it.n, currency: '"EUR"', revenue: it.cents / 100}
`

// mappingsOf returns all mappings of rules.
func mappingsOf(r *app.Rules) (l []*plan.Mapping) {
	for i := range r.Set.Spec.Mappings {
		l = append(l, &r.Set.Spec.Mappings[i])
	}
	return l
}

// act is an element of a record of the log.
type act struct {
	N     int           `json:"n"`
	Who   string        `json:"who,omitempty"`
	At    engine.Millis `json:"t"`
	Page  string        `json:"page,omitempty"`
	Cents int           `json:"cents,omitempty"`
}

// several makes a record of several events, all of them of customers of one partition,
// unless records may be on wrong ones. It returns nil if no customer is to be had.
func (l *load) several(at engine.Millis) (*kgo.Record, func(*kgo.Record, error)) {
	rng := l.rng
	p := rng.Int32N(chaosPartitions)
	mixed := l.x.forwards && rng.IntN(20) == 0
	var acts []act
	var who []string
	for range 8 {
		customer := fmt.Sprintf("c%d", rng.IntN(shoppers))
		last, known := l.last[customer]
		switch {
		case l.busy[customer] && !(len(who) > 0 && who[len(who)-1] == customer):
			continue
		case l.route(chaosLog, customer) != p && !mixed:
			continue
		case known && !l.x.events && at-10 < last+chaosApart:
			continue
		}
		l.busy[customer], l.known[customer] = true, true
		// A few milliseconds apart, the latest one first.
		occurred := max(at-engine.Millis(len(acts)), last+1)
		l.last[customer] = max(at, occurred)
		a := act{N: len(acts), Who: customer, At: occurred}
		if rng.IntN(3) == 0 {
			a.Cents = 100 * rng.IntN(250)
		}
		if a.Cents == 0 {
			a.Page = []string{"product_added", "page_viewed"}[rng.IntN(2)]
		}
		acts, who = append(acts, a), append(who, customer)
	}
	if len(acts) == 0 {
		return nil, nil
	}
	l.kinds["several"]++
	if rng.IntN(20) == 0 {
		acts = append(acts, act{N: len(acts), At: at, Page: "page_viewed"}) // refused: nobody's
	}
	l.produced++
	value, err := json.Marshal(map[string]any{"n": "log" + strconv.Itoa(l.produced), "acts": acts})
	if err != nil {
		panic(err) // of what is written here
	}
	r := &kgo.Record{Topic: chaosLog, Partition: p, Value: value, Timestamp: at.Time()}
	if l.x.events && rng.IntN(50) == 0 {
		l.kinds["repeats"]++
		l.keep(r)
	}
	return r, func(r *kgo.Record, err error) { l.ackedOf(who, r, err) }
}

// ackedOf is acked for a record that is about several customers.
func (l *load) ackedOf(who []string, r *kgo.Record, err error) {
	late := l.x.now().Sub(r.Timestamp) > chaosGrace-60*time.Millisecond
	l.mu.Lock()
	for _, customer := range who {
		if late {
			l.tainted[customer] = true
		}
		delete(l.busy, customer)
	}
	l.mu.Unlock()
	l.noted(r, err)
}
