package checker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/state"
)

func goodOf(t *testing.T, mode config.ClockMode) *good {
	t.Helper()
	g, err := made[mode]()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// What the engine leaves passes, and what is judged is not too little.
func TestGoodHistoryPasses(t *testing.T) {
	for mode, name := range map[config.ClockMode]string{config.EventsClock: "events", config.WallClock: "wall"} {
		t.Run(name, func(t *testing.T) {
			g := goodOf(t, mode)
			r, err := g.cfg.Judge(t.Context(), g.h)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			if r.Count() != 0 {
				t.Error("violations")
			}
			if r.Events < 290 || r.Bad != 3 || r.Erasures != 2 || r.Forwarded != 1 || r.DeadLetters != 3 ||
				r.Changes < 100 || r.Triggers < 20 || r.Transactions < 10 || r.Compared < r.Customers-2 {
				t.Error("too little was judged")
			}
			if mode == config.EventsClock && (r.Late < 5 || r.Left > 0) {
				t.Error("late events were not judged")
			}
		})
	}
}

// copyOf returns a history that can be changed.
func copyOf(h *History) *History {
	c := &History{Partitions: h.Partitions, Ends: h.Ends, Topics: map[string]map[int32][]*kgo.Record{}}
	for topic, parts := range h.Topics {
		c.Topics[topic] = map[int32][]*kgo.Record{}
		for p, l := range parts {
			for _, r := range l {
				own := *r
				own.Value, own.Headers = slices.Clone(r.Value), slices.Clone(r.Headers)
				c.Topics[topic][p] = append(c.Topics[topic][p], &own)
			}
		}
	}
	return c
}

// find returns where the first record stands whose value has all of the texts.
func (h *History) find(t *testing.T, topic string, texts ...string) (p int32, i int) {
	t.Helper()
	for _, p := range slices.Sorted(maps.Keys(h.Topics[topic])) {
		for i, r := range h.Topics[topic][p] {
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(string(r.Key)+string(r.Value), text) }) {
				return p, i
			}
		}
	}
	t.Fatalf("no record of %s has %q", topic, texts)
	return 0, 0
}

// replace changes the value of a record.
func (h *History) replace(t *testing.T, topic string, p int32, i int, from, to string) {
	t.Helper()
	r := h.Topics[topic][p][i]
	changed := strings.Replace(string(r.Value), from, to, 1)
	if changed == string(r.Value) {
		t.Fatalf("%s does not have %q", r.Value, from)
	}
	r.Value = []byte(changed)
}

func (h *History) remove(topic string, p int32, i int) {
	h.Topics[topic][p] = slices.Delete(h.Topics[topic][p], i, i+1)
}

// double lets a record stand there twice.
func (h *History) double(topic string, p int32, i int) {
	h.Topics[topic][p] = slices.Insert(h.Topics[topic][p], i+1, h.Topics[topic][p][i])
}

// last returns the index of the last record with a key that has a prefix.
func (h *History) last(t *testing.T, topic string, p int32, prefix string) int {
	t.Helper()
	for i, r := range slices.Backward(h.Topics[topic][p]) {
		if strings.HasPrefix(string(r.Key), prefix) && r.Value != nil {
			return i
		}
	}
	t.Fatalf("no key %s…", prefix)
	return 0
}

