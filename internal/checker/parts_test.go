package checker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
)

// logTopic is an input whose records are several events, of two streams.
const logTopic = "log"

const mappings = `
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

// severals are records of several events beside others: of a mapped topic, and batches of
// messages.
func severals(n int, at time.Time) (l []*kgo.Record) {
	type object = map[string]any
	who := func(i int) string { return fmt.Sprintf("c%d", (7*n+i)%12) }
	put := func(topic string, v any) {
		value, err := json.Marshal(v)
		if err != nil {
			panic(err) // of what is written here
		}
		l = append(l, &kgo.Record{Topic: topic, Partition: int32(n % parts), Value: value, Timestamp: at})
	}
	if n%5 == 0 {
		var acts []object
		for i := range 4 {
			act := object{"n": i, "who": who(i), "t": at.Add(time.Duration(i*i) * 20 * time.Second)}
			switch {
			case n%25 == 20 && i > 1:
				delete(act, "who") // two dead letters of one record
				fallthrough
			case i%2 == 0:
				act["page"] = "page_viewed"
			default:
				act["cents"] = 100 * n
			}
			acts = append(acts, act)
		}
		slices.Reverse(acts)
		put(logTopic, object{"n": n, "acts": acts})
	}
	if n%20 == 3 {
		var batch []object
		for i := range 3 {
			batch = append(batch, object{"type": "page", "messageId": fmt.Sprint("m", n, i), "userId": who(i), "timestamp": at.Add(time.Duration(i) * time.Second)})
		}
		put("web", object{"batch": append(batch, object{"type": "page"}, object{"type": "delete", "messageId": "d", "userId": who(0)})})
	}
	return l
}

var severalsMade = sync.OnceValues(func() (*good, error) { return makeGood(config.EventsClock, severals) })

// Records that are several events are judged part by part.
func TestSeverals(t *testing.T) {
	g, err := severalsMade()
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.cfg.Judge(t.Context(), g.h)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.Count() != 0 || r.Left > 0 {
		t.Error("violations, or customers that are not compared")
	}
	if r.Events < 500 || r.Bad != 3+2*12+15 || r.Forwarded < 100 {
		t.Error("too little was judged")
	}
	number := func(r *kgo.Record) *kgo.RecordHeader {
		for i := range r.Headers {
			if r.Headers[i].Key == "segmill.number" {
				return &r.Headers[i]
			}
		}
		return nil
	}
	mapped := func(t *testing.T, h *History) (p int32, i int) {
		t.Helper()
		for p, l := range h.Topics["shop.repartition"] {
			if i := slices.IndexFunc(l, func(r *kgo.Record) bool { return number(r) != nil }); i >= 0 {
				return p, i
			}
		}
		t.Fatal("nothing was forwarded after mapping")
		return 0, 0
	}
	for _, c := range []struct {
		name, want string
		spoil      func(t *testing.T, h *History)
	}{
		{"one of the dead letters of a record is lost", "I3", func(t *testing.T, h *History) {
			p, i := h.find(t, "shop.dlq", `"acts"`)
			h.remove("shop.dlq", p, i)
		}},
		{"a part has two dead letters", "I3", func(t *testing.T, h *History) {
			p, i := h.find(t, "shop.dlq", `"acts"`)
			h.double("shop.dlq", p, i)
		}},
		{"a part is not forwarded", "I3", func(t *testing.T, h *History) {
			p, i := mapped(t, h)
			h.remove("shop.repartition", p, i)
		}},
		{"a part is forwarded as another", "I3", func(t *testing.T, h *History) {
			p, i := mapped(t, h)
			number(h.Topics["shop.repartition"][p][i]).Value = []byte("9")
		}},
		{"a part is folded that was not there", "I3", func(t *testing.T, h *History) {
			p, i := h.find(t, logTopic, `"cents":500`)
			h.replace(t, logTopic, p, i, `"page":`, `"face":`)
		}},
		{"a part was something else", "I6", func(t *testing.T, h *History) {
			for _, l := range h.Topics[logTopic] {
				for _, r := range l {
					r.Value = []byte(strings.ReplaceAll(string(r.Value), `"cents":1000,`, `"cents":99900,`))
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, cfg := copyOf(g.h), g.cfg
			c.spoil(t, h)
			r, err := cfg.Judge(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Invariant == c.want }) {
				t.Errorf("%s does not see it: %v", c.want, r)
			}
		})
	}
}