// Every way to break a promise is found, by the invariant that holds it.
func TestBrokenHistoryIsFound(t *testing.T) {
	const wall, events = config.WallClock, config.EventsClock
	for _, c := range []struct {
		name  string
		mode  config.ClockMode
		want  []string // invariants
		spoil func(t *testing.T, h *History, c *Config)
	}{
		{"a change is lost", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"sequence":1,`, "browsing")
			h.remove("changes", p, i)
		}},
		{"the last change of a segment is lost", events, []string{"I2", "I6"}, func(t *testing.T, h *History, _ *Config) {
			h.remove("changes", 0, h.last(t, "changes", 0, "c"))
		}},
		{"a change stands there twice", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", "browsing")
			h.double("changes", p, i)
		}},
		{"a change is emitted twice with two ids", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", "buyer")
			h.double("changes", p, i)
			again := *h.Topics["changes"][p][i]
			h.Topics["changes"][p][i+1] = &again
			h.replace(t, "changes", p, i+1, `"change_id":"`, `"change_id":"f`)
		}},
		{"two changes of a customer are out of order", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"sequence":1,`, "browsing", `"customer_id":"c1"`)
			l := h.Topics["changes"][p]
			k := i + 1
			for !strings.Contains(string(l[k].Value), `"customer_id":"c1"`) || !strings.Contains(string(l[k].Value), "browsing") {
				k++
			}
			l[i], l[k] = l[k], l[i]
		}},
		{"a change is on a wrong partition", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", "browsing")
			r := h.Topics["changes"][p][i]
			h.remove("changes", p, i)
			h.Topics["changes"][1-p] = append(h.Topics["changes"][1-p], r)
		}},
		{"an erased customer stays a member", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"cause":"erasure"`, "exited")
			h.remove("changes", p, i)
		}},
		{"a receipt is lost", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"action":"erased"`)
			h.remove("changes", p, i)
		}},
		{"the receipt of an erasure is lost, live", wall, []string{"I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"action":"erased"`)
			h.remove("changes", p, i)
		}},
		{"the instant of an erasure is another, live", wall, []string{"I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"action":"erased"`)
			h.replace(t, "changes", p, i, `"effective_at":"2`, `"effective_at":"1`)
		}},
		{"a trigger is lost", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "triggers", `"sequence":1,`)
			h.remove("triggers", p, i)
		}},
		{"the last trigger is lost", wall, []string{"I6"}, func(t *testing.T, h *History, _ *Config) {
			h.remove("triggers", 0, len(h.Topics["triggers"][0])-1)
		}},
		{"a trigger fires twice", events, []string{"I1", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "triggers", "cart_left")
			h.double("triggers", p, i)
		}},
		{"a value is another", events, []string{"I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"count(purchase)":"1"`)
			h.replace(t, "changes", p, i, `"count(purchase)":"1"`, `"count(purchase)":"2"`)
		}},
		{"an instant is another", wall, []string{"I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", `"cause":"timer"`)
			h.replace(t, "changes", p, i, `"effective_at":"2`, `"effective_at":"1`)
		}},
		{"a trigger is emitted about a customer that nobody named", events, []string{"I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "changes", "buyer")
			h.double("changes", p, i)
			again := *h.Topics["changes"][p][i]
			again.Key = []byte("stranger")
			h.Topics["changes"][p][i+1] = &again
			h.replace(t, "changes", p, i+1, string(h.Topics["changes"][p][i].Key), "stranger")
		}},
		{"members are not those of the events", events, []string{"I2", "I6"}, func(t *testing.T, h *History, _ *Config) {
			last := len(h.Topics["profile"][0]) - 1
			country := "FR"
			if strings.Contains(string(h.Topics["profile"][0][last].Value), "DE") {
				country = "DE"
			}
			h.replace(t, "profile", 0, last, country, map[string]string{"FR": "DE", "DE": "FR"}[country])
		}},
		{"an input was folded twice", events, []string{"I3"}, func(t *testing.T, h *History, _ *Config) {
			h.remove("web", 0, 3)
		}},
		{"an input was not folded", events, []string{"I3"}, func(t *testing.T, h *History, _ *Config) {
			h.Topics["web"][0] = slices.Insert(h.Topics["web"][0], 3, h.Topics["web"][0][3])
		}},
		{"a dead letter is lost", events, []string{"I3"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "shop.dlq")
			h.remove("shop.dlq", p, i)
		}},
		{"a dead letter stands there twice", events, []string{"I3"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "shop.dlq")
			h.double("shop.dlq", p, i)
		}},
		{"a good record is a dead letter", events, []string{"I3"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "shop.dlq")
			again := *h.Topics["shop.dlq"][p][i]
			again.Headers = slices.Clone(again.Headers)
			for k := range again.Headers {
				if again.Headers[k].Key == "dlq.offset" {
					again.Headers[k].Value = []byte("0")
				}
			}
			h.Topics["shop.dlq"][p] = append(h.Topics["shop.dlq"][p], &again)
		}},
		{"a forwarded record is lost", events, []string{"I3"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "shop.repartition")
			h.remove("shop.repartition", p, i)
		}},
		{"a record is forwarded twice", events, []string{"I3"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "shop.repartition")
			h.double("shop.repartition", p, i)
		}},
		{"a position is lost", events, []string{"I4"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "shop.changelog", "position")
			h.remove("shop.changelog", p, i)
		}},
		{"two positions are out of order", events, []string{"I4", "I5"}, func(t *testing.T, h *History, _ *Config) {
			l := h.Topics["shop.changelog"][0]
			i, k := -1, -1
			for n, r := range l {
				if string(r.Key) == "position" {
					i, k = k, n
				}
			}
			l[i].Value, l[k].Value = l[k].Value, l[i].Value
		}},
		{"a compacted changelog goes back", events, []string{"I4", "I5"}, func(t *testing.T, h *History, c *Config) {
			c.Compacted = true
			l := h.Topics["shop.changelog"][0]
			last := h.last(t, "shop.changelog", 0, "position")
			for n, r := range l {
				if string(r.Key) == "position" {
					l[n].Value, l[last].Value = l[last].Value, r.Value
					break
				}
			}
		}},
		{"somebody else writes to the changelog", events, []string{"I4"}, func(t *testing.T, h *History, _ *Config) {
			l := h.Topics["shop.changelog"]
			l[0] = append(l[0], &kgo.Record{Topic: "shop.changelog", Key: []byte("x"), Value: []byte("y")})
		}},
		{"a customer's state is another", events, []string{"I5"}, func(t *testing.T, h *History, _ *Config) {
			v := h.Topics["shop.changelog"][0][h.last(t, "shop.changelog", 0, "c/")].Value
			v[len(v)-1] ^= 1
		}},
		{"a customer's state is lost", events, []string{"I5"}, func(t *testing.T, h *History, c *Config) {
			c.Compacted = true
			h.remove("shop.changelog", 0, h.last(t, "shop.changelog", 0, "c/"))
		}},
		{"a local copy is ahead of the changelog", events, []string{"I5"}, func(t *testing.T, h *History, c *Config) {
			h.remove("shop.changelog", 0, h.last(t, "shop.changelog", 0, "position"))
		}},
		{"a timer fires early", wall, []string{"I7"}, func(t *testing.T, h *History, _ *Config) {
			// The last exit from browsing: no event of the customer is later.
			p, i := h.find(t, "changes", "browsing")
			for k, r := range h.Topics["changes"][p] {
				if strings.Contains(string(r.Value), `"segment":"browsing","action":"exited"`) && strings.Contains(string(r.Value), `"cause":"timer"`) {
					i = k
				}
			}
			v := string(h.Topics["changes"][p][i].Value)
			at := strings.Index(v, `"emitted_at":"`) + len(`"emitted_at":"`)
			h.replace(t, "changes", p, i, v[at:at+4], "1999")
			if strings.Contains(string(h.Topics["changes"][p][i].Value), `"effective_at":"1999`) {
				v = strings.Replace(v, `"emitted_at":"`+v[at:at+4], `"emitted_at":"1999`, 1)
				h.Topics["changes"][p][i].Value = []byte(v)
			}
		}},
		{"a trigger fires before it is due", wall, []string{"I7", "I6"}, func(t *testing.T, h *History, _ *Config) {
			p, i := h.find(t, "triggers", "cart_left")
			h.replace(t, "triggers", p, i, `"due_at":"2`, `"due_at":"3`)
		}},
		{"the clock was another", events, []string{"I6"}, func(_ *testing.T, _ *History, c *Config) {
			c.Grace = 10 * 60_000 // late events take effect at the clock
		}},
		{"an input is not read to its end", events, []string{"I9"}, func(t *testing.T, h *History, _ *Config) {
			l := h.Topics["web"][0]
			more := *l[len(l)-1]
			more.Offset++
			h.Topics["web"][0] = append(l, &more)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := goodOf(t, c.mode)
			h, cfg := copyOf(g.h), g.cfg
			c.spoil(t, h, &cfg)
			r, err := cfg.Judge(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for _, v := range r.Violations {
				found[v.Invariant] = true
			}
			for _, want := range c.want {
				if !found[want] {
					t.Errorf("%s does not see it: %v", want, r)
				}
			}
		})
	}
}

// At least once: exact repeats pass, and nothing else does.
func TestRepeats(t *testing.T) {
	g := goodOf(t, config.EventsClock)
	h, cfg := copyOf(g.h), g.cfg
	cfg.AtLeastOnce = true
	p, i := h.find(t, "changes", "browsing")
	h.double("changes", p, i)
	again := *h.Topics["changes"][p][i]
	h.Topics["changes"][p][i+1] = &again
	h.replace(t, "changes", p, i+1, `"emitted_at":"2`, `"emitted_at":"3`)
	p, i = h.find(t, "shop.dlq")
	h.double("shop.dlq", p, i)
	r, err := cfg.Judge(t.Context(), h)
	if err != nil || r.Count() != 0 || r.Repeats != 2 {
		t.Errorf("%v %v, %d repeats", r, err, r.Repeats)
	}
	p, i = h.find(t, "changes", "browsing")
	h.replace(t, "changes", p, i+1, `"sequence":1`, `"sequence":3`)
	if r, err = cfg.Judge(t.Context(), h); err != nil || r.Count() == 0 {
		t.Errorf("a repeat that says something else: %v %v", r, err)
	}
}

// A local copy that holds something else is found.
func TestStores(t *testing.T) {
	g := goodOf(t, config.EventsClock)
	cfg := g.cfg
	h := copyOf(g.h)
	// The changelog is that of another run: only the digests at the position of the
	// copy differ.
	l := h.Topics["shop.changelog"][0]
	pos, err := changelog.DecodePosition(l[h.last(t, "shop.changelog", 0, "position")].Value)
	if err != nil {
		t.Fatal(err)
	}
	j := &judgement{cfg: &cfg, h: h, r: &Report{}, parts: map[int32]*part{0: {last: pos, bySeq: map[uint64]state.Digest{pos.Seq: {Hi: 1}}}}}
	if err := j.judgeStores(t.Context()); err != nil || j.r.Count() != 1 {
		t.Errorf("%v %v", j.r, err)
	}
}

// Only some violations of each kind are kept, and all are counted.
func TestManyViolations(t *testing.T) {
	r := &Report{}
	for i := range 3 * shown {
		r.violate("I1", "%d", i)
	}
	r.violate("I2", "x")
	if r.Count() != 3*shown+1 || len(r.Violations) != shown+1 || !strings.Contains(fmt.Sprint(r), "I1: and 20 more") {
		t.Error(r)
	}
}

// A record goes where Kafka's own partitioner puts it.
func TestRouter(t *testing.T) {
	if p := router(7)("anna"); p < 0 || p > 6 || p != router(7)("anna") {
		t.Error(p)
	}
}
